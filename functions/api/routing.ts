import { wholeOf } from '#core/access/confine.ts';
import type { Principal } from '#core/access.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { hostText } from '#core/routing/allowed.ts';
import {
  backlogOf,
  deliveredInstances,
  deliveriesOf,
  discardDelivery,
  listDeliveries,
  retryDelivery,
  sendStudy,
  wakeDestination,
} from '#core/routing/deliveries.ts';
import { candidatesOf, instancesOf } from '#core/routing/intake.ts';
import type { RuleRecord } from '#core/routing/records.ts';
import { matched, readRule } from '#core/routing/rules.ts';
import {
  deleteDestination,
  deleteRule,
  destinationStates,
  forgetProblem,
  putDestination,
  putRule,
  readDestination,
  readRouting,
} from '#core/routing/settings.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** instances of a study that rules are tried on */
const TRIED = 1_000;

/** Where studies may be sent, where they are sent by which rules, and how that goes: docs/routing.md. */
const overview: Handler = async ({ services, principal }) => {
  const { tenant } = principal;
  const [{ destinations, rules }, states, backlog] = await Promise.all([
    readRouting(services, tenant),
    destinationStates(services, tenant),
    backlogOf(services, tenant),
  ]);
  return json(200, {
    hosts: services.policy.routing.hosts.map(hostText),
    destinations: [...destinations.values()].map((record) => {
      const { problem, pausedUntil, sentAt } = states.get(record.name) ?? {};
      const { waiting = 0, held = 0, oldestAt } = backlog.get(record.name) ?? {};
      const isPaused = pausedUntil !== undefined && pausedUntil > services.clock.now();
      return {
        ...record,
        waiting,
        held,
        ...(oldestAt !== undefined && { oldestAt }),
        ...(sentAt !== undefined && { sentAt }),
        ...(problem !== undefined && { problem }),
        ...(isPaused && { retryAt: pausedUntil }),
      };
    }),
    rules,
  });
};

const withTag = (record: { readonly version: number }): HttpResponse => {
  const response = json(200, record);
  return { ...response, headers: { ...response.headers, etag: `"${record.version}"` } };
};

/** The version that a change is meant for: `If-Match: "3"`; 0 for what must not be there yet: `If-None-Match: *`. */
function expected({ headers }: HttpRequest): number | undefined {
  if (headers['if-none-match'] === '*') return 0;
  const text = headers['if-match'];
  if (text === undefined || text === '*') return undefined;
  const version = /^"(\d+)"$/.exec(text)?.[1];
  if (version === undefined) throw new PacsError('BAD_REQUEST', 'If-Match is no ETag of a rule or destination');
  return Number(version);
}

const EMPTY: HttpResponse = { status: 204, headers: { 'cache-control': 'no-store' } };

/** @throws PacsError FORBIDDEN for a token that reaches some studies alone: rules send all of them */
function checkWhole({ reach }: Principal): void {
  if (reach !== undefined)
    throw new PacsError('FORBIDDEN', 'studies are sent by rules for all of them, and this access reaches some alone');
}

const changeDestination: Handler = async ({ request, params, services, principal }) => {
  checkWhole(principal);
  const { tenant, subject } = principal;
  const asked = readDestination(services, await readJson(request));
  const record = await putDestination(services, tenant, params.id!, asked, subject, expected(request));
  await wakeDestination(wholeOf(services), tenant, record.name);
  return withTag(record);
};

/** POST: what waits for it is tried at once. */
const retryDestination: Handler = async ({ params, services, principal }) => {
  const { tenant } = principal;
  const name = params.id!;
  if (!(await readRouting(services, tenant)).destinations.has(name))
    throw new PacsError('NOT_FOUND', 'there is no such destination');
  await forgetProblem(services, tenant, name);
  return json(200, { deliveries: await wakeDestination(wholeOf(services), tenant, name) });
};

const removeDestination: Handler = async ({ request, params, services, principal }) => {
  await deleteDestination(services, principal.tenant, params.id!, expected(request));
  // What waits for it is held.
  await wakeDestination(wholeOf(services), principal.tenant, params.id!);
  return EMPTY;
};

const changeRule: Handler = async ({ request, params, services, principal }) => {
  checkWhole(principal);
  const { tenant, subject } = principal;
  const asked = readRule(await readJson(request));
  return withTag(await putRule(services, tenant, params.id!, asked, subject, expected(request)));
};

const removeRule: Handler = async ({ request, params, services, principal }) => {
  await deleteRule(services, principal.tenant, params.id!, expected(request));
  return EMPTY;
};

/** Which rules match a study that is here, and how many of its instances: those that there are, or one that is not kept yet. Nothing is sent. */
const tryRules: Handler = async ({ request, services, principal, facts }) => {
  const { study, rule } = await readJson(request);
  if (typeof study !== 'string') throw new PacsError('BAD_REQUEST', 'study must be a StudyInstanceUID');
  facts.studies = [study];
  const { tenant } = principal;
  if (rule !== undefined && (typeof rule !== 'object' || rule === null))
    throw new PacsError('BAD_REQUEST', 'rule must be an object');
  const asked = rule && { name: 'this', ...readRule(rule as Readonly<Record<string, unknown>>) };
  const rules = asked ? [asked] : (await readRouting(services, tenant)).rules;
  const instances: InstanceRecord[] = [];
  let isWhole = true;
  for await (const page of instancesOf(services, tenant, study)) {
    isWhole &&= instances.length + page.length <= TRIED;
    instances.push(...page.slice(0, TRIED - instances.length));
    if (!isWhole) break;
  }
  if (instances.length === 0) throw new PacsError('NOT_FOUND', 'there is no such study');
  const met = (await candidatesOf(services, tenant, rules, instances)).map((candidate) => candidate.met);
  const found = matchedOf(rules, met);
  return json(200, {
    instances: instances.length,
    whole: isWhole,
    rules: rules.map(({ name, enabled, when, destinations }, i) => ({
      name,
      enabled,
      when,
      destinations,
      matched: found[i]!,
    })),
  });
};

/** Instances by rule. Enabled ones among each other, of each kind by itself, as when it is in earnest; those that are not as if they were asked alone. */
function matchedOf(
  rules: readonly Pick<RuleRecord, 'enabled' | 'when' | 'scope' | 'final'>[],
  met: readonly (readonly boolean[])[],
): number[] {
  const counts = new Array<number>(rules.length).fill(0);
  const count = (positions: readonly number[]): void => {
    const found = matched(
      positions.map((at) => rules[at]!),
      met.map((of) => positions.map((at) => of[at]!)),
    );
    for (const [i, at] of positions.entries()) counts[at] = found[i]!.size;
  };
  const all = [...rules.keys()];
  for (const when of ['stored', 'quiet'] as const)
    count(all.filter((at) => rules[at]!.enabled && rules[at]!.when === when));
  for (const at of all) if (!rules[at]!.enabled) count([at]);
  return counts;
}

/** What waits or is held, or where one study has been sent. */
const deliveries: Handler = async ({ request, services, principal }) => {
  const { query } = request;
  const study = query.get('study');
  if (study !== null) return json(200, { items: await deliveriesOf(services, principal.tenant, study) });
  const state = query.get('state') ?? 'waiting';
  if (state !== 'waiting' && state !== 'held') throw new PacsError('BAD_REQUEST', 'state must be waiting or held');
  const limit = wholeNumber(request, 'limit', 50, 500);
  return json(200, await listDeliveries(services, principal.tenant, state, query.get('after') ?? '', limit));
};

const instances: Handler = async ({ request, params, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  const after = request.query.get('after') ?? '';
  return json(200, await deliveredInstances(services, principal.tenant, params.study!, params.id!, after, limit));
};

/** POST: `retry` what is held or waits, `discard` it, or `send` all of the study, sent before or not. */
const decide: Handler = async ({ request, params, services, principal, facts }) => {
  const { tenant } = principal;
  const [study, name] = [params.study!, params.id!];
  const { action } = await readJson(request);
  facts.destination = `route:${name}`;
  if (action === 'retry') return json(200, await retryDelivery(services, tenant, study, name));
  if (action === 'discard') return json(200, await discardDelivery(services, tenant, study, name));
  if (action !== 'send') throw new PacsError('BAD_REQUEST', 'action must be retry, discard or send');
  facts.instances = await sendStudy(services, tenant, study, name);
  const delivery = (await deliveriesOf(services, tenant, study)).find(({ destination }) => destination === name);
  return json(200, delivery);
};

const DESTINATION = '/routing/destinations/{id}';
const RULE = '/routing/rules/{id}';
const DELIVERY = '/routing/deliveries/{study}/{id}';
const look = (path: string, name: string, handler: Handler): Route => ({
  method: 'GET',
  path,
  action: 'readRouting',
  name,
  handler,
});
const change = (method: Route['method'], path: string, name: string, handler: Handler): Route => ({
  method,
  path,
  action: 'administer',
  name,
  handler,
});

export const ROUTING_ROUTES: readonly Route[] = [
  look('/routing', 'GetRouting', overview),
  change('PUT', DESTINATION, 'PutDestination', changeDestination),
  change('POST', DESTINATION, 'RetryDestination', retryDestination),
  change('DELETE', DESTINATION, 'DeleteDestination', removeDestination),
  change('PUT', RULE, 'PutRule', changeRule),
  change('DELETE', RULE, 'DeleteRule', removeRule),
  {
    method: 'POST',
    path: '/routing/test',
    action: 'readRouting',
    name: 'TestRules',
    handler: tryRules,
    recordedAs: ['Query', 'E'],
  },
  look('/routing/deliveries', 'ListDeliveries', deliveries),
  look(DELIVERY, 'GetDeliveredInstances', instances),
  { ...change('POST', DELIVERY, 'DecideDelivery', decide), recordedAs: ['DataExport', 'E'] },
];
