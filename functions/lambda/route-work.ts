import { secretsClient } from '#adapters/aws/clients.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import { parseMessage } from '#adapters/aws/sqs-message.ts';
import { StowSender } from '#adapters/stow/stow-sender.ts';
import type { ObjectSender } from '#core/ports/object-sender.ts';
import { workRoute } from '#core/routing/work.ts';
import type { CloudArchive } from './archive.ts';
import { postponed } from './jobs.ts';
import { countDelivery } from './observe.ts';
import type { Work } from './queue-function.ts';

let sender: ObjectSender | undefined;

/** A message of the queue `route`: what was stored is taken in, or a study sent on. */
export const routeWork: Work = async (archive, queue, record) => {
  if (await postponed(archive, queue, record)) return 'done';
  sender ??= senderOf(archive);
  const report = await workRoute({ ...archive.services, sender }, parseMessage(record.body).payload);
  if (report !== undefined) countDelivery(report);
  return 'done';
};

/** One a sandbox: it keeps connections and tokens. */
function senderOf({ services, config }: CloudArchive): ObjectSender {
  const { secretArn } = config.routing;
  const secrets = secretsClient();
  return new StowSender({
    clock: services.clock,
    allowed: services.policy.routing,
    readCredentials: async () => (secretArn === undefined ? '{}' : readSecret(secrets, secretArn)),
  });
}
