import { afterEach, expect, test, vi } from 'vitest';
import { type AuditQuery, EXPORT_PAGES, exportAudit, joined, toParameters } from '../../web/src/api/audit.ts';
import { hrefOf, isFiltered, readQuery } from '../../web/src/pages/audit-query.ts';

const ALL: AuditQuery = { from: '', to: '', event: '', subject: '', study: '', outcome: '', oldestFirst: false };

afterEach(() => void vi.unstubAllGlobals());

test('all of the trail is asked for, the newest first, unless it is narrowed down', () => {
  expect(Object.fromEntries(toParameters(ALL))).toEqual({ order: 'desc', limit: '100' });
  const from = '2024-05-06T07:08';
  const query = { ...ALL, from, event: 'Login', subject: 'dr-x', study: '1.2', outcome: '4', oldestFirst: true };
  expect(Object.fromEntries(toParameters(query, 'next', 7))).toEqual({
    order: 'asc',
    limit: '7',
    from: new Date(2024, 4, 6, 7, 8).toISOString(),
    event: 'Login',
    subject: 'dr-x',
    study: '1.2',
    outcome: '4',
    after: 'next',
  });
});

test('the address keeps the filters, and nothing that is none', () => {
  const query = { ...ALL, from: '2024-05-06T07:08', event: 'Login', subject: 'dr-x', oldestFirst: true };
  expect(readQuery(new URLSearchParams(hrefOf(query).split('?')[1]))).toEqual(query);
  expect(hrefOf(ALL)).toBe('#/audit');
  expect(readQuery(new URLSearchParams('from=soon&event=Coffee&outcome=5&order=up'))).toEqual(ALL);
  expect([isFiltered(ALL), isFiltered({ ...ALL, oldestFirst: true }), isFiltered(query)]).toEqual([false, false, true]);
});

test('pages are put together as one document of their format', () => {
  expect(joined(['<a/>\n', '<b/>\n'], 'dicom')).toBe('<a/>\n<b/>\n');
  expect(JSON.parse(joined(['{"entries":[1]}', '{"entries":[2]}'], 'json'))).toEqual({ entries: [1, 2] });
  const bundle = (entry: number) => JSON.stringify({ resourceType: 'Bundle', type: 'collection', entry: [entry] });
  expect(JSON.parse(joined([bundle(1), bundle(2)], 'fhir'))).toEqual({
    resourceType: 'Bundle',
    type: 'collection',
    entry: [1, 2],
  });
});

test.each([
  [3, false],
  [EXPORT_PAGES, false],
  [EXPORT_PAGES + 1, true],
])('an export of a trail of %i pages follows them to the end, or says that it is cut: %s', async (pages, isCut) => {
  let asked = 0;
  vi.stubGlobal('fetch', async (path: string) => {
    expect(new URL(path, 'http://x').searchParams.get('after')).toBe(asked === 0 ? null : String(asked));
    asked++;
    return new Response(`<m n="${asked}"/>\n`, {
      headers: { 'content-type': 'application/xml-seq', 'x-next': String(asked), 'x-more': String(asked < pages) },
    });
  });
  const { signal } = new AbortController();
  const made = await exportAudit(ALL, 'dicom', () => {}, signal);
  expect(made.isCut).toBe(isCut);
  expect((await made.file.text()).match(/<m /g)).toHaveLength(Math.min(pages, EXPORT_PAGES));
});
