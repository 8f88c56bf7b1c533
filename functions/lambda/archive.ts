import type { ArchiveApp } from '#api/app.ts';
import { describeError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { awsPorts } from './aws-ports.ts';
import { cloudApp, type ReadSecret } from './cloud-app.ts';
import type { CloudPorts } from './cloud-throttle.ts';
import { canStream, type LambdaConfig, readLambdaConfig } from './config.ts';
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

/** The archive on the ports of a host, as the functions want it: AWS, or memory in tests. @param readSecret in functions that sign people in */
export function cloudArchive(
  config: LambdaConfig,
  ports: CloudPorts,
  streaming: boolean,
  readSecret?: ReadSecret,
): CloudArchive {
  const { services, app } = cloudApp(config, ports, {
    readSecret,
    // A sandbox that waits costs what one that works does.
    slows: false,
    onSignInRefused: (error) => logger.warn('sign-in-refused', { failure: describeError(error) }),
    onLonelyRates: (error) => {
      countLonelyRates();
      logger.error('rates-not-shared', { failure: describeError(error) });
    },
    onAlarm: (alarm) => {
      countEmergency();
      logger.error('emergency-access', { ...alarm });
    },
    onFailure: (error, transaction, of) =>
      logger.error('request-failed', { tenant: of, transaction, failure: describeError(error) }),
  });
  return { services, app, config, streaming, readSecret };
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
