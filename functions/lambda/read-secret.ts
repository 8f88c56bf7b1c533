import { secretsClient } from '#adapters/aws/clients.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import type { ReadSecret } from './cloud-app.ts';

let client: ReturnType<typeof secretsClient> | undefined;

/** From Secrets Manager, whose client is made when the first secret is read: most deployments have none to read here. */
export const readOwnSecret: ReadSecret = (arn) => {
  client ??= secretsClient();
  return readSecret(client, arn);
};
