import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { readFeed } from '#core/archive/feed.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import type { ForwardCounts } from '#edge/forward/records.ts';
import { systemClock } from '#embedded/archive.ts';
import { ctStudy } from '#test/bench/data.ts';
import { dataSetHash } from '#test/edge/clinic.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { first, getInstance, getJson } from './helpers/dicomweb.ts';
import { type Edge, startEdge } from './helpers/edge.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';
import { corpusDir, hasCorpus, python, run, runOk } from './helpers/programs.ts';

/** DCMTK's tools wait for acknowledgements otherwise (Nagle). */
process.env.TCP_NODELAY = '1';

const dir = mkdtempSync(join(tmpdir(), 'nephos-edge-'));
const SLICES = 30;
/** Nine hundred files: half a minute, and two where the machine is busy elsewhere. */
const CORPUS_MS = 600_000;
let nephos: Nephos;
let edge: Edge;
let dicomPort: number;
let tlsPort: number;

beforeAll(async () => {
  [dicomPort, tlsPort] = [await freePort(), await freePort()];
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
  await runOk('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert]);
  nephos = await startNephos();
  edge = await startEdge(join(dir, 'edge'), {
    dicomPort,
    httpPort: await freePort(),
    dicom: { port: dicomPort, tls: { port: tlsPort, cert, key, ca: cert } },
    upstreams: [{ url: nephos.root }],
  });
});
afterAll(async () => {
  await edge?.stop();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Everything that a gateway took has been confirmed, or is held. */
const drained = (gateway: Edge, confirmed: number): Promise<ForwardCounts> =>
  until(gateway, (counts) => counts.pending === 0 && counts.confirmed + counts.held >= confirmed);

async function until({ dataDir }: Edge, isSo: (counts: ForwardCounts) => boolean): Promise<ForwardCounts> {
  const index = await LmdbIndexTable.open(join(dataDir, 'index'));
  try {
    const queue = new DestinationQueue({ index, clock: systemClock }, 'main', 'upstream');
    for (let i = 0; ; i++) {
      const counts = await queue.counts();
      if (isSo(counts)) return counts;
      if (i > 2_000) throw new Error(`it did not come to that: ${JSON.stringify(counts)}`);
      await sleep(100);
    }
  } finally {
    await index.close();
  }
}

function filesOf(study: ReturnType<typeof ctStudy>, name: string): string {
  const folder = join(dir, name);
  mkdirSync(folder);
  for (const [i, { header, pixels }] of study.slices.entries())
    writeFileSync(join(folder, `${String(i).padStart(3, '0')}.dcm`), Buffer.concat([header, pixels]));
  return folder;
}

async function expectArrived(study: ReturnType<typeof ctStudy>): Promise<void> {
  for (const { SOPInstanceUID, header, pixels } of study.slices) {
    const bytes = await getInstance(nephos.root, { ...study, SOPInstanceUID });
    expect(dataSetHash(bytes)).toBe(dataSetHash(Buffer.concat([header, pixels])));
  }
}

test('storescu over TLS, and with the archive away in between: the study arrives, data sets byte for byte', async () => {
  const tlsStudy = ctStudy(8600, SLICES, 64);
  const tls = ['+tls', join(dir, 'key.pem'), join(dir, 'cert.pem'), '+cf', join(dir, 'cert.pem')];
  const target = ['-aec', 'NEPHOS', 'localhost'];
  const sent = await run('storescu', [...tls, ...target, String(tlsPort), '+sd', filesOf(tlsStudy, 'tls')]);
  expect(sent.stderr + sent.stdout).toBe('');
  await drained(edge, SLICES);
  await expectArrived(tlsStudy);

  const { port, dataDir } = nephos;
  await nephos.kill9();
  const second = ctStudy(8601, SLICES, 64);
  expect((await run('storescu', [...target, String(dicomPort), '+sd', filesOf(second, 'second')])).code).toBe(0);
  nephos = await startNephos({ port, dataDir });
  await drained(edge, 2 * SLICES);
  await expectArrived(second);
  const [found] = await getJson(`${nephos.root}/studies?StudyInstanceUID=${second.StudyInstanceUID}`);
  expect(first(found, '00201208')).toBe(SLICES);
});

test('pynetdicom stores with the priority HIGH while the archive is away: its study goes before those of DCMTK that wait', async () => {
  const { port, dataDir } = nephos;
  const beside = await startEdge(join(dir, 'urgent'), {
    dicomPort: await freePort(),
    httpPort: await freePort(),
    // One request after the other, of a few instances: so the order is seen.
    upstreams: [{ url: nephos.root, parallel: 1, batch: { instances: 3 }, retry: { firstMs: 50, mostMs: 200 } }],
  });
  try {
    await nephos.kill9();
    const [usual, urgent] = [ctStudy(8605, 12, 64), ctStudy(8606, 6, 64)];
    const target = ['-aec', 'NEPHOS', 'localhost', String(beside.dicomPort)];
    await runOk('storescu', [...target, '+sd', filesOf(usual, 'usual')]);
    const folder = filesOf(urgent, 'urgent-files');
    const list = join(dir, 'urgent.json');
    writeFileSync(list, JSON.stringify(readdirSync(folder).map((name) => join(folder, name))));
    const HIGH = '1';
    const args = ['store', '127.0.0.1', String(beside.dicomPort), list, HIGH];
    const sent = await python<{ status: number }[]>('dimse-session.py', args);
    expect(sent.map(({ status }) => status)).toEqual(Array(6).fill(0));
    // What is stored is taken in a moment later: all of it waits before anything can go.
    await until(beside, ({ pending }) => pending === 18);
    nephos = await startNephos({ port, dataDir });
    await drained(beside, 18);
    const index = await LmdbIndexTable.open(join(dataDir, 'index'));
    const { events } = await readFeed(index, 'main', '', 10_000);
    await index.close();
    const order = events.flatMap(({ type, StudyInstanceUID: study }) =>
      type === 'InstanceStored' && (study === usual.StudyInstanceUID || study === urgent.StudyInstanceUID)
        ? [study === urgent.StudyInstanceUID ? 'urgent' : 'usual']
        : [],
    );
    expect(order).toHaveLength(18);
    // What was being tried when the line went may have kept its place: one request at most.
    expect(order.slice(0, 9).filter((one) => one === 'urgent')).toHaveLength(6);
  } finally {
    await beside.stop();
  }
});

describe.each<OrthancVersion>(['1.10', '1.12'])('Orthanc %s', (version) => {
  const study = ctStudy(version === '1.10' ? 8610 : 8612, SLICES, 64);
  let sender: Orthanc;
  let upstream: Orthanc;
  let beside: Edge;
  let besidePort: number;
  const ask = async <T>(orthanc: Orthanc, path: string, body?: unknown): Promise<T> => {
    const options =
      body === undefined ? {} : { method: 'POST', body: body instanceof Buffer ? body : JSON.stringify(body) };
    const response = await fetch(`${orthanc.origin}${path}`, options as RequestInit);
    if (!response.ok) throw new Error(`${response.status} to ${path}`);
    return (await response.json()) as T;
  };

  beforeAll(async () => {
    besidePort = await freePort();
    const ports = async () => ({ httpPort: await freePort(), dicomPort: await freePort() });
    upstream = await startOrthanc({ version, ...(await ports()), dir: join(dir, version, 'upstream') });
    sender = await startOrthanc({
      version,
      ...(await ports()),
      dir: join(dir, version, 'sender'),
      settings: {
        DicomAet: 'ORTHANC',
        DicomModalities: {
          edge: { AET: 'NEPHOS', Host: '127.0.0.1', Port: dicomPort },
          beside: { AET: 'NEPHOS', Host: '127.0.0.1', Port: besidePort },
        },
      },
    });
    beside = await startEdge(join(dir, version, 'beside'), {
      dicomPort: besidePort,
      httpPort: await freePort(),
      upstreams: [{ url: upstream.root }],
    });
    for (const { header, pixels } of study.slices) await ask(sender, '/instances', Buffer.concat([header, pixels]));
  });
  afterAll(async () => {
    await beside?.stop();
    await sender?.stop();
    await upstream?.stop();
  });

  test('sends, and the archive has it', async () => {
    const before = (await drained(edge, 0)).confirmed;
    const job = await ask<object>(sender, '/modalities/edge/store', await ask<string[]>(sender, '/studies'));
    expect(job).toMatchObject({ InstancesCount: SLICES, FailedInstancesCount: 0 });
    await drained(edge, before + SLICES);
    for (const { SOPInstanceUID, pixels } of study.slices) {
      const bytes = await getInstance(nephos.root, { ...study, SOPInstanceUID });
      expect(bytes.subarray(-pixels.length).equals(pixels)).toBe(true);
    }
  });

  test('as the archive upstream keeps what it was sent: each object is fetched back and compared', async () => {
    await ask<object>(sender, '/modalities/beside/store', await ask<string[]>(sender, '/studies'));
    expect(await drained(beside, SLICES)).toMatchObject({ confirmed: SLICES, held: 0 });
    expect(await ask<string[]>(upstream, '/instances')).toHaveLength(SLICES);
  });

  test('asked for all that is here: what it has lost is held, and sent again when a person says so', async () => {
    const [lost] = await ask<string[]>(upstream, '/instances');
    expect((await fetch(`${upstream.origin}/instances/${lost}`, { method: 'DELETE' })).ok).toBe(true);
    const act = (form: Record<string, string>): Promise<Response> =>
      fetch(`http://127.0.0.1:${beside.httpPort}/status/actions`, {
        method: 'POST',
        body: new URLSearchParams(form),
        headers: { accept: 'application/json' },
      });
    expect((await act({ action: 'inventory' })).status).toBe(200);
    const inventory = async (): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${beside.httpPort}/status.json`);
      return ((await response.json()) as { inventory?: unknown }).inventory;
    };
    await expect
      .poll(inventory, { timeout: 60_000 })
      .toMatchObject({ endedAt: expect.any(Number), there: SLICES - 1, lost: 1, unanswered: 0 });
    expect(await until(beside, () => true)).toMatchObject({ confirmed: SLICES - 1, held: 1 });
    expect((await act({ action: 'retry', destination: 'upstream' })).status).toBe(200);
    expect(await drained(beside, SLICES)).toMatchObject({ confirmed: SLICES, held: 0 });
    expect(await ask<string[]>(upstream, '/instances')).toHaveLength(SLICES);
  });
});

describe.runIf(hasCorpus)('the shared corpus', { timeout: 2 * CORPUS_MS }, () => {
  interface Sent {
    readonly path: string;
    readonly sop: string;
    readonly sha256: string;
    readonly status?: number;
  }

  test('goes in at the gateway and comes out of the archive, every data set byte for byte', async () => {
    const files = readdirSync(join(corpusDir, 'dicom'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    const list = join(dir, 'files.json');
    writeFileSync(list, JSON.stringify(files));
    const before = (await drained(edge, 0)).confirmed;
    const sent = await python<Sent[]>('dimse-session.py', ['store', '127.0.0.1', String(dicomPort), list], {
      timeoutMs: CORPUS_MS,
    });
    const kept = new Map<string, Sent>();
    for (const one of sent) if (one.status === 0 && !kept.has(one.sop)) kept.set(one.sop, one);
    expect(kept.size).toBeGreaterThan(700);
    expect(await drained(edge, before + kept.size)).toMatchObject({ held: 0 });
    const wrong: string[] = [];
    for (const { sop, sha256, path } of kept.values()) {
      const [found] = await getJson(`${nephos.root}/instances?SOPInstanceUID=${sop}`);
      if (found === undefined) {
        wrong.push(`${path} is missing`);
        continue;
      }
      const uids = {
        StudyInstanceUID: String(first(found, '0020000D')),
        SeriesInstanceUID: String(first(found, '0020000E')),
        SOPInstanceUID: sop,
      };
      const bytes = await getInstance(nephos.root, uids);
      const at = 144 + bytes.readUInt32LE(140);
      if (createHash('sha256').update(bytes.subarray(at)).digest('hex') !== sha256)
        wrong.push(`${path} is not as sent`);
    }
    expect(wrong).toEqual([]);
  });
});
