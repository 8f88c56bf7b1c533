import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { cFind, cStore, eventually, forwarded, key, putUpstream, type Site, startSite } from './read-site.ts';

let site: Site;
const slice = (study: number, n: number, more: object = {}): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(study),
    SeriesInstanceUID: uid(study * 10),
    SOPInstanceUID: uid(study * 1000 + n),
    InstanceNumber: n,
    PatientID: `P-${study}`,
    PatientName: `Doe^Study${study}`,
    ...more,
  });
const ASKED = {
  '00080005': key('CS', 'ISO_IR 100'),
  '00080020': key('DA'),
  '00080054': key('AE'),
  '00080056': key('CS'),
  '00080061': key('CS'),
  '00081030': key('LO'),
  '00100010': key('PN'),
  '00100020': key('LO'),
  '0020000D': key('UI'),
  '00201208': key('IS'),
};
const text = (match: object, tag: string): unknown => {
  const [value] = (match as Record<string, { Value?: unknown[] }>)[tag]?.Value ?? [];
  return typeof value === 'object' && value !== null ? (value as { Alphabetic: string }).Alphabetic : value;
};
const byStudy = (matches: object[]) => new Map(matches.map((match) => [text(match, '0020000D'), match]));

beforeAll(async () => {
  site = await startSite();
  // 501: only upstream. 502: forwarded, then corrected and added to upstream. 503: only here, not forwarded yet. 504: in both, more here.
  await putUpstream(site, [
    slice(501, 1),
    slice(501, 2),
    slice(501, 3, { Modality: 'SR', SeriesInstanceUID: uid(5019) }),
  ]);
  await cStore(site, [slice(502, 1), slice(502, 2)]);
  await forwarded(site, uid(502));
  await putUpstream(
    site,
    [1, 2, 3].map((n) => slice(502, n, { StudyDescription: 'corrected' })),
  );
  site.upstream.refusesStores = true;
  await cStore(site, [slice(503, 1)]);
  await putUpstream(site, [slice(504, 1, { StudyDescription: 'older' })]);
  await cStore(site, [slice(504, 1, { StudyDescription: 'newer' }), slice(504, 2, { StudyDescription: 'newer' })]);
});
afterAll(() => site?.close());

describe('C-FIND at the edge, while the archive answers', () => {
  test('finds what is here and what is upstream, each study once', async () => {
    const { status, matches } = await cFind(site, 'STUDY', ASKED);
    expect(status).toBe(0);
    expect(matches).toHaveLength(4);
    const found = byStudy(matches);
    expect(text(found.get(uid(501))!, '00080056')).toBe('NEARLINE');
    expect(text(found.get(uid(503))!, '00080056')).toBe('ONLINE');
    // One of its three instances is not here.
    expect(text(found.get(uid(502))!, '00080056')).toBe('NEARLINE');
    expect(text(found.get(uid(504))!, '00080056')).toBe('ONLINE');
    for (const match of matches) expect(text(match, '00080054')).toBe('EDGE');
  });

  test('counts are the larger ones, modalities are united', async () => {
    const found = byStudy((await cFind(site, 'STUDY', ASKED)).matches);
    expect([501, 502, 503, 504].map((n) => text(found.get(uid(n))!, '00201208'))).toEqual([3, 3, 1, 2]);
    expect(found.get(uid(501))!).toMatchObject({ '00080061': { Value: ['CT', 'SR'] } });
  });

  test('what is here counts while it has not been forwarded, then what upstream says', async () => {
    const found = byStudy((await cFind(site, 'STUDY', ASKED)).matches);
    expect(text(found.get(uid(502))!, '00081030')).toBe('corrected');
    expect(text(found.get(uid(504))!, '00081030')).toBe('newer');
  });

  test('keys are matched on both sides', async () => {
    const byName = await cFind(site, 'STUDY', { ...ASKED, '00100010': key('PN', 'doe^study50?') });
    expect(byName.matches).toHaveLength(4);
    const one = await cFind(site, 'STUDY', { ...ASKED, '00100020': key('LO', 'P-501') });
    expect(one.matches.map((match) => text(match, '0020000D'))).toEqual([uid(501)]);
    const none = await cFind(site, 'STUDY', { ...ASKED, '00080020': key('DA', '19990101-20000101') });
    expect(none).toMatchObject({ status: 0, matches: [] });
    const list = await cFind(site, 'STUDY', { ...ASKED, '0020000D': key('UI', uid(501), uid(503)) });
    expect(new Set(list.matches.map((match) => text(match, '0020000D')))).toEqual(new Set([uid(501), uid(503)]));
    const modality = await cFind(site, 'STUDY', { ...ASKED, '00080061': key('CS', 'SR') });
    expect(modality.matches.map((match) => text(match, '0020000D'))).toEqual([uid(501)]);
  });

  test('patients are those of both, counted over both', async () => {
    const { status, matches } = await cFind(site, 'PATIENT', {
      '00100020': key('LO'),
      '00201200': key('IS'),
      '00201204': key('IS'),
    });
    expect(status).toBe(0);
    expect(matches).toHaveLength(4);
    expect(matches.find((match) => text(match, '00100020') === 'P-501')).toMatchObject({
      '00201200': { Value: [1] },
      '00201204': { Value: [3] },
    });
  });

  test('series and instances too, by path and relational', async () => {
    const series = await cFind(site, 'SERIES', {
      '0020000D': key('UI', uid(501)),
      '0020000E': key('UI'),
      '00080060': key('CS'),
      '00201209': key('IS'),
    });
    expect(series.matches.map((match) => [text(match, '0020000E'), text(match, '00201209')])).toEqual(
      expect.arrayContaining([
        [uid(5010), 2],
        [uid(5019), 1],
      ]),
    );
    expect(series.matches).toHaveLength(2);
    const images = await cFind(site, 'IMAGE', {
      '0020000D': key('UI', uid(504)),
      '0020000E': key('UI', uid(5040)),
      '00080018': key('UI'),
      '00200013': key('IS'),
    });
    expect(images.matches.map((match) => text(match, '00080018')).sort()).toEqual([uid(504001), uid(504002)]);
    const relational = await cFind(site, 'IMAGE', { '00080018': key('UI', uid(501002)), '0020000D': key('UI') });
    expect(relational.matches.map((match) => text(match, '0020000D'))).toEqual([uid(501)]);
  });

  test('many pages upstream come whole, and can be cancelled', async () => {
    const many = Array.from({ length: 1_250 }, (_, n) => slice(505, n + 1));
    await putUpstream(site, many);
    const all = await cFind(site, 'IMAGE', { '0020000D': key('UI', uid(505)), '00080018': key('UI') });
    expect(new Set(all.matches.map((match) => text(match, '00080018'))).size).toBe(1_250);
    expect(all.matches).toHaveLength(1_250);
    // The first page comes, and no other before it is cancelled.
    const { promise: cancelled, resolve: goOn } = Promise.withResolvers<void>();
    site.upstream.before = ({ query }) => (query.has('offset') ? cancelled : undefined);
    const abort = new AbortController();
    const cut = await cFind(
      site,
      'IMAGE',
      { '0020000D': key('UI', uid(505)), '00080018': key('UI') },
      { cancel: abort.signal, onMatch: () => abort.abort() },
    );
    goOn();
    site.upstream.before = undefined;
    expect(cut.status).toBe(0xfe00);
    expect(cut.matches.length).toBeLessThan(1_250);
  });
});

describe('C-FIND at the edge, while the archive does not answer', () => {
  test('what is here is the answer: the line is cut', async () => {
    await site.line.set('refused');
    const { status, matches } = await cFind(site, 'STUDY', ASKED);
    expect(status).toBe(0);
    expect(new Set(matches.map((match) => text(match, '0020000D')))).toEqual(new Set([uid(502), uid(503), uid(504)]));
    await site.line.set('up');
  });

  test('an archive that takes the question and says nothing is waited for once, not by everybody', async () => {
    await site.line.set('silent');
    // As if all of them asked at once: for how long it is left alone is not what this is about.
    const at = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(at);
    for (let i = 0; i < 8; i++) expect((await cFind(site, 'STUDY', ASKED)).matches).toHaveLength(3);
    vi.restoreAllMocks();
    expect(site.line.unanswered).toHaveLength(1);
    await site.line.set('up');
  });

  test('when it answers again its studies are found again', async () => {
    await eventually('all are found', async () => (await cFind(site, 'STUDY', ASKED)).matches.length === 5);
  });
});
