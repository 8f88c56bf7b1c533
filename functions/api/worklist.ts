import { attribute } from '#core/dicom/dictionary.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { worklistChanges, worklistCursor } from '#core/worklist/changes.ts';
import { type WorklistQuery, worklistQuery } from '#core/worklist/match.ts';
import { WORKLIST_TAG as TAG, type WorklistItem, type WorklistState } from '#core/worklist/records.ts';
import {
  addWorklistItem,
  decideWorklistItem,
  getWorklistItem,
  listWorklist,
  removeWorklistItem,
  replaceWorklistItem,
} from '#core/worklist/worklist.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson, wholeNumber } from './json.ts';

const CONTROL = new Set(['after', 'limit', 'state', 'changedSince', 'fuzzymatching']);
const STATES: ReadonlySet<string> = new Set<WorklistState>([
  'SCHEDULED',
  'IN PROGRESS',
  'COMPLETED',
  'DISCONTINUED',
  'CANCELED',
]);
/** attributes of the scheduled step, which may be named without its sequence: `Modality=CT` */
const OF_STEP: ReadonlySet<string> = new Set([
  TAG.Modality,
  TAG.ScheduledStationAETitle,
  TAG.ScheduledProcedureStepStartDate,
  TAG.ScheduledProcedureStepStartTime,
  TAG.ScheduledProcedureStepDescription,
  TAG.ScheduledProcedureStepID,
  TAG.ScheduledProcedureStepStatus,
  '00400006',
  '00400010',
  '00400011',
]);
const PAGE = { fallback: 100, most: 1_000 };

/** What is answered of an item. */
const view = ({ dataSet, ...item }: WorklistItem) => ({ ...item, item: dataSet });

const withTag = (item: WorklistItem): HttpResponse => {
  const response = json(200, view(item));
  return { ...response, headers: { ...response.headers, etag: `"${item.version}"` } };
};

/**
 * Items in the order of their start; with `changedSince` what has become of them since a cursor. Filters are those of a query: a
 * keyword, a tag, or a path of them. What is over is shown when `state` asks for it.
 */
const listItems: Handler = async ({ request, services, principal }) => {
  const limit = wholeNumber(request, 'limit', PAGE.fallback, PAGE.most);
  const since = request.query.get('changedSince');
  if (since !== null) {
    const { items, ...changes } = await worklistChanges(services, principal.tenant, since, limit);
    return json(200, { items: items.map(view), ...changes });
  }
  const after = request.query.get('after') ?? '';
  const query = queryOf(request);
  // Before the items are read: a change in between is told twice, never missed.
  const cursor = await worklistCursor(services, principal.tenant);
  const page = await listWorklist(services, principal.tenant, query, { limit, ...(after !== '' && { after }) });
  return json(200, { items: page.items.map(view), ...(page.next !== undefined && { next: page.next }), cursor });
};

/** @throws PacsError BAD_REQUEST naming the parameter */
function queryOf({ query }: Pick<HttpRequest, 'query'>): WorklistQuery {
  const identifier: DataSet = {};
  const step: DataSet = {};
  for (const [name, text] of query) {
    if (CONTROL.has(name)) continue;
    const path = name.split('.').map((one) => attribute(one));
    const leaf = path.at(-1);
    if (leaf === undefined || path.some((one) => one === undefined) || path.length > 2)
      throw unknown(name, 'is no attribute');
    const [first] = path;
    const inStep = path.length === 2 ? first!.tag === TAG.ScheduledProcedureStepSequence : OF_STEP.has(first!.tag);
    if (path.length === 2 && !inStep) throw unknown(name, 'is no attribute of the scheduled step');
    (inStep ? step : identifier)[leaf.tag] = { vr: leaf.vr, ...(text !== '' && { Value: [text] }) };
  }
  if (Object.keys(step).length > 0) identifier[TAG.ScheduledProcedureStepSequence] = { vr: 'SQ', Value: [step] };
  const states = query.get('state');
  const made = worklistQuery(identifier, {
    fuzzy: query.get('fuzzymatching') === 'true',
    anyState: states !== null,
  });
  if (states === null || states === 'all') return made;
  const wanted = new Set(states.split(','));
  for (const state of wanted)
    if (!STATES.has(state)) throw unknown('state', `is all, or some of ${[...STATES].join(', ')}`);
  return { ...made, matches: (entry) => wanted.has(entry.state) && made.matches(entry) };
}

const unknown = (parameter: string, what: string): PacsError =>
  new PacsError('BAD_REQUEST', `the parameter ${parameter.replace(/[^\w.]/g, '?').slice(0, 64)} ${what}`);

/** A data set of the DICOM JSON Model (PS3.18 §F.2); its form is checked where it is taken. */
async function readDataSet(request: HttpRequest): Promise<DataSet> {
  return (await readJson(request)) as DataSet;
}

/** The version that a change is meant for: `If-Match: "3"`. */
function ifMatch({ headers }: HttpRequest): number | undefined {
  const text = headers['if-match'];
  if (text === undefined || text === '*') return undefined;
  const version = /^"(\d+)"$/.exec(text)?.[1];
  if (version === undefined) throw new PacsError('BAD_REQUEST', 'If-Match is no ETag of a worklist item');
  return Number(version);
}

export const addItem: Handler = async ({ request, services, principal }) =>
  withTag(await addWorklistItem(services, principal.tenant, await readDataSet(request)));

const getItem: Handler = async ({ params, services, principal }) =>
  withTag(await getWorklistItem(services, principal.tenant, params.id!));

export const replaceItem: Handler = async ({ request, params, services, principal }) => {
  const given = await readDataSet(request);
  return withTag(await replaceWorklistItem(services, principal.tenant, params.id!, given, ifMatch(request)));
};

/** Takes an item off the list, or puts it back. */
export const decideItem: Handler = async ({ request, params, services, principal }) => {
  const { action } = await readJson(request);
  if (action !== 'cancel' && action !== 'reschedule')
    throw new PacsError('BAD_REQUEST', 'action must be cancel or reschedule');
  return withTag(await decideWorklistItem(services, principal.tenant, params.id!, action));
};

const deleteItem: Handler = async ({ params, services, principal }) => {
  await removeWorklistItem(services, principal.tenant, params.id!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const ITEM = '/worklist/{id}';
export const WORKLIST_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/worklist', action: 'readWorklist', name: 'ListWorklist', handler: listItems },
  { method: 'POST', path: '/worklist', action: 'changeWorklist', name: 'AddWorklistItem', handler: addItem },
  { method: 'GET', path: ITEM, action: 'readWorklist', name: 'GetWorklistItem', handler: getItem },
  { method: 'PUT', path: ITEM, action: 'changeWorklist', name: 'ReplaceWorklistItem', handler: replaceItem },
  { method: 'POST', path: ITEM, action: 'changeWorklist', name: 'DecideWorklistItem', handler: decideItem },
  { method: 'DELETE', path: ITEM, action: 'changeWorklist', name: 'DeleteWorklistItem', handler: deleteItem },
];
