import { dataSetToJson } from '#core/dicom/json.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml } from '#core/dicom/xml.ts';
import type { Limits } from '#core/limits.ts';
import { newReadMeter, type ReadMeter } from '#core/ports/index-table.ts';
import { onRoot } from '#core/retrieve/metadata.ts';
import { type InstanceRow, searchInstanceRecords } from '#core/search/instances.ts';
import { INSTANCE_ROWS, SERIES_ROWS, STUDY_ROWS, withPatientCounts } from '#core/search/patient-counts.ts';
import { Projection } from '#core/search/project.ts';
import { parseQuery, type Query, type QueryTarget } from '#core/search/query.ts';
import type { Results } from '#core/search/results.ts';
import { type SeriesRow, searchSeriesRecords } from '#core/search/series.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import type { StudyRow } from '#core/search/study-list.ts';
import { widenedParameters, withoutZone, zoneOfParameters } from '#core/search/timezone.ts';
import type { Services } from '#core/services.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { searchInZone } from './search-in-zone.ts';

const JSON_TYPE = 'application/dicom+json';
const XML_TYPE = 'application/dicom+xml';
const OFFERS: readonly Offer[] = [
  { type: JSON_TYPE, packaging: 'single', aliases: ['application/json'] },
  { type: XML_TYPE, packaging: 'multipart', aliases: ['application/xml', 'text/xml'] },
];
/** OHIF may send the Accept header of its frame requests with everything it asks (OHIF/Viewers#5442). */
const FRAMES_TYPE = 'application/octet-stream';

/** How the records of a level are found, and written. */
interface LevelSearch<R> {
  readonly records: (services: Services, tenant: string, query: Query, meter: ReadMeter) => Promise<Results<R>>;
  readonly ofStudy: Parameters<typeof withPatientCounts<R>>[4];
  readonly dataSet: (projection: Projection, row: R) => DataSet;
  /** the DICOM JSON of a row, where that is there already */
  readonly json?: (projection: Projection, row: R) => string;
}

const STUDIES: LevelSearch<StudyRow> = {
  records: searchStudyRecords,
  ofStudy: STUDY_ROWS,
  dataSet: (projection, row) => projection.study(row),
  json: (projection, row) => projection.studyJson(row),
};
const SERIES: LevelSearch<SeriesRow> = {
  records: searchSeriesRecords,
  ofStudy: SERIES_ROWS,
  dataSet: (projection, row) => projection.series(row),
};
const INSTANCES: LevelSearch<InstanceRow> = {
  records: searchInstanceRecords,
  ofStudy: INSTANCE_ROWS,
  dataSet: (projection, row) => projection.instance(row),
};

/** GET studies (QIDO-RS, PS3.18 §10.6). @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchStudies: Handler = (context) => search(context, { level: 'study' }, STUDIES);

/** GET series, studies/{study}/series. @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchSeries: Handler = (context) =>
  search(context, { level: 'series', StudyInstanceUID: context.params.study }, SERIES);

/** GET instances, studies/{study}/instances, studies/{study}/series/{series}/instances. @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchInstances: Handler = (context) => {
  const { study, series } = context.params;
  return search(context, { level: 'instance', StudyInstanceUID: study, SeriesInstanceUID: series }, INSTANCES);
};

async function search<R>(context: Context, target: QueryTarget, level: LevelSearch<R>): Promise<HttpResponse> {
  const { request, services, root } = context;
  const { limits } = services;
  const zoneMinutes = zoneOfParameters(request.query);
  const query = parseQuery(zoneMinutes === undefined ? request.query : withoutZone(request.query), target, limits);
  const accepted = negotiate(request, OFFERS, { tolerate: FRAMES_TYPE });
  const meter = newReadMeter();
  if (zoneMinutes !== undefined) {
    const wide = parseQuery(widenedParameters(request.query, zoneMinutes), target, limits);
    const projection = new Projection(wide, root);
    const results = await searchInZone({ query, wide, zoneMinutes }, async (page) => {
      const found = await pageOf(context, page, level, meter);
      return { ...found, rows: found.rows.map((row) => level.dataSet(projection, row)) };
    });
    return respond(context, query, results, accepted, results.rows);
  }
  const results = await pageOf(context, query, level, meter);
  const projection = new Projection(query, root);
  if (level.json === undefined || accepted.offer.type === XML_TYPE) {
    const dataSets = results.rows.map((row) => level.dataSet(projection, row));
    return respond(context, query, results, accepted, dataSets);
  }
  let body = '[';
  for (const row of results.rows) body += (body.length > 1 ? ',' : '') + level.json(projection, row);
  return { status: 200, headers: headersOf(context, query, results, accepted.type), body: `${body}]` };
}

/** One page; the pages of a request together read no more than a request may. */
async function pageOf<R>(
  { services, principal }: Context,
  query: Query,
  level: LevelSearch<R>,
  meter: ReadMeter,
): Promise<Results<R>> {
  const searchRecords = services.limits.searchRecords - meter.records;
  const left = meter.records === 0 ? services : { ...services, limits: { ...services.limits, searchRecords } };
  const found = await level.records(left, principal.tenant, query, meter);
  return withPatientCounts(services, principal.tenant, query, found, level.ofStudy, meter);
}

function respond(
  context: Context,
  query: Query,
  results: Results<unknown>,
  accepted: { readonly offer: Offer; readonly type: string },
  dataSets: readonly DataSet[],
): HttpResponse {
  if (accepted.offer.type === XML_TYPE) return xmlResponse(context, query, results, dataSets);
  // Written tag by tag: JSON.stringify puts names that look like integers (54000100) before all others (PS3.18 F.2.2).
  const body = onRoot(`[${dataSets.map((dataSet) => dataSetToJson(dataSet, noBulk)).join(',')}]`, context.root);
  return { status: 200, headers: headersOf(context, query, results, accepted.type), body };
}

/** Search results hold references that stand already, never values that lie in an object. */
const noBulk = (): string => '';

function xmlResponse(
  context: Context,
  query: Query,
  results: Results<unknown>,
  dataSets: readonly DataSet[],
): HttpResponse {
  const { services, root } = context;
  const parts = dataSets.map((dataSet) => {
    const onThisRoot: DataSet = JSON.parse(onRoot(JSON.stringify(dataSet), root));
    const text = dataSetToXml(onThisRoot, noBulk);
    return { headers: { 'Content-Type': XML_TYPE }, body: Buffer.from(text) };
  });
  const { 'content-type': _, ...headers } = headersOf(context, query, results, XML_TYPE);
  return multipartResponse(services.clock, XML_TYPE, parts, headers);
}

/**
 * No match is 200 with an empty list: PS3.18 §8.3.4.4.1 as CP-2473 corrects it (a 204, which it replaces, may have no body).
 */
function headersOf(
  { root, request, services }: Context,
  query: Query,
  results: Results<unknown>,
  type: string,
): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': type, 'cache-control': 'no-store', vary: 'accept' };
  if (results.total !== undefined) headers['x-total-count'] = String(results.total);
  const warnings = [...warningsOf(query, results, services.limits), ...undecodedOf(request.query)].map(
    (text) => `299 ${root}: ${text}`,
  );
  if (warnings.length > 0) headers.warning = warnings.join(', ');
  return headers;
}

/** Octets that are no UTF-8 (a name in Latin-1) have become U+FFFD; so has text that we could not decode, and that is asked for as we showed it. */
const undecodedOf = (parameters: URLSearchParams): string[] =>
  [...parameters.values()].some((value) => value.includes('\ufffd'))
    ? ['A parameter holds U+FFFD. Values are percent-encoded UTF-8.']
    : [];

function warningsOf(
  query: Query,
  { rows, total, more, cut, uncounted }: Results<unknown>,
  limits: Pick<Limits, 'searchMaxResults'>,
): string[] {
  const warnings: string[] = [];
  if (more && total !== undefined) {
    const remaining = total - query.offset - rows.length;
    warnings.push(`There are ${remaining} additional results that can be requested`);
  } else if (more && query.limit < limits.searchMaxResults) {
    warnings.push('There are additional results that can be requested');
  } else if (more) {
    warnings.push(
      'The number of results exceeded the maximum supported by the server. Additional results can be requested.',
    );
  }
  if (cut) {
    warnings.push(
      'The search was cut as it would have read too many records. Matching results may be missing; narrow the query.',
    );
  }
  if (uncounted) warnings.push('The studies of some patients are too many to be counted.');
  if (query.ignored.length > 0) {
    const names = query.ignored.map((name) => name.replace(/[^\w.]/g, '?').slice(0, 64));
    warnings.push(`These parameters are not supported and were ignored: ${names.join(' ')}`);
  }
  return warnings;
}
