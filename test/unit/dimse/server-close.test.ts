import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { COMMAND } from '#dimse/command-set.ts';
import { associate, proposing, sendEcho } from '#dimse/scu.ts';
import { createDimseServer } from '#dimse/server.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { NATIVE, POLICY } from './pairs.ts';

// The host closed index and folder behind it, while what a peer had asked for that was gone was still writing there.
test('a server that is stopped waits for what it performs, also for peers that have gone', async () => {
  const { promise: mayEnd, resolve: letEnd } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  let performed = false;
  const { promise: gone, resolve: goes } = Promise.withResolvers<void>();
  const made = createDimseServer({
    aeTitle: 'NEPHOS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 2,
    policy: POLICY,
    onEnd: () => goes(),
    services: new Map([
      [
        COMMAND.cEcho,
        async ({ respond }) => {
          begin();
          await mayEnd;
          performed = true;
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  made.server.listen(0, '127.0.0.1');
  await once(made.server, 'listening');
  const { port } = made.server.address() as AddressInfo;
  const peer = await associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
    { callingAETitle: 'CT1', contexts: proposing([VERIFICATION, NATIVE]) },
  );
  const asked = sendEcho(peer, VERIFICATION);
  asked.catch(() => {});
  await begun;
  peer.abort();
  await gone;
  await expect(asked).rejects.toThrow();

  let closed = false;
  const closing = made.close(0).then(() => {
    closed = true;
    return performed;
  });
  // Everything that could let it close has had its turn.
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(false);
  letEnd();
  expect(await closing).toBe(true);
});
