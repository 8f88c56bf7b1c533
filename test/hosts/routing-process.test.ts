import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { type RunningArchive, startArchive } from './process.ts';

const STUDY = uid(1);
const INSTANCES = 30;
const ROUNDS = 3;
const PATIENCE_MS = 120_000;

let dir: string;
const running = new Set<RunningArchive>();
const servers: Server[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-routing-'));
});
afterEach(async () => {
  await Promise.all([...running].map((archive) => archive.kill9()));
  running.clear();
  for (const server of servers.splice(0)) server.close().closeAllConnections();
  await rm(dir, { recursive: true, force: true });
});

const start = async (name: string, env: Record<string, string> = {}): Promise<RunningArchive> => {
  const archive = await startArchive(join(dir, name), env);
  running.add(archive);
  return archive;
};

/** What lies between two archives: passes requests on; of one that `isCut` says is, the second half never. */
async function between(origin: () => string, isCut: () => boolean): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const cut = isCut();
    const { method, headers, url } = incoming;
    const onward = httpRequest(`${origin()}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.on('error', () => onward.destroy());
    incoming.on('close', () => incoming.complete || onward.destroy());
    if (!cut) incoming.pipe(onward);
    else incoming.once('data', (chunk: Buffer) => onward.write(chunk.subarray(0, chunk.length / 2)));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const put = async (origin: string, path: string, body: object): Promise<void> => {
  const answer = await fetch(`${origin}/api/routing/${path}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(answer.status, await answer.text()).toBe(200);
};

const object = (n: number): Uint8Array => buildDicom({ SOPInstanceUID: uid(1_000 + n), PatientName: `Slice^${n}` });

async function until<T>(look: () => Promise<T | undefined>, everyMs = 200): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error('it did not come about in time');
    await sleep(everyMs);
  }
}

const hashesAt = async (origin: string, token: string): Promise<Map<string, string> | undefined> => {
  const hashes = new Map<string, string>();
  for (let n = 0; n < INSTANCES; n++) {
    const path = `/dicomweb/studies/${STUDY}/series/${uid(2)}/instances/${uid(1_000 + n)}`;
    const headers = { accept: 'application/dicom; transfer-syntax=*', authorization: `Bearer ${token}` };
    const answer = await fetch(origin + path, { headers });
    if (answer.status !== 200) return undefined;
    hashes.set(
      uid(1_000 + n),
      createHash('sha256')
        .update(Buffer.from(await answer.arrayBuffer()))
        .digest('hex'),
    );
  }
  return hashes;
};

test('a study that is sent on arrives byte for byte, whatever moment the archive is killed at', async () => {
  const receiver = await start('receiver', { NEPHOS_AUTH: 'on' });
  const token = await until(async () => /nephos_\S+/.exec(receiver.said())?.[0]);
  // Of each round the third request is cut, and the sender killed in the middle of it.
  let requests = 0;
  let cuts = 0;
  const way = await between(
    () => receiver.origin,
    () => {
      if (++requests % 3 !== 0 || cuts === ROUNDS) return false;
      cuts++;
      return true;
    },
  );
  const credentials = join(dir, 'credentials.json');
  await writeFile(credentials, JSON.stringify({ receiver: { origin: way, bearerToken: token } }));
  const env = {
    NEPHOS_ROUTING_HOSTS: way,
    NEPHOS_ROUTING_NETWORKS: '127.0.0.1',
    NEPHOS_ROUTING_CREDENTIALS: credentials,
    NEPHOS_LIMIT_STUDY_QUIET_MS: '500',
    NEPHOS_LIMIT_ROUTING_REQUEST_INSTANCES: '3',
    NEPHOS_LIMIT_ROUTING_FIRST_RETRY_MS: '200',
    NEPHOS_LIMIT_ROUTING_MOST_RETRY_MS: '500',
  };
  let sender = await start('sender', env);
  await put(sender.origin, 'destinations/receiver', { url: `${way}/dicomweb`, authentication: 'receiver' });
  await put(sender.origin, 'rules/all', { when: 'quiet', destinations: ['receiver'] });
  const objects = Array.from({ length: INSTANCES }, (_, n) => object(n));
  expect((await fetch(`${sender.origin}/dicomweb/studies`, multipart(objects) as RequestInit)).status).toBe(200);

  for (let round = 1; round <= ROUNDS; round++) {
    await until(async () => (cuts >= round ? true : undefined), 5);
    running.delete(sender);
    await sender.kill9();
    sender = await start('sender', env);
  }
  const arrived = await until(() => hashesAt(receiver.origin, token));
  expect(requests).toBeGreaterThanOrEqual(INSTANCES / 3);
  for (const [n, bytes] of objects.entries())
    expect(arrived.get(uid(1_000 + n))).toBe(createHash('sha256').update(bytes).digest('hex'));
  const delivery = await until(async () => {
    const answer = await fetch(`${sender.origin}/api/routing/deliveries?study=${STUDY}`);
    const { items } = (await answer.json()) as { items: { state: string }[] };
    return items[0]?.state === 'done' ? items[0] : undefined;
  });
  expect(delivery).toMatchObject({ state: 'done', sent: INSTANCES, waiting: 0, held: 0 });

  // Counted when the delivery is over, by the process that had it.
  await expect
    .poll(async () => (await fetch(`${sender.origin}/metrics`)).text(), { timeout: PATIENCE_MS })
    .toMatch(/^nephos_routing_sent_instances_total\{destination="receiver"\} \d+$/m);
}, 900_000);

test('what an archive refuses is held where a person finds it, and goes when he has put it right', async () => {
  const receiver = await start('receiver', { NEPHOS_AUTH: 'on' });
  const token = await until(async () => /nephos_\S+/.exec(receiver.said())?.[0]);
  const credentials = join(dir, 'credentials.json');
  await writeFile(credentials, JSON.stringify({ receiver: { origin: receiver.origin, bearerToken: 'nephos_wrong' } }));
  const sender = await start('sender', {
    NEPHOS_ROUTING_HOSTS: receiver.origin,
    NEPHOS_ROUTING_NETWORKS: '127.0.0.0/8',
    NEPHOS_ROUTING_CREDENTIALS: credentials,
    NEPHOS_LIMIT_STUDY_QUIET_MS: '500',
    NEPHOS_LIMIT_ROUTING_FIRST_RETRY_MS: '100',
    NEPHOS_LIMIT_ROUTING_MOST_RETRY_MS: '200',
    NEPHOS_LIMIT_ROUTING_GIVE_UP_MS: '1000',
  });
  await put(sender.origin, 'destinations/receiver', { url: `${receiver.origin}/dicomweb`, authentication: 'receiver' });
  await put(sender.origin, 'rules/all', { when: 'stored', destinations: ['receiver'] });
  expect((await fetch(`${sender.origin}/dicomweb/studies`, multipart([object(0)]) as RequestInit)).status).toBe(200);
  const held = await until(async () => {
    const { items } = (await (await fetch(`${sender.origin}/api/routing/deliveries?state=held`)).json()) as {
      items: { problem: { reason: string } }[];
    };
    return items[0];
  });
  expect(held).toMatchObject({
    StudyInstanceUID: STUDY,
    held: 1,
    problem: { class: 'credentials', reason: 'it answered 401' },
  });

  await writeFile(credentials, JSON.stringify({ receiver: { origin: receiver.origin, bearerToken: token } }));
  const retried = await fetch(`${sender.origin}/api/routing/deliveries/${STUDY}/receiver`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"action":"retry"}',
  });
  expect(await retried.json()).toMatchObject({ state: 'waiting', waiting: 1 });
  await until(async () => {
    const answer = await fetch(`${receiver.origin}/dicomweb/studies/${STUDY}/metadata`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return answer.status === 200 ? true : undefined;
  });
}, 600_000);
