import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { asPacsError, describeError } from '#core/errors.ts';
import { parseQuery, type Query } from '#core/search/query.ts';
import type { Services } from '#core/services.ts';
import { type Match, rows, type SearchRecords } from '#dimse/services/find.ts';
import { type Matching, TAG } from '#dimse/services/query.ts';
import type { EdgeContext } from '../context.ts';
import { questionsOf } from './keys.ts';
import { isMatch, keyOfRow, mergedMatch, remoteMatch } from './merge.ts';
import { readSideOf } from './read-side.ts';
import { withoutHidden } from './rejected.ts';
import type { UpstreamArchive } from './upstream-archive.ts';

/** rows of which it is looked up at a time what is here */
const LOOKED_UP = 500;

/**
 * C-FIND at the edge: what the archive upstream finds, with what is here merged into it row by row as its pages come, then what only is
 * here. Where the archive does not answer in time, what is here is the answer; where it breaks off, the answer says that it was cut.
 */
export const edgeSearch = (context: EdgeContext): SearchRecords => {
  const { services, log } = context;
  const { archive, knowledge } = readSideOf(context);
  return async function* (tenant, query, { identifier, matching, signal }) {
    const given = new Set<string>();
    try {
      for await (const page of upstreamRows(archive(), query, identifier, matching, signal)) {
        const found = page.flatMap((row) => {
          const key = keyOfRow(query.level, row);
          if (key === undefined || given.has(key) || !isMatch(query, row)) return [];
          given.add(key);
          return [{ key, row }];
        });
        const local = await localMatches(services, tenant, query, found);
        for (const { key, row } of query.level === 'instance' ? await shownHere(context, found) : found) {
          const here = local.get(key);
          if (here === undefined) yield remoteMatch(key, row);
          else {
            const study = textOf(here.element(TAG.StudyInstanceUID));
            yield mergedMatch(query.level, here, row, !(await knowledge.isForwarded(tenant, study)));
          }
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      const { code } = asPacsError(error);
      if (code === 'INTERNAL') throw error;
      log.info('upstream-search-failed', { queryLevel: query.level, ...describeError(error) });
      if (given.size > 0) yield 'cut';
    }
    for await (const match of rows(services, tenant, query)) {
      if (match === 'cut' || !given.has(match.key)) yield match;
    }
  };
};

const shownHere = async <T extends { readonly key: string }>(context: EdgeContext, found: readonly T[]): Promise<T[]> =>
  withoutHidden(
    context,
    found.map((one) => ({ ...one, SOPInstanceUID: one.key })),
  );

async function* upstreamRows(
  archive: UpstreamArchive,
  query: Query,
  identifier: DataSet,
  matching: Matching,
  signal: AbortSignal,
): AsyncGenerator<readonly DataSet[]> {
  if (!archive.isAnswering) return;
  // Servers that know no such parameter may refuse it: it is sent where it changes anything.
  const isFuzzy = query.conditions.study.some(({ key }) => key.kind === 'name' && key.fuzzyWords !== undefined);
  const needed = { ...matching, fuzzy: isFuzzy };
  for (const { path, parameters } of questionsOf(identifier, query.level, needed) ?? []) {
    for await (const page of archive.search(query.level, path, parameters, signal))
      for (let at = 0; at < page.length; at += LOOKED_UP) yield page.slice(at, at + LOOKED_UP);
  }
}

/** What is here of the rows of a page, by key: one search by their UIDs. */
async function localMatches(
  services: Services,
  tenant: string,
  { level }: Query,
  found: readonly { readonly row: DataSet }[],
): Promise<Map<string, Match>> {
  const local = new Map<string, Match>();
  if (found.length === 0) return local;
  const named = new URLSearchParams();
  const tags =
    level === 'study'
      ? [TAG.StudyInstanceUID]
      : level === 'series'
        ? [TAG.StudyInstanceUID, TAG.SeriesInstanceUID]
        : [TAG.SOPInstanceUID];
  for (const tag of tags) named.set(tag, [...new Set(found.map(({ row }) => textOf(row[tag])))].join('\\'));
  const query = parseQuery(named, { level }, services.limits);
  for await (const match of rows(services, tenant, query)) if (match !== 'cut') local.set(match.key, match);
  return local;
}
