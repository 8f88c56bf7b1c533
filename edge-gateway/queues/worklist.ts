import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { asItem, asRecord } from '#core/ports/index-table.ts';
import { checkForm } from '#core/worklist/item.ts';
import type { WorklistItem } from '#core/worklist/records.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import { apiRootOf, askApi } from './archive-api.ts';
import { waitingSteps } from './procedure-steps.ts';
import { copiedIds, copyItem, removeCopy } from './worklist-copy.ts';

/** What is known of the archive's worklist; kept in the index, so that it outlives a restart while the line is down. */
export interface WorklistCopy {
  /** the upstream's DICOMweb root: of another one nothing is known */
  url: string;
  /** no: it has none, it is no Nephos archive. forbidden: our credentials do not permit to read it. */
  offered: 'yes' | 'no' | 'forbidden';
  /** where its changes go on; absent until all items have been read once */
  cursor?: string | undefined;
  /** when the copy was last known to be as the archive's (ms since 1970) */
  syncedAt?: number | undefined;
}

const POLL_MS = 10_000;
const PAGE = 500;

const copyKey = (tenant: string) => ({ partition: `${tenant}|edge-worklist`, sort: 'copy' });

/** undefined while the upstream has not been asked yet. */
export async function worklistCopy({ services, tenant, upstreams }: EdgeContext): Promise<WorklistCopy | undefined> {
  const upstream = upstreams[0]!;
  const { url } = upstream.config;
  if (apiRootOf(upstream) === undefined) return { url, offered: 'no' };
  const item = await services.index.get(copyKey(tenant));
  const copy = asRecord<WorklistCopy>(item);
  return copy?.url === url ? copy : undefined;
}

/** What a person wants to know: whether there is a worklist, and how old it is. */
export async function worklistStatus(context: EdgeContext): Promise<{
  readonly state: 'current' | 'stale' | 'none' | 'off';
  readonly ageMs?: number;
  readonly reason?: string;
}> {
  const copy = await worklistCopy(context);
  if (copy?.offered === 'no')
    return { state: 'off', reason: 'the upstream has no worklist: it is not a Nephos archive' };
  if (copy?.offered === 'forbidden')
    return { state: 'off', reason: "the gateway's credentials do not permit it to read the worklist" };
  if (copy?.syncedAt === undefined) return { state: 'none', reason: 'the worklist has not been read yet' };
  const ageMs = Math.max(0, context.clock.now() - copy.syncedAt);
  return { state: ageMs > 3 * POLL_MS ? 'stale' : 'current', ageMs };
}

/** @throws PacsError UNSUPPORTED_SOP_CLASS, BUSY: an empty answer would say that nothing is scheduled */
export const worklistReady = (context: EdgeContext) => async (): Promise<void> => {
  const { state, reason = '' } = await worklistStatus(context);
  if (state === 'off') throw new PacsError('UNSUPPORTED_SOP_CLASS', reason);
  if (state === 'none') throw new PacsError('BUSY', reason);
};

const syncing = new WeakMap<object, Promise<void>>();

/**
 * Brings the copy up to date: one after another, as what one had read would else be written over what another has read since.
 * @throws PacsError where the upstream does not answer
 */
export function syncWorklist(context: EdgeContext, signal: AbortSignal): Promise<void> {
  const { services } = context;
  const before = syncing.get(services) ?? Promise.resolve();
  const done = before.catch(() => {}).then(() => readChanges(context, signal));
  syncing.set(services, done);
  return done;
}

async function readChanges(context: EdgeContext, signal: AbortSignal): Promise<void> {
  const known = await worklistCopy(context);
  if (known?.cursor === undefined) return readAll(context, signal);
  for (let cursor = known.cursor; ; ) {
    const answer = await ask(context, `changedSince=${encodeURIComponent(cursor)}&limit=${PAGE}`, signal);
    if (answer === undefined) return;
    // Changes so long ago are not kept, or it is another archive under the same name.
    if (answer.status === 410 || answer.status === 400) return readAll(context, signal);
    const { items, removed, next, more } = answer.body;
    await apply(context, items, removed ?? []);
    cursor = next ?? cursor;
    await keep(context, { offered: 'yes', cursor, syncedAt: more ? known.syncedAt : context.clock.now() });
    if (!more) return;
  }
}

async function readAll(context: EdgeContext, signal: AbortSignal): Promise<void> {
  const { services, tenant } = context;
  const gone = await copiedIds(services, tenant);
  let cursor: string | undefined;
  for (let after = ''; ; ) {
    const answer = await ask(context, `state=all&limit=${PAGE}&after=${encodeURIComponent(after)}`, signal);
    if (answer === undefined) return;
    const { items, next, cursor: newest } = answer.body;
    // Of the first page: what changes while the others are read is told again.
    cursor ??= newest ?? '';
    for (const { id } of items) gone.delete(id);
    await apply(context, items, []);
    if (next === undefined) break;
    after = next;
  }
  for (const id of gone) await removeCopy(services, tenant, id);
  await keep(context, { offered: 'yes', cursor, syncedAt: context.clock.now() });
}

async function apply(context: EdgeContext, items: readonly WorklistItem[], removed: readonly string[]): Promise<void> {
  const { services, tenant } = context;
  const unreported = await waitingSteps(context);
  for (const id of removed) await removeCopy(services, tenant, id);
  for (const item of items) await copyItem(services, tenant, item, unreported > 0);
}

interface Page {
  readonly items: readonly WorklistItem[];
  readonly removed?: readonly string[];
  readonly next?: string;
  readonly cursor?: string;
  readonly more?: boolean;
}

/** undefined where there is no worklist for us; that is kept. @throws PacsError where it may be asked again */
async function ask(
  context: EdgeContext,
  query: string,
  signal: AbortSignal,
): Promise<{ status: number; body: Page } | undefined> {
  const { status, body } = await askApi(context.upstreams[0]!, { method: 'GET', path: `/worklist?${query}`, signal });
  const page = pageOf(body);
  if (status === 200 && page !== undefined) return { status, body: page };
  if (status === 410 || (status === 400 && query.startsWith('changedSince'))) return { status, body: { items: [] } };
  const before = await worklistCopy(context);
  if (status === 401 || status === 403) await keep(context, { ...before, offered: 'forbidden' });
  else if (status < 500 && status !== 408 && status !== 429) await keep(context, { offered: 'no' });
  else throw new PacsError('BUSY', `the upstream answered ${status}`, { details: { status } });
  return undefined;
}

/** An answer of the API, its items as the local ones are. */
function pageOf(body: unknown): Page | undefined {
  const { items, ...rest } = (body ?? {}) as { items?: unknown } & Omit<Page, 'items'>;
  if (!Array.isArray(items)) return undefined;
  return {
    ...rest,
    items: items.map((one): WorklistItem => {
      const { item: dataSet, ...record } = one as Omit<WorklistItem, 'dataSet'> & { item: unknown };
      checkForm(dataSet);
      if (
        !/^[0-9A-Z]{26}$/.test(record.id) ||
        !/^\d{8,14}$/.test(record.startsAt) ||
        !record.procedureSteps.every(isUID)
      )
        throw new PacsError('NOT_ACCEPTABLE', 'the upstream sent a worklist item that is none');
      return { ...record, dataSet };
    }),
  };
}

async function keep({ services, tenant, upstreams }: EdgeContext, copy: Omit<WorklistCopy, 'url'>): Promise<void> {
  const record: WorklistCopy = { ...copy, url: upstreams[0]!.config.url };
  await services.index.write([{ kind: 'put', key: copyKey(tenant), item: asItem(record) }]);
}

/** Keeps the copy up to date while the gateway runs. */
export const worklistWorker: BackgroundWorker = {
  name: 'worklist',
  async run(context, signal) {
    while (!signal.aborted) {
      const [upstream] = context.upstreams;
      if (upstream!.isReachable && apiRootOf(upstream!) !== undefined) {
        try {
          await syncWorklist(context, signal);
        } catch (error) {
          if (!signal.aborted) context.log.info('worklist-not-read', describeError(error));
        }
      }
      await sleep(POLL_MS, undefined, { signal }).catch(() => {});
    }
  },
};
