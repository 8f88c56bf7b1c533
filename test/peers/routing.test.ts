import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';

const PATIENCE_MS = 200_000;

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error('it did not come about in time');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

interface Delivery {
  readonly state: string;
  readonly waiting: number;
  readonly problem?: object;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe.each<OrthancVersion>(['1.12', '1.10'])('Orthanc %s as a destination of routing', (version) => {
  let nephos: Nephos;
  let orthanc: Orthanc;
  let dir: string;
  const study = ctStudy(4300 + Number(version.slice(2)), 60);
  const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));

  const api = (path: string, method = 'GET', body?: object): Promise<Response> =>
    fetch(`${nephos.origin}/api/routing${path}`, { method, ...(body && { body: JSON.stringify(body) }) });
  const atOrthanc = async (path: string): Promise<Response> =>
    fetch(`${orthanc.origin}${path}`, { headers: { authorization: `Basic ${btoa('nephos:pass')}` } });
  const deliveryOf = async (uid: string) => {
    const { items } = (await (await api(`/deliveries?study=${uid}`)).json()) as { items: Delivery[] };
    return items[0];
  };
  const orthancOptions = async () => ({
    version,
    httpPort: await freePort(),
    dicomPort: await freePort(),
    dir,
    settings: { AuthenticationEnabled: true, RegisteredUsers: { nephos: 'pass' } },
  });

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'nephos-routing-'));
    const options = await orthancOptions();
    const origin = `http://127.0.0.1:${options.httpPort}`;
    const credentials = join(dir, 'credentials.json');
    await writeFile(credentials, JSON.stringify({ orthanc: { origin, basic: { user: 'nephos', password: 'pass' } } }));
    nephos = await startNephos({
      env: {
        NEPHOS_ROUTING_HOSTS: origin,
        NEPHOS_ROUTING_NETWORKS: '127.0.0.1',
        NEPHOS_ROUTING_CREDENTIALS: credentials,
        NEPHOS_LIMIT_STUDY_QUIET_MS: '1000',
        NEPHOS_LIMIT_ROUTING_FIRST_RETRY_MS: '200',
        NEPHOS_LIMIT_ROUTING_MOST_RETRY_MS: '1000',
      },
    });
    const destination = { url: `${origin}/dicom-web`, authentication: 'orthanc' };
    expect((await api('/destinations/orthanc', 'PUT', destination)).status).toBe(200);
    const rule = { when: 'quiet', condition: { Modality: ['CT'] }, destinations: ['orthanc'] };
    expect((await api('/rules/ct', 'PUT', rule)).status).toBe(200);
    // It is started only when the study has been waiting for it.
    expect((await stow(nephos.root, files)).status).toBe(200);
    await until(async () => {
      const found = await deliveryOf(study.StudyInstanceUID);
      return found?.problem !== undefined && found.waiting === files.length ? true : undefined;
    });
    orthanc = await startOrthanc(options);
  });
  afterAll(async () => {
    await orthanc?.stop();
    await nephos?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test('it was down when the study came; it has all of it when it is up, to the byte', async () => {
    const delivery = await until(async () => {
      const found = await deliveryOf(study.StudyInstanceUID);
      return found?.state === 'done' ? found : undefined;
    });
    expect(delivery).toMatchObject({ sent: files.length, held: 0, waiting: 0 });
    const ids = (await (await atOrthanc('/instances')).json()) as string[];
    expect(ids).toHaveLength(files.length);
    const got = await Promise.all(
      ids.map(async (id) => sha256(Buffer.from(await (await atOrthanc(`/instances/${id}/file`)).arrayBuffer()))),
    );
    expect(got.sort()).toEqual(files.map(sha256).sort());
  });

  test('sent anew at a person’s word, it has the same once', async () => {
    const sent = await api(`/deliveries/${study.StudyInstanceUID}/orthanc`, 'POST', { action: 'send' });
    expect(await sent.json()).toMatchObject({ waiting: files.length });
    await until(async () => ((await deliveryOf(study.StudyInstanceUID))?.state === 'done' ? true : undefined));
    expect((await (await atOrthanc('/instances')).json()) as string[]).toHaveLength(files.length);
  });
});
