import type { Action, Principal } from '#core/access.ts';
import type { AuditAction, AuditEvent, AuditEventName, AuditOutcome } from '#core/audit/event.ts';
import type { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { isGuestExport } from './guest.ts';
import type { AuditFacts } from './handler.ts';
import type { HttpRequest } from './http.ts';
import type { Route } from './router.ts';

/** What the use of a permission is recorded as, to look and to change. A row of a routes table may say it better. */
const RECORDED: Readonly<
  Partial<Record<Action, { readonly look: AuditEventName; readonly change: readonly [AuditEventName, AuditAction] }>>
> = {
  store: { look: 'InstancesTransferred', change: ['InstancesTransferred', 'C'] },
  search: { look: 'Query', change: ['Query', 'E'] },
  retrieve: { look: 'InstancesAccessed', change: ['InstancesAccessed', 'R'] },
  delete: { look: 'InstancesAccessed', change: ['StudyDeleted', 'D'] },
  reject: { look: 'InstancesAccessed', change: ['StudyDeleted', 'D'] },
  restore: { look: 'InstancesAccessed', change: ['InstancesAccessed', 'U'] },
  readEvents: { look: 'Query', change: ['Query', 'E'] },
  commit: { look: 'InstancesAccessed', change: ['InstancesAccessed', 'R'] },
  readWorklist: { look: 'OrderRecord', change: ['OrderRecord', 'R'] },
  changeWorklist: { look: 'OrderRecord', change: ['OrderRecord', 'U'] },
  performProcedure: { look: 'ProcedureRecord', change: ['ProcedureRecord', 'U'] },
  readAudit: { look: 'AuditLogUsed', change: ['AuditLogUsed', 'R'] },
  readProcedures: { look: 'ProcedureRecord', change: ['ProcedureRecord', 'R'] },
  readRouting: { look: 'Query', change: ['Query', 'E'] },
  share: { look: 'Query', change: ['SecurityConfiguration', 'U'] },
};
const OTHERS = { look: 'UseOfRestrictedFunction', change: ['SecurityConfiguration', 'U'] } as const;

/** Query parameters that say how the answer is to look, not what is asked for. */
const RESULT_PARAMETERS = new Set([
  'limit',
  'offset',
  'includefield',
  'orderby',
  'fuzzymatching',
  'emptyvaluematching',
]);

const isLook = ({ method }: Pick<HttpRequest, 'method'>): boolean => method === 'GET' || method === 'HEAD';

/** What is done by a request and is recorded before it is answered. */
export interface Act {
  readonly route: Route;
  readonly request: HttpRequest;
  /** undefined: nobody */
  readonly principal: Principal | undefined;
  readonly params: Readonly<Record<string, string>>;
  readonly facts: AuditFacts;
}

/** @throws PacsError BUSY while the trail cannot be written and the policy wants this recorded */
export function admitRequest({ audit }: Services, { route, request }: Pick<Act, 'route' | 'request'>): void {
  if (isRecorded(route)) audit.admit(!isLook(request) && route.action !== 'search');
}

/**
 * Records who did what by a request, in the tenant of who asked; requests of nobody in the archive's own. Acts that are done many times
 * over (the frames of a study, the slices of one that is sent) are one entry and a count.
 * @throws PacsError BUSY as AuditTrail.record
 */
export async function recordRequest(
  { access, audit, clock }: Services,
  { route, request, params, facts, ...act }: Act,
  outcome: { readonly status: number; readonly error?: PacsError | undefined },
  archiveTenant: string,
): Promise<void> {
  if (!isRecorded(route)) return;
  // Heartbeats touch nothing of a patient's: only those that are refused are of interest.
  if (outcome.status < 400 && (route.action === 'reportAsGateway' || route.action === 'monitor')) return;
  const principal = facts.principal ?? act.principal;
  const error = outcome.error?.code ?? facts.error;
  const [event, action] = isGuestExport(route, principal) ? (['DataExport', 'R'] as const) : eventOf(route, request);
  const studies = facts.studies ?? (params.study === undefined ? [] : [params.study]);
  const tenant = principal?.tenant ?? archiveTenant;
  if (route.action === 'retrieve' && outcome.status < 400)
    await Promise.all(studies.map((study) => access.note(tenant, study)));
  const recorded: AuditEvent = {
    at: clock.now(),
    event,
    action,
    outcome: error !== undefined && outcome.status < 400 ? 4 : outcomeOf(outcome.status),
    subject: principal?.subject ?? 'nobody',
    roles: principal?.roles ?? [],
    door: 'http',
    ...whereFrom(request),
    transaction: route.name,
    ...(studies.length > 0 && { studies }),
    ...(facts.instances !== undefined && { instances: facts.instances }),
    ...(facts.destination !== undefined && { destination: facts.destination }),
    ...(facts.purpose !== undefined && { purpose: facts.purpose }),
    ...(event === 'Query' && { keys: keysOf(request.query) }),
    ...(facts.about !== undefined && { about: facts.about }),
    ...(error !== undefined && { error }),
  };
  if (recorded.outcome !== 0 || REPEATABLE.has(event)) await audit.recordOnce(tenant, sameness(recorded), recorded);
  else await audit.record(tenant, recorded);
}

/** Where a request came from, as the trail says it. */
export const whereFrom = ({
  remoteAddress,
  viewerAddress,
}: Pick<HttpRequest, 'remoteAddress' | 'viewerAddress'>): Pick<AuditEvent, 'from' | 'via'> => {
  const from = viewerAddress ?? remoteAddress;
  return { ...(from !== undefined && { from }), ...(viewerAddress !== undefined && { via: remoteAddress }) };
};

/** What anyone may ask for is not recorded, unless its row says as what. */
const isRecorded = (route: Route): boolean => route.action !== 'public' || route.recordedAs !== undefined;

/** What a route's use is recorded as. */
function eventOf(route: Route, request: Pick<HttpRequest, 'method'>): readonly [AuditEventName, AuditAction] {
  if (route.recordedAs !== undefined) return route.recordedAs;
  const { look, change } = RECORDED[route.action as Action] ?? OTHERS;
  return isLook(request) ? [look, look === 'Query' ? 'E' : 'R'] : change;
}

const REPEATABLE: ReadonlySet<AuditEventName> = new Set([
  'InstancesAccessed',
  'InstancesTransferred',
  'Query',
  // Whoever reads the trail page by page must not fill it with himself.
  'AuditLogUsed',
]);

/** Acts that differ in none of this are the same one again. */
const sameness = ({
  event,
  action,
  outcome,
  subject,
  from,
  via,
  transaction,
  studies,
  keys,
  about,
  error,
}: AuditEvent): string =>
  [event, action, outcome, subject, from, via, event === 'Query' ? transaction : '', studies, keys, about, error].join(
    ' ',
  );

const outcomeOf = (status: number): AuditOutcome => (status < 400 ? 0 : status < 500 ? 4 : 8);

/** The attributes that are asked about. Free text never comes into the trail: only what looks like a keyword or tag. */
const keysOf = (query: URLSearchParams): string[] =>
  [...new Set(query.keys())].filter((name) => /^[\w.]{1,64}$/.test(name) && !RESULT_PARAMETERS.has(name)).sort();
