import { beforeAll, describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { type InstanceRecord, keys, type SeriesRecord, type StudyRecord } from '#core/archive/records.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS, type Limits } from '#core/limits.ts';
import { asItem, type WriteOperation } from '#core/ports/index-table.ts';
import { countWrites, newTermWrites, postingPuts } from '#core/search/postings.ts';
import type { Services } from '#core/services.ts';
import { searchInstances, searchSeries, searchStudies } from '#dicomweb/search.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

/** A small clinic: Anna Müller with a CT of two series and a later MR, Ken Yamada with a CT, and a study without a date. */

const ROOT = 'http://127.0.0.1:8080/dicomweb';
const index = new MemoryIndexTable();

const text = (vr: string, ...Value: (string | number)[]): Element => ({ vr, Value });
const person = (Alphabetic: string, Ideographic?: string): Element => ({
  vr: 'PN',
  Value: [{ Alphabetic, ...(Ideographic && { Ideographic }) }],
});
const CT = '1.2.840.10008.5.1.4.1.1.2';

interface Given {
  readonly study: DataSet;
  readonly series: readonly {
    readonly uid: string;
    readonly modality: string;
    readonly attributes: DataSet;
    readonly instances: readonly DataSet[];
  }[];
}

async function given(tenant: string, StudyInstanceUID: string, { study, series }: Given): Promise<void> {
  const counted = {
    version: 1,
    sizeBytes: 1,
    firstStoredAt: 0,
    lastStoredAt: 0,
    availability: 'ONLINE',
    revision: 'r',
    sopClasses: { [CT]: 1 },
  };
  const instanceCount = series.reduce((sum, one) => sum + one.instances.length, 0);
  const modalities = Object.fromEntries(series.map((one) => [one.modality, one.instances.length]));
  const record: StudyRecord = {
    ...counted,
    StudyInstanceUID,
    attributes: study,
    modalities,
    seriesCount: series.length,
    instanceCount,
  };
  const operations: WriteOperation[] = [
    ...(await newTermWrites(index, tenant, record)),
    ...postingPuts(tenant, undefined, record),
    ...countWrites(tenant, undefined, record),
    { kind: 'put', key: keys.study(tenant, StudyInstanceUID), item: asItem(record) },
  ];
  for (const { uid, modality, attributes, instances } of series) {
    const own: SeriesRecord = {
      ...counted,
      StudyInstanceUID,
      SeriesInstanceUID: uid,
      attributes,
      modality,
      instanceCount: instances.length,
    };
    operations.push({ kind: 'put', key: keys.series(tenant, StudyInstanceUID, uid), item: asItem(own) });
    operations.push({ kind: 'put', key: keys.seriesOf(tenant, uid, StudyInstanceUID), item: {} });
    for (const [i, dataSet] of instances.entries()) {
      const SOPInstanceUID = `${uid}.${i + 1}`;
      const instance: InstanceRecord = {
        StudyInstanceUID,
        SeriesInstanceUID: uid,
        SOPInstanceUID,
        SOPClassUID: CT,
        Modality: modality,
        version: '1',
        transferSyntaxUID: '1.2.840.10008.1.2.1',
        blobKey: 'b',
        sizeBytes: 1,
        sha256: '',
        dataSetOffset: 0,
        storedAt: 0,
        source: 'test',
        attributes: dataSet,
      };
      const claim = { StudyInstanceUID, SeriesInstanceUID: uid, version: '1', sha256: '' };
      const whole = {
        ...dataSet,
        '00180060': text('DS', '120'),
        '00420011': { vr: 'OB', BulkDataURI: 'nephos:/studies/x/bulk' },
      };
      operations.push({
        kind: 'put',
        key: keys.instance(tenant, StudyInstanceUID, uid, SOPInstanceUID),
        item: asItem(instance),
      });
      operations.push({ kind: 'put', key: keys.sop(tenant, SOPInstanceUID), item: claim });
      operations.push({
        kind: 'put',
        key: keys.metadata(tenant, StudyInstanceUID, uid, SOPInstanceUID),
        item: { json: JSON.stringify(whole) },
      });
    }
  }
  for (let at = 0; at < operations.length; at += 100) await index.write(operations.slice(at, at + 100));
}

const slices = (...numbers: number[]): DataSet[] =>
  numbers.map((n) => ({ '00200013': text('IS', n), '00280010': text('US', 512) }));

beforeAll(async () => {
  await given('main', '1.1', {
    study: {
      '00080020': text('DA', '20240110'),
      '00080030': text('TM', '0900'),
      '00080050': text('SH', 'ACC1'),
      '00081030': text('LO', 'CT Chest'),
      '00081032': { vr: 'SQ', Value: [{ '00080100': text('SH', 'CTCH'), '00080102': text('SH', 'LN') }] },
      '00100010': person('Müller^Anna'),
      '00100020': text('LO', 'P1'),
      '00100021': text('LO', 'HOSPITAL'),
    },
    series: [
      {
        uid: '1.1.10',
        modality: 'CT',
        attributes: { '00200011': text('IS', 10), '0008103E': text('LO', 'Lung') },
        instances: slices(2, 10, 1),
      },
      {
        uid: '1.1.2',
        modality: 'SR',
        attributes: {
          '00200011': text('IS', 2),
          '00400275': { vr: 'SQ', Value: [{ '00400009': text('SH', 'SPS7') }] },
        },
        instances: slices(1),
      },
    ],
  });
  await given('main', '1.2', {
    study: {
      '00080020': text('DA', '20240220'),
      '00080050': text('SH', 'ACC2'),
      '00100010': person('Müller^Anna'),
      '00100020': text('LO', 'P1'),
    },
    series: [{ uid: '1.2.1', modality: 'MR', attributes: { '00200011': text('IS', 1) }, instances: slices(1, 2) }],
  });
  await given('main', '1.3', {
    study: {
      '00080020': text('DA', '20240220'),
      '00080030': text('TM', '0800'),
      '00100010': person('Yamada^Ken', '山田^健'),
      '00100020': text('LO', 'P2'),
    },
    series: [{ uid: '1.3.1', modality: 'CT', attributes: {}, instances: slices(1) }],
  });
  await given('main', '1.4', {
    study: { '00100020': text('LO', 'P3') },
    series: [{ uid: '1.4.1', modality: 'OT', attributes: {}, instances: slices(1) }],
  });
  await given('other', '1.5', {
    study: { '00080020': text('DA', '20240220'), '00100010': person('Müller^Anna'), '00100020': text('LO', 'P1') },
    series: [{ uid: '1.5.1', modality: 'CT', attributes: {}, instances: slices(1) }],
  });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly results: DataSet[];
  readonly uids: string[];
  readonly body: string;
}

async function get(
  url: string,
  options: { accept?: string; limits?: Partial<Limits>; tenant?: string } = {},
): Promise<Answer> {
  const { pathname, searchParams } = new URL(url, 'http://x');
  const [, , study, , series] = pathname.split('/');
  const handler = pathname.endsWith('instances')
    ? searchInstances
    : pathname.endsWith('series')
      ? searchSeries
      : searchStudies;
  const response = await handler({
    request: {
      method: 'GET',
      path: pathname,
      query: searchParams,
      headers: { accept: options.accept ?? 'application/dicom+json' },
      body: (async function* () {})(),
      origin: 'http://127.0.0.1:8080',
    },
    params: { ...(study && { study }), ...(series && { series }) },
    services: standIn<Services>({
      index,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      clock: new TestClock(),
    }),
    principal: { tenant: options.tenant ?? 'main', subject: 'test', roles: ['admin'] },
    root: ROOT,
    facts: {},
  });
  const chunks: Buffer[] = [];
  if (typeof response.body === 'string') chunks.push(Buffer.from(response.body));
  else if (response.body)
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) chunks.push(Buffer.from(chunk));
  const body = Buffer.concat(chunks).toString();
  const results: DataSet[] = body.startsWith('[') ? JSON.parse(body) : [];
  const uids = results.map((result) =>
    String((result['00080018'] ?? result['0020000E'] ?? result['0020000D'])?.Value?.[0]),
  );
  return { status: response.status, headers: response.headers, results, uids, body };
}

describe('the study list', () => {
  test('is newest first; what has no date comes last', async () => {
    const { uids, headers, status } = await get('/studies');
    expect(status).toBe(200);
    expect(uids).toEqual(['1.3', '1.2', '1.1', '1.4']);
    expect(headers['x-total-count']).toBe('4');
    expect(headers.warning).toBeUndefined();
  });

  test('holds the attributes of PS3.18 Table 10.6.3-3, in tag order, empty ones included', async () => {
    const [result] = (await get('/studies?StudyInstanceUID=1.1')).results as [DataSet];
    expect(Object.keys(result)).toEqual(Object.keys(result).toSorted());
    expect(result).toMatchObject({
      '00080061': { vr: 'CS', Value: ['CT', 'SR'] },
      '00080056': { vr: 'CS', Value: ['ONLINE'] },
      '00081190': { vr: 'UR', Value: [`${ROOT}/studies/1.1`] },
      '00201206': { vr: 'IS', Value: [2] },
      '00201208': { vr: 'IS', Value: [4] },
    });
    expect(result['00100030']).toEqual({ vr: 'DA' });
    expect(result['00080005']).toBeUndefined();
    expect(result['00081032']).toBeUndefined();
  });

  test('pages, and says what remains', async () => {
    const first = await get('/studies?limit=2');
    expect(first.uids).toEqual(['1.3', '1.2']);
    expect(first.headers.warning).toBe(`299 ${ROOT}: There are 2 additional results that can be requested`);
    expect((await get('/studies?limit=2&offset=2')).uids).toEqual(['1.1', '1.4']);
    expect((await get('/studies?limit=2&offset=4')).uids).toEqual([]);
    expect((await get('/studies?offset=3&orderby=StudyDate')).uids).toEqual(['1.3']);
  });

  test('answers nothing found with an empty list', async () => {
    const { status, body, headers } = await get('/studies?PatientID=nobody');
    expect([status, body, headers['x-total-count']]).toEqual([200, '[]', '0']);
  });

  describe('what there is of a patient', () => {
    const countsOf = ({ results }: Answer) =>
      results.map((result) => ['00201200', '00201202', '00201204'].map((tag) => result[tag]?.Value?.[0]));
    const asked = 'includefield=NumberOfPatientRelatedStudies,00201202,NumberOfPatientRelatedInstances';

    beforeAll(async () => {
      const again = (uid: string, PatientID: string, issuer?: string) =>
        given('patients', uid, {
          study: { '00100020': text('LO', PatientID), ...(issuer && { '00100021': text('LO', issuer) }) },
          series: [
            { uid: `${uid}.1`, modality: 'CT', attributes: {}, instances: slices(1, 2) },
            { uid: `${uid}.2`, modality: 'CT', attributes: {}, instances: slices(1) },
          ],
        });
      await again('2.1', 'P1', 'HOSPITAL');
      await again('2.2', 'P1', 'HOSPITAL');
      await again('2.3', 'P1');
      await again('2.4', ' ');
    });
    const of = (url: string) => get(url, { tenant: 'patients' });

    test('is counted where it is asked for: the same ID of another issuer is somebody else, no ID is nobody', async () => {
      expect(countsOf(await of(`/studies?orderby=StudyDate&${asked}`))).toEqual([
        [2, 4, 6],
        [2, 4, 6],
        [1, 2, 3],
        [undefined, undefined, undefined],
      ]);
      expect(countsOf(await of('/studies?StudyInstanceUID=2.1&includefield=all'))).toEqual([[2, 4, 6]]);
      const [one] = (await of('/studies?StudyInstanceUID=2.1&NumberOfPatientRelatedStudies=')).results;
      expect(one!['00201200']).toEqual(text('IS', 2));
    });

    test('also with series and instances', async () => {
      expect(countsOf(await of(`/studies/2.1/series?${asked}`))).toEqual([
        [2, 4, 6],
        [2, 4, 6],
      ]);
      expect(countsOf(await of(`/studies/2.3/series/2.3.2/instances?${asked}`))).toEqual([[1, 2, 3]]);
    });

    test('is not counted unasked, nor of another tenant', async () => {
      expect(countsOf(await of('/studies?StudyInstanceUID=2.1'))).toEqual([[undefined, undefined, undefined]]);
      expect(countsOf(await get(`/studies?StudyInstanceUID=1.1&${asked}`))).toEqual([[1, 2, 4]]);
    });

    test('is no key to match or sort by', async () => {
      const { uids, headers } = await of(
        '/studies?NumberOfPatientRelatedStudies=7&orderby=-NumberOfPatientRelatedSeries',
      );
      expect(uids).toHaveLength(4);
      expect(headers.warning).toMatch(/ignored: NumberOfPatientRelatedStudies orderby/);
    });

    test('is left out, and the answer says so, when it would take too many reads', async () => {
      const { results, headers } = await get(`/studies?StudyInstanceUID=2.1&${asked}`, {
        tenant: 'patients',
        limits: { searchRecords: 3 },
      });
      expect(results).toHaveLength(1);
      expect(countsOf({ results } as Answer)).toEqual([[undefined, undefined, undefined]]);
      expect(headers.warning).toBe(`299 ${ROOT}: The studies of some patients are too many to be counted.`);
    });
  });

  test.each([
    ['PatientName=m%C3%BCller*', ['1.2', '1.1']],
    ['00100010=*ANNA', ['1.2', '1.1']],
    ['PatientName=%E5%B1%B1%E7%94%B0*', ['1.3']],
    ['PatientName=ken%20yamada&fuzzymatching=true', ['1.3']],
    ['PatientID=P1', ['1.2', '1.1']],
    ['PatientID=*2', ['1.3']],
    ['StudyDate=20240201-20240301', ['1.3', '1.2']],
    ['ModalitiesInStudy=CT', ['1.3', '1.1']],
    ['Modality=MR', ['1.2']],
    ['ModalitiesInStudy=MR%5CSR', ['1.2', '1.1']],
    ['ModalitiesInStudy=CT&StudyDate=20240110', ['1.1']],
    ['StudyDescription=*hest*', ['1.1']],
    ['StudyInstanceUID=1.1%5C1.3', ['1.3', '1.1']],
    ['StudyInstanceUID=1.1,1.3&PatientID=P2', ['1.3']],
    ['SeriesInstanceUID=1.2.1', ['1.2']],
    ['SOPInstanceUID=1.3.1.1', ['1.3']],
    ['SOPInstanceUID=1.3.1.1&StudyInstanceUID=1.1', []],
    ['ProcedureCodeSequence.CodeValue=CTCH', ['1.1']],
    ['00081032.00080100=CTCH&00081032.00080102=XX', []],
    ['IssuerOfPatientID=HOSPITAL', ['1.1']],
    ['NumberOfStudyRelatedInstances=4', ['1.1']],
    ['SOPClassesInStudy=1.2.840.10008.5.1.4.1.1.2&PatientID=P3', ['1.4']],
    ['PatientName=*', ['1.3', '1.2', '1.1', '1.4']],
    ['orderby=-PatientID,StudyDate', ['1.4', '1.3', '1.1', '1.2']],
    ['orderby=StudyDate', ['1.4', '1.1', '1.2', '1.3']],
  ])('%s', async (query, expected) => {
    const { uids, headers } = await get(`/studies?${query}`);
    expect(uids).toEqual(expected);
    expect(headers.warning).toBeUndefined();
  });

  test('returns what is asked for beyond the default: by includefield, by matching, all', async () => {
    const code = { vr: 'SQ', Value: [{ '00080100': text('SH', 'CTCH'), '00080102': text('SH', 'LN') }] };
    const one = async (query: string) => (await get(`/studies?StudyInstanceUID=1.1&${query}`)).results[0] as DataSet;
    expect((await one('includefield=00100021,ProcedureCodeSequence'))['00081032']).toEqual(code);
    expect((await one('includefield=00100021'))['00100021']).toEqual(text('LO', 'HOSPITAL'));
    expect((await one('IssuerOfPatientID='))['00100021']).toEqual(text('LO', 'HOSPITAL'));
    const all = await one('includefield=all');
    expect(all['00081032']).toEqual(code);
    expect(all['00080062']).toEqual(text('UI', CT));
    expect(Object.keys(all)).toEqual(Object.keys(all).toSorted());
    expect((await one('includefield=00080060'))['00080060']).toBeUndefined();
  });

  test('never shows one tenant the studies of another', async () => {
    expect((await get('/studies?PatientID=P1', { tenant: 'other' })).uids).toEqual(['1.5']);
    expect((await get('/studies?StudyInstanceUID=1.1', { tenant: 'other' })).uids).toEqual([]);
    expect((await get('/instances?SOPInstanceUID=1.1.2.1', { tenant: 'other' })).uids).toEqual([]);
  });

  test('ignores what it does not know, and says so', async () => {
    const { uids, headers } = await get('/studies?SliceThickness=1&Nonsense=2&PatientID=P3');
    expect(uids).toEqual(['1.4']);
    expect(headers.warning).toContain('ignored: SliceThickness Nonsense');
  });

  test('says of fields to include that there is no such attribute', async () => {
    const { uids, headers } = await get(
      '/studies?includefield=StudyComment,PatientSize&includefield=0010101&PatientID=P3',
    );
    expect(uids).toEqual(['1.4']);
    expect(headers.warning).toContain('ignored: StudyComment 0010101');
  });

  test('says of octets that are no UTF-8 that it could not read them', async () => {
    const { uids, headers } = await get('/studies?PatientName=M%FCller');
    expect(uids).toEqual([]);
    expect(headers.warning).toContain('percent-encoded UTF-8');
  });

  test.each([
    'limit=-1',
    'offset=x',
    'StudyDate=2024',
    'StudyTime=25',
    'StudyInstanceUID=1.2.*',
    'fuzzymatching=maybe',
    'NumberOfStudyRelatedSeries=few',
    'ProcedureCodeSequence=1',
  ])('refuses %s, naming the parameter', async (query) => {
    await expect(get(`/studies?${query}`)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      details: { parameter: query.split('=')[0] },
    });
  });

  test('a search that would read too much is cut, and says so', async () => {
    const { headers, uids } = await get('/studies?PatientSex=F', { limits: { searchRecords: 2 } });
    expect(uids).toEqual([]);
    expect(headers.warning).toContain('The search was cut');
    expect(headers['x-total-count']).toBeUndefined();
  });

  test('at most searchMaxResults are returned', async () => {
    expect((await get('/studies?limit=100', { limits: { searchMaxResults: 3 } })).uids).toHaveLength(3);
    // what clients send that want all there is: the greatest integers of their languages
    for (const limit of ['2147483647', '9223372036854775807'])
      expect((await get(`/studies?limit=${limit}`, { limits: { searchMaxResults: 3 } })).uids).toHaveLength(3);
  });
});

describe('series', () => {
  test('of a study, by SeriesNumber', async () => {
    const { uids, results, headers } = await get('/studies/1.1/series?includefield=StudyDescription');
    expect(uids).toEqual(['1.1.2', '1.1.10']);
    expect(headers['x-total-count']).toBe('2');
    expect(results[1]).toMatchObject({
      '00080060': { Value: ['CT'] },
      '0008103E': { Value: ['Lung'] },
      '00081030': { Value: ['CT Chest'] },
      '00201209': { Value: [3] },
      '00081190': { Value: [`${ROOT}/studies/1.1/series/1.1.10`] },
    });
    expect(results[1]?.['00100010']).toBeUndefined();
  });

  test.each([
    ['/studies/1.1/series?Modality=SR', ['1.1.2']],
    ['/studies/1.1/series?SeriesDescription=L*', ['1.1.10']],
    ['/studies/1.1/series?00400275.00400009=SPS7', ['1.1.2']],
    ['/studies/1.1/series?PatientID=P2', []],
    ['/studies/9.9/series', []],
    ['/series?SeriesInstanceUID=1.2.1', ['1.2.1']],
    ['/series?Modality=CT', ['1.3.1', '1.1.10']],
    ['/series?PatientID=P1&orderby=Modality', ['1.1.10', '1.2.1', '1.1.2']],
    ['/series?limit=2&offset=1', ['1.2.1', '1.1.2']],
  ])('%s', async (url, expected) => {
    expect((await get(url)).uids).toEqual(expected);
  });

  test('of all studies carry their study', async () => {
    const { results } = await get('/series?SeriesInstanceUID=1.3.1');
    expect(results[0]).toMatchObject({
      '00100020': { Value: ['P2'] },
      '0020000D': { Value: ['1.3'] },
      '00080060': { Value: ['CT'] },
    });
  });
});

describe('instances', () => {
  test('of a series, by InstanceNumber', async () => {
    const { uids, results } = await get('/studies/1.1/series/1.1.10/instances');
    expect(uids).toEqual(['1.1.10.3', '1.1.10.1', '1.1.10.2']);
    expect(results[0]).toMatchObject({
      '00080016': { Value: [CT] },
      '00280010': { Value: [512] },
      '00081190': { Value: [`${ROOT}/studies/1.1/series/1.1.10/instances/1.1.10.3`] },
    });
    expect(results[0]?.['00080060']).toBeUndefined();
  });

  test.each([
    ['/studies/1.1/series/1.1.10/instances?limit=1&offset=1', ['1.1.10.1']],
    ['/studies/1.1/series/1.1.10/instances?InstanceNumber=10', ['1.1.10.2']],
    ['/studies/1.1/series/1.1.10/instances?orderby=-InstanceNumber', ['1.1.10.2', '1.1.10.1', '1.1.10.3']],
    ['/studies/1.1/instances', ['1.1.2.1', '1.1.10.3', '1.1.10.1', '1.1.10.2']],
    ['/studies/1.1/instances?Modality=SR', ['1.1.2.1']],
    ['/instances?SOPInstanceUID=1.3.1.1', ['1.3.1.1']],
    ['/instances?SOPInstanceUID=1.3.1.1,1.1.10.2', ['1.3.1.1', '1.1.10.2']],
    ['/studies/1.1/instances?SOPInstanceUID=1.3.1.1', []],
    ['/instances?PatientID=P2', ['1.3.1.1']],
    ['/studies/1.1/series/1.1.10/instances?KVP=120&limit=1', ['1.1.10.3']],
    ['/studies/1.1/series/1.1.10/instances?KVP=100', []],
  ])('%s', async (url, expected) => {
    expect((await get(url)).uids).toEqual(expected);
  });

  test('carry the levels that the path leaves open', async () => {
    expect((await get('/studies/1.1/instances?limit=1')).results[0]).toMatchObject({ '00080060': { Value: ['SR'] } });
    expect((await get('/instances?SOPInstanceUID=1.3.1.1')).results[0]).toMatchObject({
      '00080060': { Value: ['CT'] },
      '00100020': { Value: ['P2'] },
    });
  });

  test('tell everything when asked for all, with references that resolve', async () => {
    const { results } = await get('/studies/1.1/series/1.1.10/instances?includefield=all&limit=1');
    expect(results[0]).toMatchObject({
      '00180060': { Value: ['120'] },
      '00420011': { BulkDataURI: `${ROOT}/studies/x/bulk` },
    });
  });
});

describe('content negotiation', () => {
  test('DICOM XML comes as one part for each result', async () => {
    const { headers, body } = await get('/studies?PatientID=P1', {
      accept: 'multipart/related; type="application/dicom+xml"',
    });
    expect(headers['content-type']).toMatch(/^multipart\/related; type="application\/dicom\+xml"/);
    expect(body.match(/<NativeDicomModel/g)).toHaveLength(2);
    expect(body).toContain('keyword="PatientName"');
  });

  test.each(['application/json', '*/*', 'multipart/related; type="application/octet-stream"; transfer-syntax=*'])(
    '%s is answered with JSON',
    async (accept) => {
      expect((await get('/studies', { accept })).results).toHaveLength(4);
    },
  );

  test('what cannot be had is refused', async () => {
    await expect(get('/studies', { accept: 'text/html' })).rejects.toMatchObject({ code: 'NOT_ACCEPTABLE' });
  });
});

test('postings that a crash left behind are not seen', async () => {
  const lost = { partition: 'main|x|mod|US', sort: '20240101|000000|1.99' };
  await index.write([{ kind: 'put', key: lost, item: {} }]);
  expect((await get('/studies?ModalitiesInStudy=US%5CXX')).uids).toEqual([]);
});
