import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { seeded } from '#test/cloud/helpers/faults.ts';
import { type BuilderDataSet, buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { deployed } from './deployed.ts';

const SERIES = `/studies/${uid(1)}/series/${uid(2)}`;
const FIRST = { NEPHOS_IMAGING_METADATA: 'health-imaging' };
/** Every text is too long for the index, and stands in a blob of its own. */
const IN_BLOBS = { NEPHOS_LIMIT_METADATA_IN_INDEX_BYTES: '1' };
const THROTTLED = Array.from({ length: 3 }, (): [string, number] => ['ThrottlingException', 429]);

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** A deployment with a CT series of `count` slices that has been placed. What comes from HealthImaging is told by its SeriesDescription. */
async function clinic(
  settings: Parameters<typeof deployed>[0],
  count = 3,
  limits: Parameters<typeof deployed>[1] = {},
) {
  const made = await deployed(settings, limits);
  open.push(made.close);
  const { fake, archive, get, workOff } = made;
  const add = async (n: number, more: BuilderDataSet = {}, options: Parameters<typeof buildDicom>[1] = {}) => {
    const bytes = buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, ...more }, options);
    return (await store(archive.services, bytes)).kind;
  };
  for (let n = 1; n <= count; n++) expect(await add(n)).toBe('stored');
  await workOff();
  fake.rewrite = (json) => json.replaceAll('Axial 1 mm', 'of HealthImaging');
  const calls = () => fake.calls.get('GetImageSetMetadata') ?? 0;
  const before = calls();
  /** Instance numbers of a document, and where each was from. */
  const told = async (path = `${SERIES}/metadata`): Promise<string[]> => {
    const { status, body } = await get(path);
    expect(status, body.toString()).toBe(200);
    return (JSON.parse(body.toString()) as DataSet[]).map(
      (one) =>
        `${one['00200013']?.Value?.[0]} ${one['0008103E']?.Value?.[0] === 'of HealthImaging' ? 'placed' : 'own'}`,
    );
  };
  return { ...made, add, told, calls: () => calls() - before };
}

describe('with metadata from HealthImaging first', () => {
  test.each([
    ['series', `${SERIES}/metadata`, ['1 placed', '2 placed', '3 placed']],
    ['study', `/studies/${uid(1)}/metadata`, ['1 placed', '2 placed', '3 placed']],
    ['instance', `${SERIES}/instances/${uid(102)}/metadata`, ['2 placed']],
  ])('a %s that was placed is told by it, with one call', async (_, path, expected) => {
    const { told, calls } = await clinic(FIRST);
    expect(await told(path)).toStrictEqual(expected);
    expect(calls()).toBe(1);
  });

  test('as DICOM XML, too', async () => {
    const { get, calls } = await clinic(FIRST);
    const { status, body } = await get(`${SERIES}/metadata`, {
      accept: 'multipart/related; type="application/dicom+xml"',
    });
    expect(status).toBe(200);
    expect(body.toString().match(/of HealthImaging/g)).toHaveLength(3);
    expect(calls()).toBe(1);
  });

  test('compressed, where the client takes that', async () => {
    const { get, calls } = await clinic(FIRST);
    const { headers, body } = await get(`${SERIES}/metadata`, { 'accept-encoding': 'gzip' });
    expect(headers['content-encoding']).toBe('gzip');
    expect(
      gunzipSync(body)
        .toString()
        .match(/of HealthImaging/g),
    ).toHaveLength(3);
    const again = await get(`${SERIES}/metadata`, { 'accept-encoding': 'gzip' });
    expect(again.body).toStrictEqual(body);
    expect(calls()).toBe(1);
  });

  test('one instance after another is one call, and so is a document that is asked for again', async () => {
    const { told, calls } = await clinic(FIRST);
    for (const n of [1, 2, 3])
      expect(await told(`${SERIES}/instances/${uid(100 + n)}/metadata`)).toStrictEqual([`${n} placed`]);
    for (let i = 0; i < 3; i++) await told();
    expect(calls()).toBe(1);
  });

  test('documents are like each other, not the same to the byte: their validator is weak, and holds', async () => {
    const { get } = await clinic(FIRST);
    const { headers } = await get(`${SERIES}/metadata`);
    expect(headers.etag).toMatch(/^W\//);
    expect((await get(`${SERIES}/metadata`, { 'if-none-match': String(headers.etag) })).status).toBe(304);
  });

  test('a series costs a look at what was placed and a walk over its instances: two calls of the index beside its own record', async () => {
    const { told, memory } = await clinic(FIRST);
    const query = vi.spyOn(memory.index, 'query');
    const getMany = vi.spyOn(memory.index, 'getMany');
    await told();
    const partitions = query.mock.calls.map(([{ partition }]) => partition.split('|')[1]);
    expect(partitions.filter((kind) => kind === 'placedsets' || kind === 'instances')).toStrictEqual([
      'placedsets',
      'instances',
    ]);
    expect(
      getMany.mock.calls.flatMap(([keys]) => keys).filter(({ partition }) => partition.includes('|metadata|')),
    ).toStrictEqual([]);
    expect(partitions.length + getMany.mock.calls.length).toBeLessThanOrEqual(4);
  });

  test('references to bulk data lead into the archive, and to the same bytes as its own', async () => {
    const { add, workOff, get, told } = await clinic(FIRST, 0);
    const more = {
      ICCProfile: { vr: 'OB', value: Buffer.alloc(3_000, 5) },
      SourceImageSequence: [{}, { ICCProfile: { vr: 'OB', value: Buffer.alloc(1_000, 6) } }],
    };
    await add(1, more);
    await add(2, more, { transferSyntaxUID: JPEG_BASELINE, frames: [Buffer.from([0xff, 0xd8, 0xff, 0xd9])] });
    await workOff();
    expect(await told()).toStrictEqual(['1 placed', '2 placed']);
    const uris = (await get(`${SERIES}/metadata`)).body.toString().matchAll(/"BulkDataURI":"([^"]+)"/g);
    const sizes: number[] = [];
    for (const [, uri] of uris) {
      const path = uri!.slice(uri!.indexOf('/dicomweb') + '/dicomweb'.length);
      const accept = path.includes(`${uid(102)}/bulkdata/7FE00010`)
        ? 'multipart/related; type="image/jpeg"; transfer-syntax=*'
        : 'application/octet-stream';
      const { status, body } = await get(path, { accept });
      expect(status, `${path} ${body}`).toBe(200);
      sizes.push(body.length);
    }
    expect(sizes.slice(0, 3)).toStrictEqual([1_000, 3_000, 32]);
    expect(sizes).toHaveLength(6);
  });

  test('a non-primary image set is read by its id', async () => {
    const made = await clinic(FIRST, 0);
    made.fake.conflicting = true;
    await made.add(1);
    await made.workOff();
    expect([...made.fake.imageSets.values()].map(({ isPrimary }) => isPrimary)).toStrictEqual([false]);
    expect(await made.told()).toStrictEqual(['1 placed']);
  });
});

describe('who is in a series is for the archive to say', () => {
  test('instances that are not placed stand among the others, in their order', async () => {
    const { add, told } = await clinic(FIRST);
    await add(0);
    await add(9);
    expect(await told()).toStrictEqual(['0 own', '1 placed', '2 placed', '3 placed', '9 own']);
  });

  test('nobody is lost or doubled where they are more than one call of the index brings', async () => {
    const made = await clinic(FIRST, 0);
    for (let n = 1; n <= 230; n++) if (n % 7 !== 0) await made.add(n);
    await made.workOff();
    made.fake.rewrite = (json) => json.replaceAll('Axial 1 mm', 'of HealthImaging');
    for (let n = 7; n <= 230; n += 7) await made.add(n);
    const expected = Array.from({ length: 230 }, (_, i) => `${i + 1} ${(i + 1) % 7 === 0 ? 'own' : 'placed'}`);
    expect(await made.told()).toStrictEqual(expected);
  });

  test('what has been removed does not come back', async () => {
    const { archive, told } = await clinic(FIRST);
    const selection = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(102) };
    await moveToTrash(archive.services, TENANT, [selection], { kind: 'rejected', reason: 'test', by: 'test' });
    expect(await told()).toStrictEqual(['1 placed', '3 placed']);
  });

  test('other bytes under the same UID are told by themselves, until they are placed as well', async () => {
    const { add, told, workOff, fake, calls } = await clinic({ ...FIRST, NEPHOS_CONFLICT_POLICY: 'replace' });
    await add(2, { ImageComments: 'corrected' });
    expect(await told(`${SERIES}/instances/${uid(102)}/metadata`)).toStrictEqual(['2 own']);
    const rewrite = fake.rewrite;
    await workOff();
    // Two versions of one image set, and each is told of what it was made of.
    expect([...fake.imageSets.values()].map(({ versions }) => versions.length)).toStrictEqual([2]);
    fake.rewrite = (json) => rewrite(json).replaceAll('corrected', 'corrected there');
    expect(await told()).toStrictEqual(['1 placed', '2 placed', '3 placed']);
    // One at the second import, and one for each version.
    expect(calls()).toBe(3);
  });

  test('what somebody changes in HealthImaging is another version, which nobody here has asked for', async () => {
    const { fake, told } = await clinic(FIRST, 1);
    const [set] = fake.imageSets.values();
    const changed = structuredClone(set!.versions[0]!);
    for (const { metadata } of changed.values()) metadata.instance.InstanceNumber = '77';
    set!.versions.push(changed);
    expect(await told()).toStrictEqual(['1 placed']);
  });
});

const answering = (fake: { rewrite: (json: string) => string }, rewrite: (json: string) => string): void => {
  fake.rewrite = rewrite;
};

describe('the archive tells its own', () => {
  const OWN = ['1 own', '2 own', '3 own'];

  test('while nothing else is asked for', async () => {
    const { told, calls, get } = await clinic({});
    expect(await told()).toStrictEqual(OWN);
    expect(calls()).toBe(0);
    expect((await get(`${SERIES}/metadata`)).headers.etag).toMatch(/^"/);
  });

  test.each<[string, (made: Awaited<ReturnType<typeof clinic>>) => void]>([
    ['is throttled', ({ fake }) => void fake.errors.push(...THROTTLED)],
    ['refuses', ({ fake }) => void fake.errors.push(['AccessDeniedException', 403])],
    ['has deleted the image set', ({ fake }) => fake.imageSets.clear()],
    ['answers something else', ({ fake }) => answering(fake, () => '<html>')],
    ['answers half of it', ({ fake }) => answering(fake, (json) => json.slice(0, json.length / 2))],
    ['answers of no study', ({ fake }) => answering(fake, () => '{}')],
    [
      'answers of another instance',
      ({ fake }) => answering(fake, (json) => json.replaceAll('"SOPClassUID":"1', '"SOPClassUID":"2')),
    ],
    [
      'has an attribute that nobody knows',
      ({ fake }) => answering(fake, (json) => json.replaceAll('"Rows"', '"RowsOfSomething"')),
    ],
    [
      'has a value of another kind',
      ({ fake }) => answering(fake, (json) => json.replaceAll('"Rows":4', '"Rows":"four"')),
    ],
  ])('where HealthImaging %s', async (_, happen) => {
    const made = await clinic(FIRST);
    happen(made);
    expect(await made.told()).toStrictEqual(OWN);
  });

  test.each([1, 2, 3])(
    'while two thirds of all calls fail, or are never answered (%i), for what cannot be had',
    async (seed) => {
      const { add, told, workOff, fake } = await clinic(FIRST, 0);
      const series = Array.from({ length: 12 }, (_, i) => uid(30 + i));
      for (const SeriesInstanceUID of series) await add(Number(SeriesInstanceUID.slice(-2)), { SeriesInstanceUID });
      await workOff();
      fake.rewrite = (json) => json.replaceAll('Axial 1 mm', 'of HealthImaging');
      fake.storm = { rate: 0.66, random: seeded(seed) };
      const sources = new Set<string>();
      for (const SeriesInstanceUID of series) {
        const [one, ...others] = await told(`/studies/${uid(1)}/series/${SeriesInstanceUID}/metadata`);
        expect(others).toStrictEqual([]);
        sources.add(one!.split(' ')[1]!);
      }
      expect([...sources].toSorted()).toStrictEqual(['own', 'placed']);
    },
  );

  test('of the one instance that cannot be told for certain', async () => {
    const { fake, told } = await clinic(FIRST);
    fake.rewrite = (json) =>
      json.replaceAll('Axial 1 mm', 'of HealthImaging').replace('"InstanceNumber":"2 "', '"InstanceNumber":{}');
    expect(await told()).toStrictEqual(['1 placed', '2 own', '3 placed']);
  });

  test('of an instance whose missing UIDs it has derived', async () => {
    const { archive, add, told } = await clinic({ ...FIRST, NEPHOS_MISSING_UIDS: 'derive' }, 0);
    await add(1, { SeriesInstanceUID: undefined });
    const report = await archive.services.placement!.place(TENANT, uid(1));
    for (let i = 0; i < 3; i++) await archive.services.placement!.place(TENANT, uid(1));
    expect(report.state).toBe('placing');
    expect(await told(`/studies/${uid(1)}/metadata`)).toStrictEqual(['1 own']);
  });

  test('where the metadata of an image set are larger than what one request may hold', async () => {
    const { told } = await clinic({ ...FIRST, NEPHOS_LIMIT_PLACED_METADATA_BYTES: '1000' });
    expect(await told()).toStrictEqual(OWN);
  });

  test('where more are asked for a second than the service allows', async () => {
    const { add, told, workOff, memory } = await clinic(FIRST, 3, { metadataPerSecond: 1 });
    for (const n of [11, 12]) await add(n, { SeriesInstanceUID: uid(20 + n) });
    await workOff();
    const of = (n: number) => told(`/studies/${uid(1)}/series/${uid(20 + n)}/metadata`);
    expect([await of(11), await of(12)]).toStrictEqual([['11 placed'], ['12 own']]);
    memory.clock.advance(1_000);
    expect(await told(`${SERIES}/metadata`)).toStrictEqual(['1 placed', '2 placed', '3 placed']);
  });
});

describe('where the archive cannot read its own', () => {
  const PLACED = ['1 placed', '2 placed', '3 placed'];

  test.each(['lie on slow media', 'are gone'])('because they %s, HealthImaging tells them', async (why) => {
    const { memory, told, get } = await clinic(IN_BLOBS);
    expect(await told(`${SERIES}/instances/${uid(101)}/metadata`)).toStrictEqual(['1 own']);
    if (why === 'are gone') for await (const { key } of memory.blobs.list(`${TENANT}/`)) await memory.blobs.delete(key);
    else memory.blobs.archive(`${TENANT}/`);
    expect(await told()).toStrictEqual(PLACED);
    expect(await told(`/studies/${uid(1)}/metadata`)).toStrictEqual(PLACED);
    expect(await told(`${SERIES}/instances/${uid(102)}/metadata`)).toStrictEqual(['2 placed']);
    // In place of our own: nothing that a cache would take for them later.
    expect((await get(`${SERIES}/metadata`)).headers.etag).toBeUndefined();
    expect((await get(`${SERIES}/instances/${uid(102)}/metadata`)).headers.etag).toBeUndefined();
    const xml = await get(`${SERIES}/metadata`, { accept: 'multipart/related; type="application/dicom+xml"' });
    expect([xml.status, xml.headers.etag]).toStrictEqual([200, undefined]);
  });

  test('a document that lies on slow media is made again from the index, and nobody else is asked', async () => {
    const { memory, told, calls } = await clinic({});
    memory.blobs.archive(`${TENANT}/`);
    expect(await told()).toStrictEqual(['1 own', '2 own', '3 own']);
    expect(calls()).toBe(0);
  });

  test('and HealthImaging has not all of them: come again, when they are back', async () => {
    const { add, memory, get } = await clinic(IN_BLOBS);
    await add(9);
    memory.blobs.archive(`${TENANT}/`);
    const { status, headers } = await get(`${SERIES}/metadata`);
    expect([status, headers['retry-after']]).toStrictEqual([503, expect.anything()]);
  });

  test('and HealthImaging cannot either: the answer is that of the archive', async () => {
    const { fake, memory, get } = await clinic(IN_BLOBS);
    memory.blobs.archive(`${TENANT}/`);
    fake.imageSets.clear();
    expect((await get(`${SERIES}/metadata`)).status).toBe(503);
    expect((await get(`${SERIES}/instances/${uid(102)}/metadata`)).status).toBe(503);
    expect((await get(`/studies/${uid(9)}/metadata`)).status).toBe(404);
  });
});
