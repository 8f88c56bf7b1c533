import { OidcLogin } from '#adapters/oidc/oidc-login.ts';
import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { SmartRecordSystem } from '#adapters/smart/smart-record-system.ts';
import { type ArchiveApp, createArchiveApp } from '#api/app.ts';
import { assemble } from '#core/assemble.ts';
import { ConfigError } from '#core/configuration.ts';
import { describeError } from '#core/errors.ts';
import { Logins } from '#core/logins.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { awsPorts } from './aws-ports.ts';
import { type CloudPorts, cloudThrottle } from './cloud-throttle.ts';
import { type CloudConfig, canStream, type LambdaConfig, readLambdaConfig } from './config.ts';
import { ENVIRONMENT } from './environment.ts';
import { lambdaPixelEngine } from './lambda-pixel-engine.ts';
import { countEmergency, countLonelyRates, logger } from './observe.ts';

/** What the functions work on; one a sandbox, kept between invocations. */
export interface CloudArchive {
  readonly services: Services;
  readonly app: ArchiveApp;
  readonly config: LambdaConfig;
  /** whether the answers of functions that may stream are streamed */
  readonly streaming: boolean;
  /** in functions that sign people in */
  readonly readSecret?: ReadSecret | undefined;
}

export type OpenArchive = () => CloudArchive;

/** The text of a secret by its ARN, as it is now. */
export type ReadSecret = (arn: string) => Promise<string>;

/** The archive on the ports of a host, as the functions want it: AWS, or memory in tests. @param readSecret in functions that sign people in */
export function cloudArchive(
  config: LambdaConfig,
  { ledger, ...ports }: CloudPorts,
  streaming: boolean,
  readSecret?: ReadSecret,
): CloudArchive {
  const services = assemble(ports, config);
  const issuer = OidcLogin.of(config.oidc, services.clock, clientSecretOf(config, readSecret));
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    issuer: config.oidc && new OidcTokenVerifier(config.oidc, services.clock),
    login: issuer && {
      logins: new Logins(services, issuer),
      onRefused: (error) => logger.warn('sign-in-refused', { failure: describeError(error) }),
    },
    corsOrigins: config.corsOrigins,
    recordSystems: config.smart.map((one) => new SmartRecordSystem(one)),
    tenant: config.tenants[0],
    throttle: cloudThrottle(
      config,
      { ...ports, ledger },
      {
        // A sandbox that waits costs what one that works does.
        slows: false,
        onFailure: (error) => {
          countLonelyRates();
          logger.error('rates-not-shared', { failure: describeError(error) });
        },
      },
    ),
    onAlarm: (alarm) => {
      countEmergency();
      logger.error('emergency-access', { ...alarm });
    },
    onFailure: (error, transaction, of) =>
      logger.error('request-failed', { tenant: of, transaction, failure: describeError(error) }),
  });
  return { services, app, config, streaming, readSecret };
}

/** What reads what the archive shows to its issuer. @throws ConfigError where the program has no way to read it */
export function clientSecretOf({ signIn }: CloudConfig, readSecret: ReadSecret | undefined) {
  const { secretArn } = signIn;
  if (secretArn === undefined) return undefined;
  if (readSecret === undefined)
    throw new ConfigError(`${ENVIRONMENT.oidcClientSecret}: this function reads no secrets`);
  return () => readSecret(secretArn);
}

let opened: CloudArchive | undefined;

/** S3, DynamoDB and SQS, by the names in the environment; a function gets only what its row in functions.ts names. */
export const awsArchive: OpenArchive = () => {
  opened ??= open();
  return opened;
};

/** The same for functions that sign people in, and may have to show a secret for it. */
export const awsArchiveWith =
  (readSecret: ReadSecret): OpenArchive =>
  () => {
    opened ??= open(readSecret);
    return opened;
  };

function open(readSecret?: ReadSecret): CloudArchive {
  const streaming = canStream(process.env);
  const config = readLambdaConfig(process.env, streaming);
  return cloudArchive(config, { ...awsPorts(config), pixels: lambdaPixelEngine(config.limits) }, streaming, readSecret);
}
