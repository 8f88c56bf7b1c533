import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { first, getInstance, getJson, getParts, instanceUrl, type JsonDataSet, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';

/** Orthanc hands answers on in a shape of its own: tags in either case, single values. */
type OrthancMatch = Record<string, { Value: unknown }>;
const matchedValue = (match: OrthancMatch, tag: string): unknown =>
  Object.entries(match).find(([key]) => key.replace(',', '').toLowerCase() === tag)?.[1].Value;

/** Orthanc 1.10 gives numbers of text VRs as the strings they were. */
const NUMBERS_AS_TEXT = new Set(['DS', 'IS']);
const comparable = (attribute: { vr: string; Value?: unknown[] } | undefined): unknown[] =>
  (attribute?.Value ?? []).map((value) => (NUMBERS_AS_TEXT.has(attribute!.vr) ? Number(value) : value));

describe.each<OrthancVersion>(['1.12', '1.10'])('Orthanc %s as a DICOMweb client of Nephos', (version) => {
  let nephos: Nephos;
  let orthanc: Orthanc;
  let dir: string;
  const study = ctStudy(4200 + Number(version.slice(2)), 12);
  const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));
  const idOf = (index: number) => ({ ...study, SOPInstanceUID: study.slices[index]!.SOPInstanceUID });

  const ask = async (path: string, body: unknown): Promise<Response> => {
    const response = await fetch(`${orthanc.origin}/dicom-web/servers/nephos/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok)
      throw new Error(`Orthanc answered ${response.status} to ${path}: ${(await response.text()).slice(0, 500)}`);
    return response;
  };
  const orthancInstances = async (): Promise<string[]> =>
    (await fetch(`${orthanc.origin}/instances`)).json() as Promise<string[]>;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'nephos-orthanc-'));
    nephos = await startNephos();
    const ports = { httpPort: await freePort(), dicomPort: await freePort() };
    orthanc = await startOrthanc({ version, ...ports, dir, servers: { nephos: nephos.root } });
  });
  afterAll(async () => {
    await orthanc?.stop();
    await nephos?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test('it sends a study by STOW, and Nephos keeps the bytes that Orthanc had received', async () => {
    for (const file of files) {
      const response = await fetch(`${orthanc.origin}/instances`, { method: 'POST', body: file });
      expect(response.status).toBe(200);
    }
    await ask('stow', { Resources: await orthancInstances(), Synchronous: true });
    const found = await getJson(`${nephos.root}/studies/${study.StudyInstanceUID}/instances`);
    expect(found.map((item) => first(item, '00080018')).sort()).toEqual(
      study.slices.map((slice) => slice.SOPInstanceUID).sort(),
    );
    for (let i = 0; i < files.length; i++)
      expect((await getInstance(nephos.root, idOf(i))).equals(files[i]!)).toBe(true);
  });

  test('sending the same study again changes nothing', async () => {
    await ask('stow', { Resources: await orthancInstances(), Synchronous: true });
    const [listed] = await getJson(
      `${nephos.root}/studies?StudyInstanceUID=${study.StudyInstanceUID}&includefield=00201208`,
    );
    expect(first(listed, '00201208')).toBe(study.slices.length);
  });

  test('it finds the study, its series and instances by QIDO', async () => {
    const qido = async (uri: string, args: Record<string, string>): Promise<OrthancMatch[]> =>
      (await ask('qido', { Uri: uri, Arguments: args })).json() as Promise<OrthancMatch[]>;
    const studies = await qido('/studies', { '00100020': study.PatientID });
    expect(studies.map((item) => matchedValue(item, '0020000d'))).toEqual([study.StudyInstanceUID]);
    expect(await qido('/studies', { '00100020': 'NOBODY' })).toEqual([]);
    const series = await qido(`/studies/${study.StudyInstanceUID}/series`, {});
    expect(series.map((item) => matchedValue(item, '0020000e'))).toEqual([study.SeriesInstanceUID]);
    expect(await qido(`/studies/${study.StudyInstanceUID}/instances`, { '00080060': 'CT' })).toHaveLength(
      study.slices.length,
    );
  });

  test('it retrieves the study back by WADO-RS and has the same files as before', async () => {
    const ids = await orthancInstances();
    for (const id of ids) await fetch(`${orthanc.origin}/instances/${id}`, { method: 'DELETE' });
    expect(await orthancInstances()).toEqual([]);
    await ask('retrieve', { Resources: [{ Study: study.StudyInstanceUID }], Synchronous: true });
    expect((await orthancInstances()).sort()).toEqual(ids.sort());
    const bySize = (a: Buffer, b: Buffer): number => Buffer.compare(a, b);
    const returned = await Promise.all(
      ids.map(async (id) => Buffer.from(await (await fetch(`${orthanc.origin}/instances/${id}/file`)).arrayBuffer())),
    );
    expect(returned.sort(bySize).every((file, i) => file.equals([...files].sort(bySize)[i]!))).toBe(true);
  });

  test('it retrieves one series and one instance', async () => {
    for (const id of await orthancInstances()) await fetch(`${orthanc.origin}/instances/${id}`, { method: 'DELETE' });
    const { StudyInstanceUID: Study, SeriesInstanceUID: Series } = study;
    await ask('retrieve', {
      Resources: [{ Study, Series, Instance: study.slices[3]!.SOPInstanceUID }],
      Synchronous: true,
    });
    expect(await orthancInstances()).toHaveLength(1);
    await ask('retrieve', { Resources: [{ Study, Series }], Synchronous: true });
    expect(await orthancInstances()).toHaveLength(study.slices.length);
  });

  test('both describe the instances alike: every attribute that Orthanc gives has the same value at Nephos', async () => {
    const path = `studies/${study.StudyInstanceUID}/series/${study.SeriesInstanceUID}/metadata`;
    const [ours, theirs] = [await getJson(`${nephos.root}/${path}`), await getJson(`${orthanc.root}/${path}`)];
    const bySOP = (items: JsonDataSet[]): Map<unknown, JsonDataSet> =>
      new Map(items.map((item) => [first(item, '00080018'), item]));
    const own = bySOP(ours);
    expect(ours).toHaveLength(study.slices.length);
    for (const [uid, item] of bySOP(theirs)) {
      for (const [tag, attribute] of Object.entries(item)) {
        // JSON is UTF-8 (PS3.18 F.2); Orthanc tells the character set that the object had.
        if (tag === '00080005') continue;
        // Where bulk data lies is each server's own; Orthanc leaves the value of private elements out or encodes them as it likes.
        if (attribute.BulkDataURI !== undefined || attribute.vr === 'UN' || attribute.vr === 'SQ') continue;
        expect(comparable(own.get(uid)?.[tag]), `${tag} of ${uid}`).toEqual(comparable(attribute));
      }
    }
  });

  test.each([
    ['explicit big endian', '1.2.840.10008.1.2.2'],
    ['deflated', '1.2.840.10008.1.2.1.99'],
  ])('an object that Nephos writes as %s holds the same for Orthanc', async (_name, transferSyntaxUID) => {
    const describe = async (file: Buffer): Promise<unknown[]> => {
      for (const id of await orthancInstances()) await fetch(`${orthanc.origin}/instances/${id}`, { method: 'DELETE' });
      const posted = await fetch(`${orthanc.origin}/instances`, { method: 'POST', body: new Uint8Array(file) });
      expect(posted.status).toBe(200);
      const { ID } = (await posted.json()) as { ID: string };
      const of = async (path: string) => fetch(`${orthanc.origin}/instances/${ID}/${path}`);
      const picture = Buffer.from(await (await of('image-uint16')).arrayBuffer());
      return [await (await of('tags')).json(), picture.toString('base64')];
    };
    const accept = `multipart/related; type="application/dicom"; transfer-syntax=${transferSyntaxUID}`;
    const [written] = await getParts(instanceUrl(nephos.root, idOf(0)), accept);
    expect(await describe(written!)).toEqual(await describe(files[0]!));
    for (const file of files) await fetch(`${orthanc.origin}/instances`, { method: 'POST', body: file });
  });

  test('a study that Nephos alone has reaches Orthanc through a query and a retrieve', async () => {
    const other = ctStudy(4300 + Number(version.slice(2)), 3);
    await stow(
      nephos.root,
      other.slices.map(({ header, pixels }) => Buffer.concat([header, pixels])),
    );
    await ask('retrieve', { Resources: [{ Study: other.StudyInstanceUID }], Synchronous: true });
    const inOrthanc = await getJson(
      `${orthanc.root}/studies?StudyInstanceUID=${other.StudyInstanceUID}&includefield=00201208`,
    );
    expect(inOrthanc).toHaveLength(1);
  });
});
