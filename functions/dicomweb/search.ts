import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml } from '#core/dicom/xml.ts';
import { newReadMeter } from '#core/ports/index-table.ts';
import { onRoot } from '#core/retrieve/metadata.ts';
import { searchInstanceRecords } from '#core/search/instances.ts';
import { INSTANCE_ROWS, SERIES_ROWS, STUDY_ROWS, withPatientCounts } from '#core/search/patient-counts.ts';
import { Projection } from '#core/search/project.ts';
import { parseQuery, type Query } from '#core/search/query.ts';
import { searchSeriesRecords } from '#core/search/series.ts';
import { type Results, searchStudyRecords } from '#core/search/studies.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse } from './multipart-writer.ts';
import { negotiate, type Offer } from './negotiate.ts';

const JSON_TYPE = 'application/dicom+json';
const XML_TYPE = 'application/dicom+xml';
const OFFERS: readonly Offer[] = [
  { type: JSON_TYPE, packaging: 'single', aliases: ['application/json'] },
  { type: XML_TYPE, packaging: 'multipart', aliases: ['application/xml', 'text/xml'] },
];
/** OHIF may send the Accept header of its frame requests with everything it asks (OHIF/Viewers#5442). */
const FRAMES_TYPE = 'application/octet-stream';

/** GET studies (QIDO-RS, PS3.18 §10.6). @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchStudies: Handler = async (context) => {
  const { services, principal, request, root } = context;
  const query = parseQuery(request.query, { level: 'study' }, services.limits);
  const accepted = negotiate(request, OFFERS, { tolerate: FRAMES_TYPE });
  const { tenant } = principal;
  const meter = newReadMeter();
  const found = await searchStudyRecords(services, tenant, query, meter);
  const results = await withPatientCounts(services, tenant, query, found, STUDY_ROWS, meter);
  const projection = new Projection(query, root);
  if (accepted.offer.type === XML_TYPE)
    return xmlResponse(
      context,
      query,
      results,
      results.rows.map((row) => projection.study(row)),
    );
  let body = '[';
  for (const row of results.rows) body += (body.length > 1 ? ',' : '') + projection.studyJson(row);
  return { status: 200, headers: headersOf(context, query, results, accepted.type), body: `${body}]` };
};

/** GET series, studies/{study}/series. @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchSeries: Handler = async (context) => {
  const { services, principal, request, params, root } = context;
  const query = parseQuery(request.query, { level: 'series', StudyInstanceUID: params.study }, services.limits);
  const accepted = negotiate(request, OFFERS, { tolerate: FRAMES_TYPE });
  const { tenant } = principal;
  const meter = newReadMeter();
  const found = await searchSeriesRecords(services, tenant, query, meter);
  const results = await withPatientCounts(services, tenant, query, found, SERIES_ROWS, meter);
  const projection = new Projection(query, root);
  return respond(
    context,
    query,
    results,
    accepted,
    results.rows.map((row) => projection.series(row)),
  );
};

/** GET instances, studies/{study}/instances, studies/{study}/series/{series}/instances. @throws PacsError BAD_REQUEST, NOT_ACCEPTABLE */
export const searchInstances: Handler = async (context) => {
  const { services, principal, request, params, root } = context;
  const target = { level: 'instance', StudyInstanceUID: params.study, SeriesInstanceUID: params.series } as const;
  const query = parseQuery(request.query, target, services.limits);
  const accepted = negotiate(request, OFFERS, { tolerate: FRAMES_TYPE });
  const { tenant } = principal;
  const meter = newReadMeter();
  const found = await searchInstanceRecords(services, tenant, query, meter);
  const results = await withPatientCounts(services, tenant, query, found, INSTANCE_ROWS, meter);
  const projection = new Projection(query, root);
  return respond(
    context,
    query,
    results,
    accepted,
    results.rows.map((row) => projection.instance(row)),
  );
};

function respond(
  context: Context,
  query: Query,
  results: Results<unknown>,
  accepted: { readonly offer: Offer; readonly type: string },
  dataSets: readonly DataSet[],
): HttpResponse {
  if (accepted.offer.type === XML_TYPE) return xmlResponse(context, query, results, dataSets);
  const body = onRoot(JSON.stringify(dataSets), context.root);
  return { status: 200, headers: headersOf(context, query, results, accepted.type), body };
}

function xmlResponse(
  context: Context,
  query: Query,
  results: Results<unknown>,
  dataSets: readonly DataSet[],
): HttpResponse {
  const { services, root } = context;
  const parts = dataSets.map((dataSet) => {
    const onThisRoot: DataSet = JSON.parse(onRoot(JSON.stringify(dataSet), root));
    // Search results hold references that stand already, never values that lie in an object.
    const text = dataSetToXml(onThisRoot, () => '');
    return { headers: { 'Content-Type': XML_TYPE }, body: Buffer.from(text) };
  });
  const { 'content-type': _, ...headers } = headersOf(context, query, results, XML_TYPE);
  return multipartResponse(services.clock, XML_TYPE, parts, headers);
}

/**
 * No match is 200 with an empty list: PS3.18 §8.3.4.4.1 as CP-2473 corrects it (a 204, which it replaces, may have no body).
 */
function headersOf({ root }: Context, query: Query, results: Results<unknown>, type: string): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': type, 'cache-control': 'no-store', vary: 'accept' };
  if (results.total !== undefined) headers['x-total-count'] = String(results.total);
  const warnings = warningsOf(query, results).map((text) => `299 ${root}: ${text}`);
  if (warnings.length > 0) headers.warning = warnings.join(', ');
  return headers;
}

function warningsOf(query: Query, { rows, total, more, cut, uncounted }: Results<unknown>): string[] {
  const warnings: string[] = [];
  if (more && total !== undefined) {
    const remaining = total - query.offset - rows.length;
    warnings.push(`There are ${remaining} additional results that can be requested`);
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
