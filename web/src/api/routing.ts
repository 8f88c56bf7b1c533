import { ask, askJson, postJson } from './http.ts';

/** What routing is like (functions/api/routing.ts). Times are ms since 1970. */
export interface Routing {
  /** that the configuration lets the archive send to */
  readonly hosts: readonly string[];
  readonly destinations: readonly Destination[];
  readonly rules: readonly Rule[];
}

export interface AskedDestination {
  readonly url: string;
  readonly authentication?: string;
  readonly timeoutMs?: number;
  readonly enabled: boolean;
}

export interface Problem {
  readonly class: string;
  readonly reason: string;
  readonly at: number;
}

export interface Destination extends AskedDestination {
  readonly name: string;
  readonly version: number;
  readonly waiting: number;
  readonly held: number;
  readonly oldestAt?: number;
  readonly sentAt?: number;
  readonly problem?: Problem;
  readonly retryAt?: number;
}

/** Patterns by attribute; and what is nested: `all`, `any`, `not`. */
export type Condition = Readonly<Record<string, unknown>>;

export interface AskedRule {
  readonly enabled: boolean;
  readonly order: number;
  readonly when: 'stored' | 'quiet';
  readonly scope: 'instances' | 'study';
  readonly condition?: Condition;
  readonly destinations: readonly string[];
  readonly final: boolean;
}

export interface Rule extends AskedRule {
  readonly name: string;
  readonly version: number;
}

export interface Delivery {
  readonly StudyInstanceUID: string;
  readonly destination: string;
  readonly state: 'waiting' | 'held' | 'done';
  readonly since: number;
  readonly dueAt: number;
  readonly leased?: true;
  readonly waiting: number;
  readonly sent: number;
  readonly held: number;
  readonly problem?: Problem;
}

export interface Trial {
  readonly instances: number;
  readonly whole: boolean;
  readonly rules: readonly {
    readonly name: string;
    readonly enabled: boolean;
    readonly matched: number;
    readonly destinations: readonly string[];
  }[];
}

export const getRouting = (signal: AbortSignal): Promise<Routing> => askJson('/api/routing', { signal });

/** @param version that is to be replaced; 0: there is to be none */
const put = (path: string, body: unknown, version: number): Promise<Response> =>
  ask(`/api/routing/${path}`, {
    method: 'PUT',
    headers: {
      'content-type': 'application/json',
      ...(version === 0 ? { 'if-none-match': '*' } : { 'if-match': `"${version}"` }),
    },
    body: JSON.stringify(body),
  });

export const putDestination = (name: string, asked: AskedDestination, version: number): Promise<Response> =>
  put(`destinations/${encodeURIComponent(name)}`, asked, version);
export const putRule = (name: string, asked: AskedRule, version: number): Promise<Response> =>
  put(`rules/${encodeURIComponent(name)}`, asked, version);

export const retryDestination = (name: string): Promise<Response> =>
  postJson(`/api/routing/destinations/${encodeURIComponent(name)}`, {});
export const removeDestination = (name: string): Promise<Response> =>
  ask(`/api/routing/destinations/${encodeURIComponent(name)}`, { method: 'DELETE' });
export const removeRule = (name: string): Promise<Response> =>
  ask(`/api/routing/rules/${encodeURIComponent(name)}`, { method: 'DELETE' });

export const listDeliveries = (
  state: 'waiting' | 'held',
  after?: string,
): Promise<{ items: readonly Delivery[]; next: string | null }> =>
  askJson<{ items: readonly Delivery[]; next?: string }>(
    `/api/routing/deliveries?${new URLSearchParams({ state, ...(after !== undefined && { after }) })}`,
  ).then(({ items, next = null }) => ({ items, next }));

export const decideDelivery = (
  { StudyInstanceUID, destination }: Pick<Delivery, 'StudyInstanceUID' | 'destination'>,
  action: 'retry' | 'discard' | 'send',
): Promise<Response> =>
  postJson(`/api/routing/deliveries/${StudyInstanceUID}/${encodeURIComponent(destination)}`, { action });

export const tryRules = async (study: string, rule?: AskedRule): Promise<Trial> =>
  (await postJson('/api/routing/test', { study, ...(rule && { rule }) })).json() as Promise<Trial>;
