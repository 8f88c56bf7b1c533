import { OidcLogin } from '#adapters/oidc/oidc-login.ts';
import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { SmartRecordSystem } from '#adapters/smart/smart-record-system.ts';
import { type ArchiveApp, type ArchiveAppOptions, createArchiveApp } from '#api/app.ts';
import type { ThrottleOptions } from '#api/throttle.ts';
import { assemble } from '#core/assemble.ts';
import { ConfigError } from '#core/configuration.ts';
import { Logins } from '#core/logins.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { type CloudPorts, cloudThrottle } from './cloud-throttle.ts';
import type { CloudConfig } from './config.ts';
import { ENVIRONMENT } from './environment.ts';

/** The text of a secret by its ARN, as it is now. */
export type ReadSecret = (arn: string) => Promise<string>;

export interface CloudAppOptions {
  /** in programs that sign people in */
  readonly readSecret?: ReadSecret | undefined;
  /** whether who asks too often is made to wait before he is refused, as the throttle does where nothing is said */
  readonly slows?: boolean | undefined;
  /** what a host writes into its log, and counts */
  readonly onSignInRefused: (error: unknown) => void;
  /** rates that this program counts alone: the ledger of all could not be reached */
  readonly onLonelyRates: NonNullable<ThrottleOptions['onFailure']>;
  readonly onAlarm: NonNullable<ArchiveAppOptions['onAlarm']>;
  readonly onFailure: ArchiveAppOptions['onFailure'];
}

/** The archive's HTTP on the ports of the cloud, as its functions and its service answer it alike. @throws ConfigError */
export function cloudApp(
  config: CloudConfig,
  { ledger, ...ports }: CloudPorts,
  { readSecret, slows, onSignInRefused, onLonelyRates, onAlarm, onFailure }: CloudAppOptions,
): { readonly services: Services; readonly app: ArchiveApp } {
  const services = assemble(ports, config);
  const issuer = OidcLogin.of(config.oidc, services.clock, clientSecretOf(config, readSecret));
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    issuer: config.oidc && new OidcTokenVerifier(config.oidc, services.clock),
    login: issuer && { logins: new Logins(services, issuer), onRefused: onSignInRefused },
    corsOrigins: config.corsOrigins,
    recordSystems: config.smart.map((one) => new SmartRecordSystem(one)),
    tenant: config.tenants[0],
    throttle: cloudThrottle(config, { ...ports, ledger }, { slows, onFailure: onLonelyRates }),
    onAlarm,
    onFailure,
  });
  return { services, app };
}

/** What reads what the archive shows to its issuer. @throws ConfigError where the program has no way to read it */
function clientSecretOf({ signIn }: CloudConfig, readSecret: ReadSecret | undefined) {
  const { secretArn } = signIn;
  if (secretArn === undefined) return undefined;
  if (readSecret === undefined)
    throw new ConfigError(`${ENVIRONMENT.oidcClientSecret}: this function reads no secrets`);
  return () => readSecret(secretArn);
}
