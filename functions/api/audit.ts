import { authorize } from '#core/access.ts';
import { type AuditSource, auditMessage } from '#core/audit/dicom-message.ts';
import { type AuditEntry, parseEntry } from '#core/audit/entry.ts';
import { AUDIT_EVENTS } from '#core/audit/event.ts';
import { fhirAuditEvent } from '#core/audit/fhir-event.ts';
import { patientsOf } from '#core/audit/patients.ts';
import { cursorBefore, cursorBehind } from '#core/audit/seal.ts';
import { auditPartition } from '#core/audit/trail.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { json } from './json.ts';

const PAGE = 100;
const MOST_A_PAGE = 1_000;
/** Entries read for one page before it is given as it is, with the cursor to go on from. */
const READS = 20_000;

interface Wanted {
  readonly from: number;
  readonly to: number;
  readonly event: string | undefined;
  readonly subject: string | undefined;
  readonly study: string | undefined;
  readonly outcome: string | undefined;
  readonly limit: number;
  readonly newestFirst: boolean;
  readonly after: string;
}

/**
 * GET /api/audit: entries of the caller's tenant in the order of the trail, or the newest first (`order`: `asc`, `desc`); `from` and `to` (ISO 8601), `event`, `subject`, `study`,
 * `outcome` narrow them down, `after` continues behind a page's `next`, in the same order. `format`: `json` (default), `dicom` (PS3.15 A.5 messages,
 * one a line) or `fhir` (a Bundle of AuditEvents).
 * @throws PacsError BAD_REQUEST
 */
export const getAudit =
  (source: AuditSource): Handler =>
  async ({ request, services, principal }) => {
    authorize(principal, 'readAudit');
    const wanted = wantedOf(request.query);
    const format = request.query.get('format') ?? 'json';
    // Whoever reads the trail finds in it what this process has answered before him.
    await services.audit.written();
    const { entries, next, more } = await findEntries(services, principal.tenant, wanted);
    const headers = { 'cache-control': 'no-store', 'x-next': next, 'x-more': String(more) };
    switch (format) {
      case 'json':
        return json(200, { entries, next, more });
      case 'dicom': {
        const patients = await patientsOf(services, principal.tenant, entries);
        const body = entries.map((entry) => `${auditMessage(entry, source, patients)}\n`).join('');
        return { status: 200, headers: { ...headers, 'content-type': 'application/xml-seq; charset=utf-8' }, body };
      }
      case 'fhir': {
        const patients = await patientsOf(services, principal.tenant, entries);
        const entry = entries.map((one) => ({ resource: fhirAuditEvent(one, source, patients) }));
        const bundle = { resourceType: 'Bundle', type: 'collection', entry };
        const type = 'application/fhir+json; charset=utf-8';
        return { status: 200, headers: { ...headers, 'content-type': type }, body: JSON.stringify(bundle) };
      }
      default:
        throw new PacsError('BAD_REQUEST', 'format is one of json, dicom, fhir', { details: { parameter: 'format' } });
    }
  };

async function findEntries(
  services: Services,
  tenant: string,
  wanted: Wanted,
): Promise<{ entries: AuditEntry[]; next: string; more: boolean }> {
  const entries: AuditEntry[] = [];
  const { newestFirst, from, to } = wanted;
  const earliest = await cursorBefore(services, tenant, from);
  let next = wanted.after || (newestFirst ? await cursorBehind(services, tenant, to) : earliest);
  for (let read = 0; read < READS; ) {
    const page = await services.index.query({
      partition: auditPartition(tenant),
      log: true,
      limit: 1_000,
      descending: newestFirst,
      ...(next === '' ? {} : { after: next }),
    });
    for (const { sort, item } of page.records) {
      // Cursors of a log are in its order: before this one everything is older than what is asked for.
      if (newestFirst && sort <= earliest) return { entries, next, more: false };
      const entry = parseEntry(item.line as string);
      read++;
      next = sort;
      if (matches(entry, wanted)) entries.push(entry);
      if (entries.length === wanted.limit) return { entries, next, more: true };
    }
    if (!page.more) return { entries, next, more: false };
  }
  return { entries, next, more: true };
}

const matches = (entry: AuditEntry, { from, to, event, subject, study, outcome }: Wanted): boolean =>
  entry.at >= from &&
  entry.at < to &&
  (event === undefined || entry.event === event) &&
  (subject === undefined || entry.subject === subject) &&
  (study === undefined || (entry.studies?.includes(study) ?? false)) &&
  (outcome === undefined || String(entry.outcome) === outcome);

function wantedOf(query: URLSearchParams): Wanted {
  const event = query.get('event') ?? undefined;
  if (event !== undefined && !Object.hasOwn(AUDIT_EVENTS, event)) throw wrong('event');
  const order = query.get('order') ?? 'asc';
  if (order !== 'asc' && order !== 'desc') throw wrong('order');
  const limit = Number(query.get('limit') ?? PAGE);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_A_PAGE) throw wrong('limit');
  return {
    from: timeOf(query, 'from') ?? 0,
    to: timeOf(query, 'to') ?? Number.POSITIVE_INFINITY,
    event,
    subject: query.get('subject') ?? undefined,
    study: query.get('study') ?? undefined,
    outcome: query.get('outcome') ?? undefined,
    limit,
    newestFirst: order === 'desc',
    after: query.get('after') ?? '',
  };
}

function timeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw wrong(name);
  return time;
}

const wrong = (parameter: string): PacsError =>
  new PacsError('BAD_REQUEST', `the parameter ${parameter} is not understood`, { details: { parameter } });
