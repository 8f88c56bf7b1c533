import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BUNDLE_FILE, BUNDLE_LIMIT_BYTES } from '#lambda/bundling.ts';
import { FUNCTIONS } from '#lambda/functions.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { type Host, multipart } from '#test/hosts/client.ts';
import { dicomwebSuite } from '#test/hosts/dicomweb-suite.ts';
import { startArchive } from '#test/hosts/process.ts';
import { startEdge } from '#test/peers/helpers/edge.ts';
import { runOk } from '#test/peers/helpers/programs.ts';
import { openBrowser, openPage } from '#test/peers/web/browser.ts';
import { waitForImage } from '#test/peers/web/drawn.ts';
import { backgroundSuite } from './deployed/background.ts';
import { rolesSuite } from './deployed/roles.ts';
import { storeTransactionSuite } from './deployed/store-transaction.ts';
import { type DeployedSuite, eventually } from './deployed/suite.ts';
import { bundlesOf, contentsOf } from './helpers/assembly.ts';
import { run } from './helpers/command.ts';
import {
  type Deployed,
  deploy,
  ELSEWHERE_PORT,
  PUBLIC_HOST,
  regionOf,
  SECOND_REGION,
  STAGE,
} from './helpers/deployment.ts';
import {
  hasten,
  holdQueue,
  misconfigure,
  redrive,
  streamOfIndex,
  WRONG_BUCKET,
  WRONG_TABLE,
} from './helpers/drills.ts';
import { ENGINE_IDENTITY } from './helpers/engines.ts';
import { putSite, startFront } from './helpers/front.ts';
import { signIn, signInAgain } from './helpers/identity.ts';
import lacks from './ministack-lacks.json' with { type: 'json' };

/**
 * The real app in two regions, deployed by the real command line to MiniStack, and asked through its APIs. What the engine cannot show (IAM, the
 * firewall, CloudFront, streaming) is in docs/deploy-aws.md, "What is not proved".
 */
let deployed: Deployed;
const ADMIN = 'admin@example.org';
/** of the quarter of an hour that a token holds */
const REFRESH_MS = 5 * 60_000;
let admin: string;
let signedInAt: number;

async function refresh(): Promise<void> {
  if (Date.now() - signedInAt < REFRESH_MS) return;
  admin = await signInAgain(deployed, ADMIN);
  signedInAt = Date.now();
}
beforeAll(async () => {
  deployed = await deploy();
  await hasten(deployed, 'audit');
  admin = await signIn(deployed, ADMIN, 'admin');
  signedInAt = Date.now();
}, 1_800_000);
beforeEach(refresh);
afterAll(() => deployed?.stop());

const suite: DeployedSuite = { deployed: () => deployed, admin: () => as(admin), refresh };
const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
const json = async (path: string, token = admin) => {
  const answer = await deployed.ask(path, { headers: as(token) });
  expect(answer.status, answer.body.toString().slice(0, 500)).toBe(200);
  return JSON.parse(answer.body.toString() || '[]');
};
describe('the deployment', () => {
  test('had everything in it but what the list says that the engine lacks', () => {
    const { types, properties, 'stands in': standsIn } = lacks;
    expect(Object.keys(deployed.dropped).sort()).toEqual(
      [...new Set([types, properties, standsIn].flatMap((list) => Object.keys(list)))].sort(),
    );
  });

  test('answers that it is well, in both regions', async () => {
    for (const ask of [deployed.ask, deployed.askSecond]) {
      const answer = await ask('/healthz');
      expect(answer.status, answer.body.toString()).toBe(200);
    }
  });

  test('bundles functions of less than 1.5 MB zipped, codecs left out', async () => {
    const bundles = await bundlesOf(deployed.assembly);
    expect(bundles.length).toBeGreaterThanOrEqual(Object.keys(FUNCTIONS).length);
    for (const { asset, files, zippedBytes } of bundles) {
      expect(files.sort(), asset).toEqual([BUNDLE_FILE, `${BUNDLE_FILE}.map`]);
      expect(zippedBytes, asset).toBeLessThan(BUNDLE_LIMIT_BYTES);
    }
  });
});

describe('synthesized again by somebody else, in another folder and time zone, of sources that nobody changed', () => {
  test('it has the same templates and assets to the byte, and `cdk diff` finds nothing', async () => {
    expect(contentsOf(deployed.again)).toEqual(contentsOf(deployed.assembly));
    const said = await deployed.diff(deployed.again);
    expect(said).toMatch(/Number of stacks with differences: 0/);
    expect(said.match(/There were no differences/g)).toHaveLength(
      [...deployed.templates.keys()].filter((stack) => !(stack in lacks.stacks)).length,
    );
  });

  test('… and finds a change where there is one', async () => {
    const file = join(deployed.again, 'Queues.template.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"VisibilityTimeout":900', '"VisibilityTimeout":901'));
    await expect(deployed.diff(deployed.again, ['Queues'])).rejects.toThrow(/VisibilityTimeout/);
  });
});

describe('who asks', () => {
  const search = (headers: Record<string, string>) => deployed.ask('/dicomweb/studies?limit=1', { headers });

  test('is nobody without a token, or with one that was tampered with: 401', async () => {
    expect((await search({})).status).toBe(401);
    const [head, payload, signature] = admin.split('.');
    const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, 'cognito:groups': ['admin'], email: 'me@example.org' }));
    expect((await search(as(`${head}.${forged.toString('base64url')}.${signature}`))).status).toBe(401);
  });

  test("may do what the group's role permits, and no more", async () => {
    const viewer = await signIn(deployed, 'viewer@example.org', 'viewer');
    expect((await search(as(viewer))).status).toBe(200);
    const stored = multipart([buildDicom({ SOPInstanceUID: uid(9001) })]);
    const refused = await deployed.ask('/dicomweb/studies', {
      ...stored,
      headers: { ...stored.headers, ...as(viewer) },
    });
    expect(refused.status).toBe(403);
  });
});

dicomwebSuite(
  'the deployed stack',
  async (): Promise<Host> => ({
    origin: `https://${PUBLIC_HOST}`,
    fetch: (path, init = {}) => deployed.ask(path, { ...init, headers: { ...as(admin), ...init.headers } }),
    close: async () => {},
  }),
  { uploadsElsewhere: 'parts go to S3 by signed URLs, and a queue stores them: see "a store transaction" below' },
);

describe('objects of a tenant with a key of its own', () => {
  test('are encrypted with it, all that lies below its name', async () => {
    const s3 = new S3Client({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint, forcePathStyle: true });
    const Bucket = deployed.output('Storage', 'ArchiveBucket');
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'main/' }));
    expect(Contents.length).toBeGreaterThan(0);
    for (const { Key } of Contents)
      expect((await s3.send(new HeadObjectCommand({ Bucket, Key }))).SSEKMSKeyId).toBe(
        deployed.output('Keys', 'TenantKeyArnmain'),
      );
    s3.destroy();
  });
});

describe('objects that land in the bucket', () => {
  test('are stored, and gone from there', async () => {
    const s3 = new S3Client({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint, forcePathStyle: true });
    const Bucket = deployed.output('Storage', 'LandingBucket');
    const study = uid(7001);
    const object = buildDicom({ StudyInstanceUID: study, SeriesInstanceUID: uid(7002), SOPInstanceUID: uid(7003) });
    await s3.send(new PutObjectCommand({ Bucket, Key: 'incoming/main/from a CD/Müller é+1/IM 0001', Body: object }));
    const found = await eventually(async () => {
      const answer = await deployed.ask(`/dicomweb/studies?StudyInstanceUID=${study}`, { headers: as(admin) });
      return answer.status === 200 ? (JSON.parse(answer.body.toString()) as unknown[])[0] : undefined;
    });
    expect(found).toBeDefined();
    s3.destroy();
  });
});

describe('work that cannot be done', () => {
  test('is given up after its attempts, and waits among the dead letters', async () => {
    const sqs = new SQSClient({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint });
    const url = async (QueueName: string) => (await sqs.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl!;
    const QueueUrl = await url(`nephos-${STAGE}-ingest`);
    const deadUrl = await url(`nephos-${STAGE}-ingest-dead`);
    // In 15 minutes it would be tried again; five times that is longer than anybody waits for a test.
    await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: '1' } }));
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: '{"no":"event"}' }));
    const dead = await eventually(async () => {
      const answer = await sqs.send(new ReceiveMessageCommand({ QueueUrl: deadUrl, WaitTimeSeconds: 1 }));
      return answer.Messages?.[0];
    }, 180_000);
    expect(dead.Body).toBe('{"no":"event"}');
    await sqs.send(new DeleteMessageCommand({ QueueUrl: deadUrl, ReceiptHandle: dead.ReceiptHandle! }));
    await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: '900' } }));
    sqs.destroy();
  });
});

describe('a deployment that was wrong', () => {
  test('loses nothing: what failed lies among the dead letters, and is stored when they are put back', async () => {
    const clients = { ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint };
    const s3 = new S3Client({ ...clients, forcePathStyle: true });
    const sqs = new SQSClient(clients);
    const QueueUrl = (await sqs.send(new GetQueueUrlCommand({ QueueName: `nephos-${STAGE}-ingest` }))).QueueUrl!;
    const setVisibility = (seconds: string) =>
      sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: seconds } }));
    await setVisibility('1');
    const putRight = await misconfigure(deployed, 'ingest', { NEPHOS_ARCHIVE_BUCKET: WRONG_BUCKET });
    const study = uid(7401);
    const Body = buildDicom({ StudyInstanceUID: study, SeriesInstanceUID: uid(7402), SOPInstanceUID: uid(7403) });
    const Bucket = deployed.output('Storage', 'LandingBucket');
    await s3.send(new PutObjectCommand({ Bucket, Key: 'incoming/main/while-it-was-wrong', Body }));
    const deadUrl = `${QueueUrl}-dead`;
    await eventually(async () => {
      const asked = { QueueUrl: deadUrl, AttributeNames: ['ApproximateNumberOfMessages' as const] };
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand(asked));
      return Number(Attributes?.ApproximateNumberOfMessages) > 0 ? true : undefined;
    }, 180_000);
    await putRight();
    await setVisibility('900');
    expect(await redrive(deployed)).toMatch(/^ingest: [1-9]\d* given up/m);
    expect(await redrive(deployed, 'ingest')).toMatch(/^ingest: [1-9]\d* put back/m);
    await expect(redrive(deployed, 'no-such-work')).rejects.toThrow('no kind of work no-such-work');
    await eventually(async () => {
      const answer = await deployed.ask(`/dicomweb/studies?StudyInstanceUID=${study}`, { headers: as(admin) });
      return answer.status === 200 ? true : undefined;
    });
    s3.destroy();
    sqs.destroy();
  });
});

describe('an object in Deep Archive', () => {
  test('is fetched from there when somebody reads it; EventBridge brings the news of its return, and readers have it', async () => {
    const s3 = new S3Client({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint, forcePathStyle: true });
    const Bucket = deployed.output('Storage', 'ArchiveBucket');
    const [study, series, sop] = [uid(7601), uid(7602), uid(7603)];
    const Body = buildDicom({ StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop });
    const stored = multipart([Body]);
    await deployed.ask('/dicomweb/studies', { ...stored, headers: { ...stored.headers, ...as(admin) } });
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: `main/${study}/` }));
    const Key = Contents.map((one) => one.Key!).find((key) => key.endsWith('.dcm'))!;
    // The engine moves nothing by its rules.
    await s3.send(new PutObjectCommand({ Bucket, Key, Body, StorageClass: 'DEEP_ARCHIVE' }));
    s3.destroy();

    const read = () =>
      deployed.ask(`/dicomweb/studies/${study}/series/${series}/instances/${sop}`, {
        headers: { ...as(admin), accept: 'application/dicom; transfer-syntax=*' },
      });
    const becomes = (expected: string) =>
      eventually(async () => {
        const [found] = await json(`/dicomweb/studies?StudyInstanceUID=${study}&includefield=InstanceAvailability`);
        return found['00080056'].Value[0] === expected ? true : undefined;
      });
    // The engine brings it back in two seconds: the news waits until it has been seen that the object is on its way.
    const goOn = await holdQueue(deployed, 'moved');
    const away = await read();
    expect([away.status, Number(away.headers['retry-after']) > 0], away.body.toString()).toEqual([503, true]);
    await becomes('NEARLINE');
    await goOn();
    await becomes('ONLINE');
    const back = await read();
    expect(back.status).toBe(200);
    expect(Buffer.compare(back.body, Buffer.from(Body))).toBe(0);
  });
});

describe('the stream of the index', () => {
  test('tells which records change', async () => {
    const { view, records } = await streamOfIndex(deployed);
    expect(view).toBe('NEW_AND_OLD_IMAGES');
    expect(records.length).toBeGreaterThan(0);
    for (const { dynamodb } of records) expect(Object.keys(dynamodb.Keys as object).toSorted()).toEqual(['p', 's']);
    // The functions keep together what a principal has used of his rate, and what tokens they have found valid.
    const partitions = records.map(({ dynamodb }) => (dynamodb.Keys as { p: { S: string } }).p.S.split('\0')[0]);
    expect(partitions).toContain('main|rates');
    expect(partitions).toContain('_system|rates');
  });
});

describe('a study that a rule sends on', () => {
  test('arrives at an archive elsewhere, which was down at first, byte for byte; the trail says so', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nephos-elsewhere-'));
    const study = uid(7701);
    const put = (path: string, body: object) =>
      deployed.ask(`/api/routing/${path}`, {
        method: 'PUT',
        headers: { ...as(admin), 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify(body)),
      });
    const destination = { url: `http://127.0.0.1:${ELSEWHERE_PORT}/dicomweb` };
    const made = await put('destinations/elsewhere', destination);
    expect(made.status, made.body.toString()).toBe(200);
    const rule = { when: 'stored', condition: { AccessionNumber: ['ROUTED-*'] }, destinations: ['elsewhere'] };
    expect((await put('rules/routed', rule)).status).toBe(200);
    expect((await put('destinations/nowhere', { url: 'http://169.254.169.254/' })).status).toBe(403);
    const objects = [1, 2, 3].map((n) =>
      buildDicom({
        StudyInstanceUID: study,
        SeriesInstanceUID: uid(7702),
        SOPInstanceUID: uid(7702 + n),
        AccessionNumber: 'ROUTED-1',
      }),
    );
    const stored = multipart(objects);
    const { status } = await deployed.ask('/dicomweb/studies', {
      ...stored,
      headers: { ...stored.headers, ...as(admin) },
    });
    expect(status).toBe(200);
    const delivery = async () => (await json(`/api/routing/deliveries?study=${study}`)).items[0];
    const waits = await eventually(async () => ((await delivery())?.problem ? delivery() : undefined), 180_000);
    expect(waits).toMatchObject({ state: 'waiting', waiting: 3, problem: { class: 'unreachable' } });

    const elsewhere = await startArchive(folder, { NEPHOS_HTTP_PORT: String(ELSEWHERE_PORT), NEPHOS_WORKERS: '1' });
    try {
      await eventually(async () => ((await delivery())?.state === 'done' ? true : undefined), 180_000);
      for (const [n, object] of objects.entries()) {
        const path = `/dicomweb/studies/${study}/series/${uid(7702)}/instances/${uid(7703 + n)}`;
        const got = await fetch(elsewhere.origin + path, {
          headers: { accept: 'application/dicom; transfer-syntax=*' },
        });
        expect(Buffer.compare(Buffer.from(await got.arrayBuffer()), Buffer.from(object))).toBe(0);
      }
      expect(await delivery()).toMatchObject({ sent: 3, held: 0, waiting: 0 });
    } finally {
      await elsewhere.kill9();
      rmSync(folder, { recursive: true, force: true });
    }
    const { entries } = await json('/api/audit?limit=1000');
    const exported = entries.filter((entry: { subject: string }) => entry.subject === 'route:elsewhere');
    expect(exported.map(({ event }: { event: string }) => event)).toEqual(
      expect.arrayContaining(['BeginTransferringInstances', 'DataExport']),
    );
  }, 300_000);
});

backgroundSuite(suite);
storeTransactionSuite(suite);

describe.runIf(existsSync('/usr/bin/storescu'))('a gateway at the edge', () => {
  test('is enrolled by one command, and forwards what storescu sends it: small objects by STOW-RS, one too large for a request by a store transaction', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nephos-edge-'));
    const front = await startFront(deployed);
    const made = await deployed.ask('/api/enrolments', {
      method: 'POST',
      headers: { ...as(admin), 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ gateway: 'north-clinic' })),
    });
    expect(made.status, made.body.toString()).toBe(201);
    const { code } = JSON.parse(made.body.toString());
    const env = { NEPHOS_EDGE_CONFIG: join(folder, 'enrolled.json'), NEPHOS_DATA_DIR: join(folder, 'edge/data') };
    expect(await run('node', ['edge-gateway/main.ts', 'enrol', front.origin, code], { env })).toContain('north-clinic');
    const dicomPort = await freePort();
    const edge = await startEdge(join(folder, 'edge'), {
      dicomPort,
      httpPort: await freePort(),
      upstreams: [{ name: 'cloud', url: `${front.origin}/dicomweb`, auth: { enrolled: true } }],
    });
    try {
      const study = uid(7301);
      const objects = [1, 2, 3].map((n) =>
        buildDicom({
          StudyInstanceUID: study,
          SeriesInstanceUID: uid(7302),
          SOPInstanceUID: uid(7310 + n),
          InstanceNumber: n,
          // The last one is 8 MiB: over what a function may be sent.
          ...(n === 3 && { Rows: 2048, Columns: 2048, PixelData: Buffer.alloc(2048 * 2048 * 2, 7) }),
        }),
      );
      const files = objects.map((object, at) => {
        const file = join(folder, `${at}.dcm`);
        writeFileSync(file, object);
        return file;
      });
      await runOk('storescu', ['-aec', 'NEPHOS', '127.0.0.1', String(dicomPort), ...files]);
      const found = await eventually(async () => {
        const studies = await json(
          `/dicomweb/studies?StudyInstanceUID=${study}&includefield=NumberOfStudyRelatedInstances`,
        );
        return studies[0]?.['00201208']?.Value[0] === objects.length ? studies[0] : undefined;
      }, 180_000);
      expect(found).toBeDefined();
    } finally {
      await edge.stop();
      await front.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe.runIf(existsSync('/usr/bin/chromium'))('OHIF in Chromium', () => {
  test('draws a study of the deployed stack, from the site in its bucket, with the headers of its front', async () => {
    const pixels = Buffer.alloc(256 * 256 * 2);
    for (let at = 0; at < 256 * 256; at++)
      pixels.writeUInt16LE(((at % 256) * 16 + Math.floor(at / 256)) % 4096, at * 2);
    const study = uid(7201);
    const object = buildDicom({
      StudyInstanceUID: study,
      SeriesInstanceUID: uid(7202),
      SOPInstanceUID: uid(7203),
      Rows: 256,
      Columns: 256,
      PixelData: pixels,
    });
    const stored = multipart([object]);
    const answer = await deployed.ask('/dicomweb/studies', { ...stored, headers: { ...stored.headers, ...as(admin) } });
    expect(answer.status, answer.body.toString()).toBe(200);
    await putSite(deployed);
    const front = await startFront(deployed);
    const browser = await openBrowser();
    try {
      const { page, complaints } = await openPage(browser);
      await page.goto(front.origin);
      const status = await page.evaluate(async (token) => {
        const options = {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token }),
        };
        return (await fetch('/api/session', options)).status;
      }, admin);
      expect(status).toBe(200);
      await page.goto(`${front.origin}/viewer?StudyInstanceUIDs=${study}`);
      const image = await waitForImage(page, ({ levels, lit }) => levels > 30 && lit > 0.005);
      expect(image.levels).toBeGreaterThan(30);
      expect(await page.evaluate('crossOriginIsolated')).toBe(true);
      expect(complaints.filter((text) => /Content Security Policy|Cross-Origin|SharedArrayBuffer/.test(text))).toEqual(
        [],
      );
    } finally {
      await browser.close();
      await front.stop();
    }
  });
});

describe('the second region', () => {
  const study = uid(7501);
  const [series, sop] = [uid(7502), uid(7503)];
  const object = buildDicom({ StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop });
  const inFirst = (path: string, init: Parameters<Deployed['ask']>[1] = {}) =>
    deployed.ask(path, { ...init, headers: { ...as(admin), ...init.headers } });
  const inSecond = (path: string, init: Parameters<Deployed['ask']>[1] = {}) =>
    deployed.askSecond(path, { ...init, headers: { ...as(admin), ...init.headers } });
  const single = { headers: { accept: 'application/dicom; transfer-syntax=*' } };

  test('lets nobody in whom the first would not', async () => {
    expect((await deployed.askSecond('/dicomweb/studies')).status).toBe(401);
  });

  test('finds and reads what was stored in the first: attributes, metadata, frames, images, and every byte', async () => {
    const stored = await inFirst('/dicomweb/studies', multipart([object]));
    expect(stored.status, stored.body.toString()).toBe(200);
    const [found] = await eventually(async () => {
      const answer = await inSecond(`/dicomweb/studies?StudyInstanceUID=${study}&includefield=all`);
      return answer.status === 200 ? JSON.parse(answer.body.toString()) : undefined;
    });
    expect(found['00201208'].Value).toEqual([1]);
    const path = `/dicomweb/studies/${study}/series/${series}/instances/${sop}`;
    const instance = await eventually(async () => {
      const answer = await inSecond(path, single);
      return answer.status === 200 ? answer : undefined;
    });
    expect(Buffer.compare(instance.body, Buffer.from(object))).toBe(0);
    for (const [what, accept] of [
      ['/metadata', 'application/dicom+json'],
      ['/frames/1', 'multipart/related; type="application/octet-stream"; transfer-syntax=*'],
      ['/rendered', 'image/jpeg'],
    ] as const) {
      const [here, there] = await Promise.all(
        [inFirst, inSecond].map((ask) => ask(path + what, { headers: { accept } })),
      );
      expect([here!.status, there!.status], what).toEqual([200, 200]);
      expect(there!.body.length, what).toBe(here!.body.length);
    }
  });

  test('takes changes where a person sends them there, and the first knows of them', async () => {
    const other = uid(7511);
    const sent = buildDicom({ StudyInstanceUID: other, SeriesInstanceUID: uid(7512), SOPInstanceUID: uid(7513) });
    const stored = await inSecond('/dicomweb/studies', multipart([sent]));
    expect(stored.status, stored.body.toString()).toBe(200);
    // What the first has taken already is a success there as well, and counted once.
    expect((await inSecond('/dicomweb/studies', multipart([object]))).status).toBe(200);
    for (const [ask, uids] of [
      [inFirst, [other, study]],
      [inSecond, [other, study]],
    ] as const)
      for (const one of uids) {
        const [found] = await eventually(async () => {
          const answer = await ask(`/dicomweb/studies?StudyInstanceUID=${one}&includefield=00201208`);
          return answer.status === 200 ? JSON.parse(answer.body.toString()) : undefined;
        });
        expect(found['00201208'].Value).toEqual([1]);
      }
  });

  test('answers readers by itself while the first fails, and takes no change in its place', async () => {
    const putRight = await misconfigure(deployed, 'search', { NEPHOS_TABLE: WRONG_TABLE });
    const front = await startFront(deployed);
    try {
      expect((await inFirst('/dicomweb/studies?limit=1')).status).toBe(500);
      const search = `${front.origin}/dicomweb/studies?StudyInstanceUID=${study}`;
      const found = await fetch(search, { headers: as(admin) });
      expect(found.status).toBe(200);
      expect(await found.json()).toHaveLength(1);
      const form = { method: 'POST', headers: { ...as(admin), 'content-type': 'application/dicom+json' } };
      expect((await fetch(search, form)).status).toBeGreaterThanOrEqual(400);
    } finally {
      await front.stop();
      await putRight();
    }
    expect((await inFirst('/dicomweb/studies?limit=1')).status).toBe(200);
  });

  test('asks nothing of the first', () => {
    const asked = [...deployed.recorders]
      .filter(([name]) => regionOf(name) === SECOND_REGION)
      .flatMap(([, recorder]) => [...recorder.asked]);
    expect(asked.length).toBeGreaterThan(10);
    expect(asked.filter((call) => call.includes('us-east-1'))).toEqual([]);
  });
});

describe('a study that nothing more comes for', () => {
  test('is settled by the worker, and the feed says so', async () => {
    const settled = await eventually(async () => {
      const { events } = await json('/api/events?limit=1000');
      return events.find(({ type }: { type: string }) => type === 'StudyQuiet');
    }, 180_000);
    expect(settled).toBeDefined();
  });
});

rolesSuite(suite);
