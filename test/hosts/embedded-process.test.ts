import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { isListening, nephos, type RunningArchive, startArchive } from './process.ts';

let dir: string;
const running: RunningArchive[] = [];
const start = async (env: Record<string, string> = {}): Promise<RunningArchive> => {
  const archive = await startArchive(join(dir, 'data'), env);
  running.push(archive);
  return archive;
};
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-'));
});
afterEach(async () => {
  for (const archive of running.splice(0)) await archive.kill9();
  await rm(dir, { recursive: true, force: true });
});

const object = (n: number, more: object = {}): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(1_000 + n), InstanceNumber: n, ...more });
const store = (archive: RunningArchive, ...objects: Uint8Array[]): Promise<Response> =>
  fetch(`${archive.origin}/dicomweb/studies`, multipart(objects) as RequestInit);
const instance = (archive: RunningArchive, n: number): Promise<Response> =>
  fetch(`${archive.origin}/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(1_000 + n)}`, {
    headers: { accept: 'application/dicom; transfer-syntax=*' },
  });
/** The numbers of its server processes. */
const serversOf = async (archive: RunningArchive): Promise<number[]> => {
  const { pid } = archive.process;
  return (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').map(Number);
};
const count = async (archive: RunningArchive): Promise<number> => {
  const [study] = (await (await fetch(`${archive.origin}/dicomweb/studies`)).json()) as [
    Record<string, { Value: [number] }>,
  ];
  return study['00201208']!.Value[0];
};

test('the first start prints a token, once; the token opens the door', async () => {
  const first = await start({ NEPHOS_AUTH: 'on' });
  const token = /nephos_[\w-]{40,}/.exec(first.said())?.[0];
  expect(token).toBeDefined();
  const headers = { authorization: `Bearer ${token}` };
  expect((await fetch(`${first.origin}/dicomweb/studies`)).status).toBe(401);
  expect((await fetch(`${first.origin}/dicomweb/studies`, { headers })).status).toBe(200);
  expect(await first.stop()).toBe(0);
  const second = await start({ NEPHOS_AUTH: 'on' });
  expect(second.said()).not.toMatch(/nephos_/);
  expect((await fetch(`${second.origin}/dicomweb/studies`, { headers })).status).toBe(200);
});

test('several servers answer for one archive, and their metrics are one', async () => {
  const archive = await start();
  await Promise.all(Array.from({ length: 40 }, (_, n) => store(archive, object(n), object((n * 7) % 40))));
  expect(await count(archive)).toBe(40);
  const metrics = await (await fetch(`${archive.origin}/metrics`)).text();
  expect(metrics).toMatch(/nephos_requests_total\{transaction="StoreInstances",status="200"\} 40/);
});

// After five seconds an empty text was given for the truth.
test('metrics are those of every server, also of one that takes its time to say them', async () => {
  const archive = await start();
  expect((await store(archive, object(1))).status).toBe(200);
  const [slow] = await serversOf(archive);
  process.kill(slow!, 'SIGSTOP');
  const asked = fetch(`${archive.origin}/metrics`);
  await sleep(6_000);
  process.kill(slow!, 'SIGCONT');
  const answer = await asked;
  expect(answer.status).toBe(200);
  expect(await answer.text()).toMatch(/nephos_requests_total\{transaction="StoreInstances",status="200"\} 1/);
});

test('a second archive on the same data folder, or on a taken port, says so and ends', async () => {
  const archive = await start();
  await expect(startArchive(join(dir, 'data'))).rejects.toThrow(/exit code 2: .*in use by another Nephos/s);
  const port = new URL(archive.origin).port;
  await expect(startArchive(join(dir, 'other'), { NEPHOS_HTTP_PORT: port })).rejects.toThrow(
    /exit code 2: .*EADDRINUSE/s,
  );
  await expect(startArchive(join(dir, 'other'), { NEPHOS_BIND: '0.0.0.0' })).rejects.toThrow(/refused on 0\.0\.0\.0/);
});

test('SIGTERM: the request under way is finished first', async () => {
  const archive = await start();
  const { headers, body } = multipart([object(1)]);
  const { hostname, port } = new URL(archive.origin);
  // The server asks for the body when it reads it: then the request is under way.
  const asking = { ...headers, expect: '100-continue' };
  const request = httpRequest({ hostname, port, path: '/dicomweb/studies', method: 'POST', headers: asking });
  const answered = new Promise<number>((resolve, reject) => {
    request.on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)));
    request.on('error', reject);
  });
  request.flushHeaders();
  await Promise.race([once(request, 'continue'), answered]);
  request.write(body.subarray(0, 400));
  const stopped = archive.stop();
  while (await isListening(Number(port))) await sleep(10);
  request.end(body.subarray(400));
  expect(await answered).toBe(200);
  expect(await stopped).toBe(0);
  expect((await (await start()).said()) && (await count(running.at(-1)!))).toBe(1);
});

test('a primary that is killed leaves nobody behind who holds the index', async () => {
  const first = await start();
  let stored = 0;
  const writers = Array.from({ length: 6 }, async (_, n) => {
    for (let i = 0; i < 1_000; i++, stored++) await store(first, object(n * 1_000 + i));
  });
  while (stored < 50) await sleep(5);
  first.process.kill('SIGKILL');
  await Promise.allSettled(writers);
  await first.ended;
  const second = await start();
  expect((await store(second, object(99_999))).status).toBe(200);
  expect(await second.stop()).toBe(0);
});

test('a data folder whose last process died is taken over, even when another program has its number now', async () => {
  await mkdir(join(dir, 'data'), { recursive: true });
  await writeFile(join(dir, 'data', 'nephos.pid'), `${process.pid} 1`);
  const archive = await start();
  expect((await fetch(`${archive.origin}/healthz`)).status).toBe(200);
});

describe('kill -9 while storing', () => {
  test('what was acknowledged is there, byte for byte, and nothing is half visible', async () => {
    const acknowledged = new Map<number, Uint8Array>();
    let n = 0;
    for (let round = 0; round < 6; round++) {
      const archive = await start();
      const writer = async (): Promise<void> => {
        for (;;) {
          const mine = n++;
          const bytes = object(mine, { PixelData: randomBytes(32 * (1 + (mine % 40))), Rows: 4 * (1 + (mine % 40)) });
          const { ok } = await store(archive, bytes);
          if (ok) acknowledged.set(mine, bytes);
        }
      };
      const writers = Array.from({ length: 6 }, () => writer().catch(() => {}));
      // Killed somewhere between two of them, each time after a different number of them.
      const enough = acknowledged.size + 10 * (1 + round);
      while (acknowledged.size < enough) await sleep(5);
      await sleep(7 * round);
      await archive.kill9();
      await Promise.all(writers);
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(210);
    const archive = await start();
    for (const [mine, bytes] of acknowledged) {
      const answer = await instance(archive, mine);
      expect(answer.status, `instance ${mine}`).toBe(200);
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes), `instance ${mine}`).toBe(true);
    }
    expect(await count(archive)).toBeGreaterThanOrEqual(acknowledged.size);
    // Whoever works in the archive meanwhile may be about to write what is known to nobody yet.
    expect(await archive.stop()).toBe(0);
    const { code, output } = await nephos(join(dir, 'data'), 'verify');
    expect(output).toMatch(/0 damaged, 0 orphans/);
    expect(code).toBe(0);
  });
});

describe('the command line', () => {
  test('imports a folder, exports a study, verifies, finds damage, rebuilds the index', async () => {
    const data = join(dir, 'data');
    const folder = join(dir, 'cd', 'IMAGES');
    await mkdir(folder, { recursive: true });
    for (let n = 0; n < 4; n++) await writeFile(join(folder, `I${n}`), object(n));
    await writeFile(join(folder, 'viewer.exe'), 'MZ');
    expect(await nephos(data, 'import', join(dir, 'cd'))).toEqual({
      code: 0,
      output: '4 stored, 0 duplicate, 0 replaced, 0 held, 0 failed, 1 skipped\n',
    });
    expect((await nephos(data, 'import', folder)).output).toMatch(/0 stored, 4 duplicate/);

    const out = join(dir, 'out');
    expect(await nephos(data, 'export', uid(1), '--to', out)).toMatchObject({ code: 0 });
    expect(await readFile(join(out, uid(2), `${uid(1_001)}.dcm`))).toEqual(Buffer.from(object(1)));
    expect(await nephos(data, 'export', uid(9), '--to', out)).toMatchObject({
      code: 2,
      output: 'there is no such study\n',
    });

    await rename(join(data, 'index'), join(dir, 'index.old'));
    await rm(join(data, 'index-lock'), { force: true });
    expect(await nephos(data, 'rebuild', '--objects-alone')).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^4 instances, 0 held/m),
    });
    const archive = await start();
    expect(await count(archive)).toBe(4);
    expect(await archive.stop()).toBe(0);

    // Small objects of a study stand in a tar archive: a page of header, then the object.
    const study = join(data, 'blobs', 'main', uid(1));
    const [pack] = (await readdir(study)).filter((name) => name.endsWith('.tar'));
    const bytes = await readFile(join(study, pack!));
    const at = bytes.indexOf('DICM') - 128;
    expect(at).toBe(4096);
    bytes[at + object(0).byteLength - 1]! ^= 1;
    await writeFile(join(study, pack!), bytes);
    expect(await nephos(data, 'verify')).toMatchObject({
      code: 1,
      output: expect.stringMatching(/altered .*1 damaged/s),
    });
  });

  test('a new token takes the place of the old', async () => {
    const data = join(dir, 'data');
    const first = await start({ NEPHOS_AUTH: 'on' });
    const old = /nephos_[\w-]{40,}/.exec(first.said())![0];
    const renewed = (await nephos(data, 'token')).output.trim();
    const ask = async (token: string): Promise<number> =>
      (await fetch(`${first.origin}/dicomweb/studies`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect(await ask(renewed)).toBe(200);
    expect(await ask(old)).toBe(401);
  });

  test('without a command it says what there is', async () => {
    const { code, output } = await nephos(join(dir, 'data'));
    expect(code).toBe(2);
    for (const command of ['import', 'export', 'verify', 'sweep', 'rebuild', 'token'])
      expect(output).toContain(command);
  });
});
