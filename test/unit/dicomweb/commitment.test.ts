import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Principal } from '#core/access.ts';
import { evictInstances } from '#core/archive/evict.ts';
import { keys } from '#core/archive/records.ts';
import { moveToTrash, selectedInstances } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash, purgeTrash } from '#core/archive/trash.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { timeOfDeletion, verdictsIn } from '#core/routing/verdicts.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, CT_IMAGE_STORAGE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** Storage commitment by HTTP: PS3.18 §13. */

const MR_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.4';
let services: ReturnType<typeof memoryServices>;
let stored: { readonly sha256: string };

beforeEach(async () => {
  services = memoryServices({ limits: { commitmentInstances: 3, commitmentRequestBytes: 2_000 } });
  const outcome = await store(services, buildDicom({ SOPInstanceUID: uid(1) }));
  stored = outcome as unknown as typeof stored;
});

const reference = (SOPInstanceUID: string, SOPClassUID = CT_IMAGE_STORAGE): DataSet => ({
  '00081150': { vr: 'UI', Value: [SOPClassUID] },
  '00081155': { vr: 'UI', Value: [SOPInstanceUID] },
});
const requestFor = (...items: DataSet[]): DataSet => ({ '00081199': { vr: 'SQ', Value: items } });

async function post(
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  { path = `/commitment-requests/${uid(77)}`, method = 'POST', roles = ['gateway'] as Principal['roles'] } = {},
) {
  const router = new Router(services, '/dicomweb', DICOMWEB_ROUTES);
  const { response } = await router.handle({
    method,
    path: `/dicomweb${path}`,
    query: new URLSearchParams(),
    headers: { 'content-type': 'application/dicom+json', ...headers },
    body: (async function* () {
      yield typeof body === 'string' ? Buffer.from(body) : body;
    })(),
    origin: 'http://pacs.example',
    principal: { tenant: TENANT, subject: 'edge', roles },
  });
  const text = String(response.body);
  const isJson = String(response.headers['content-type']).includes('json');
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}
const ask = (...items: DataSet[]) => post(JSON.stringify([requestFor(...items)]));

test('what is stored is committed, with its SHA-256; what is not, is not, with the reason', async () => {
  const { status, json, headers } = await ask(
    reference(uid(1)),
    reference(uid(2)),
    reference(uid(1), MR_IMAGE_STORAGE),
  );
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('application/dicom+json');
  expect(json['00081199'].Value).toEqual([
    {
      '00081150': { vr: 'UI', Value: [CT_IMAGE_STORAGE] },
      '00081155': { vr: 'UI', Value: [uid(1)] },
      '00090010': { vr: 'LO', Value: ['NEPHOS'] },
      '00091001': { vr: 'LO', Value: [stored.sha256] },
    },
  ]);
  expect(json['00081198'].Value).toMatchObject([
    { '00081155': { Value: [uid(2)] }, '00081197': { vr: 'US', Value: [0x0112] } },
    { '00081155': { Value: [uid(1)] }, '00081197': { vr: 'US', Value: [0x0119] } },
  ]);
});

test.each(['deleted', 'rejected'] as const)(
  'what was %s is not; of what was rejected it is told that it is kept',
  async (kind) => {
    await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], { kind, reason: 'test', by: 'test' });
    const { json } = await ask(reference(uid(1)));
    expect(json['00081199']).toBeUndefined();
    const [item] = json['00081198'].Value;
    expect(item['00081197'].Value).toEqual([0x0112]);
    expect(item['00091001']?.Value).toEqual(kind === 'rejected' ? [stored.sha256] : undefined);
  },
);

describe('where the reference names its study, it is told of what was deleted', () => {
  const inStudy = (sop: string, study = uid(1)): DataSet => ({
    ...reference(sop),
    '0020000D': { vr: 'UI', Value: [study] },
  });
  const deletionIn = async (item: DataSet): Promise<unknown> => {
    const { json } = await ask(item);
    expect(json['00081199']).toBeUndefined();
    expect(json['00081198'].Value[0]).toMatchObject({ '00081197': { Value: [0x0112] } });
    const verdict = verdictsIn(JSON.stringify(json))?.get(uid(1));
    return verdict?.kind === 'refused' ? verdict.deletedAt : verdict;
  };
  const remove = (selection = {}) =>
    moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1), ...selection }], {
      kind: 'deleted',
      reason: 'wrong patient',
      by: 'test',
    });

  test('with when, why and the digest of the bytes in the trash', async () => {
    const { deletedAt } = await remove();
    const { json } = await ask(inStudy(uid(1)));
    expect(json['00081198'].Value).toEqual([
      {
        ...reference(uid(1)),
        '00081197': { vr: 'US', Value: [0x0112] },
        '00090010': { vr: 'LO', Value: ['NEPHOS'] },
        '00091001': { vr: 'LO', Value: [stored.sha256] },
        '00091002': { vr: 'DT', Value: [timeOfDeletion(deletedAt)] },
        '00091003': { vr: 'UT', Value: ['wrong patient'] },
      },
    ]);
    expect(await deletionIn(inStudy(uid(1)))).toBe(deletedAt);
  });

  test('not of what is in another study, or was never here', async () => {
    await remove();
    expect(await deletionIn(inStudy(uid(1), uid(2)))).toBeUndefined();
    const { json } = await ask(inStudy(uid(2)), inStudy(`${uid(1)}.1`));
    for (const item of json['00081198'].Value) expect(item['00091002']).toBeUndefined();
  });

  test('not of another instance, where one alone was deleted', async () => {
    await store(services, buildDicom({ SOPInstanceUID: uid(2) }));
    const [instance] = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(1) }]));
    await remove({ SeriesInstanceUID: instance!.SeriesInstanceUID, SOPInstanceUID: uid(1) });
    const there = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(1) }]));
    await evictInstances(services, TENANT, there);
    const { json } = await ask(inStudy(uid(1)), inStudy(uid(2)));
    const told = json['00081198'].Value.map((item: DataSet) => item['00091002'] !== undefined);
    expect(told).toEqual([true, false]);
  });

  test('no longer when it has been restored, sent again, or purged', async () => {
    const { id } = await remove();
    await restoreFromTrash(services, TENANT, id);
    expect((await ask(inStudy(uid(1)))).json['00081199'].Value).toHaveLength(1);
    // What is lost then has not been deleted.
    const there = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(1) }]));
    await evictInstances(services, TENANT, there);
    expect(await deletionIn(inStudy(uid(1)))).toBeUndefined();

    await store(services, buildDicom({ SOPInstanceUID: uid(1) }));
    const { deletedAt } = await remove();
    expect(await deletionIn(inStudy(uid(1)))).toBe(deletedAt);
    const item = await services.index.get(keys.trash(TENANT, (await listTrash(services, TENANT, '', 1)).items[0]!.id));
    await services.index.write([
      { kind: 'put', key: keys.trash(TENANT, item!.id as string), item: { ...item!, purgeAt: 1 } },
    ]);
    expect(await deletionIn(inStudy(uid(1)))).toBeUndefined();
    expect(await purgeTrash(services, TENANT)).toBe(1);
    expect(await deletionIn(inStudy(uid(1)))).toBeUndefined();
  });
});

test('one data set by itself, XML, and a coded body are taken; XML is answered', async () => {
  const one = requestFor(reference(uid(1)));
  expect((await post(JSON.stringify(one))).json['00081199'].Value).toHaveLength(1);
  const xml = await post(
    dataSetToXml(one, () => ''),
    {
      'content-type': 'application/dicom+xml',
      accept: 'application/dicom+xml',
    },
  );
  expect(xml.headers['content-type']).toBe('application/dicom+xml');
  expect(xmlToDataSet(xml.text)['00081199']!.Value).toHaveLength(1);
  const coded = await post(gzipSync(JSON.stringify(one)), { 'content-encoding': 'gzip' });
  expect(coded.json['00081199'].Value).toHaveLength(1);
});

describe('is refused', () => {
  test.each([
    ['no instance', '[{}]', 400],
    ['two data sets', '[{},{}]', 400],
    ['no JSON', '{', 400],
    ['no UID', JSON.stringify(requestFor({ '00081150': { vr: 'UI', Value: ['1.2'] } })), 400],
    ['by study', JSON.stringify({ '00081110': { vr: 'SQ', Value: [{}] } }), 400],
    ['more instances than may be', JSON.stringify(requestFor(...[1, 2, 3, 4].map((n) => reference(uid(n))))), 413],
    ['more bytes than may be', ' '.repeat(2_001), 413],
  ])('%s', async (_, body, status) => {
    expect((await post(body)).status).toBe(status);
  });

  test('another media type', async () => {
    expect((await post('x', { 'content-type': 'text/plain' })).status).toBe(415);
  });

  test('a transaction that is no UID', async () => {
    expect((await post('[{}]', {}, { path: '/commitment-requests/abc' })).status).toBe(400);
  });

  test('who may not ask for commitment', async () => {
    const body = JSON.stringify(requestFor(reference(uid(1))));
    expect((await post(body, {}, { roles: ['viewer'] })).status).toBe(403);
  });

  test('a result check: every request was answered at once', async () => {
    const { status, text } = await post('', {}, { method: 'GET' });
    expect(status).toBe(404);
    expect(text).toContain('answered at once');
  });
});
