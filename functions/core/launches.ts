import { createHash, timingSafeEqual } from 'node:crypto';
import { PacsError } from './errors.ts';
import { putExpiring, unexpired } from './expiring.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';
import { asItem, asRecord, type IndexTable, type Item, type Key } from './ports/index-table.ts';
import type { LaunchContext } from './ports/record-system.ts';

/** Who is away at the login of a record system, and what must be known when he comes back. */
export interface PendingLaunch {
  readonly issuer: string;
  readonly redirectUri: string;
  readonly verifier: string;
  readonly nonce: string;
}

interface Ports {
  readonly index: IndexTable;
  readonly clock: Clock;
  readonly limits: Limits;
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const keyOf = (kind: 'pending' | 'context', id: string): Key => ({
  partition: `_system|launch|${kind}|${hashOf(id)}`,
  sort: 'launch',
});
export const randomText = (clock: Clock): string => Buffer.from(clock.randomBytes(32)).toString('base64url');
/** RFC 7636 §4.2, S256 */
export const challengeOf = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url');

/**
 * Bound to the browser that began it: `binding` is its cookie. Without it somebody's link could have another person's patient shown
 * in whoever follows it.
 * @returns `state` of the authorization request
 */
export const beginLaunch = (ports: Ports, pending: PendingLaunch, binding: string): Promise<string> =>
  keep(ports, 'pending', { ...pending }, binding);

/** Once. @throws PacsError UNAUTHENTICATED for what nobody began here, in this browser, just now */
export const endLaunch = async (ports: Ports, state: string, binding: string): Promise<PendingLaunch> =>
  asRecord<PendingLaunch>(await take(ports, 'pending', state, binding));

/** @returns an id, for whoever has signed in by then */
export const keepContext = (ports: Ports, tenant: string, context: LaunchContext, binding: string): Promise<string> =>
  keep(ports, 'context', { tenant, context: asItem(context) }, binding);

/** Once. @throws PacsError UNAUTHENTICATED as endLaunch; FORBIDDEN for somebody of another tenant */
export async function takeContext(ports: Ports, tenant: string, id: string, binding: string): Promise<LaunchContext> {
  const kept = asRecord<{ tenant: string; context: LaunchContext }>(await take(ports, 'context', id, binding));
  if (kept.tenant !== tenant) throw new PacsError('FORBIDDEN', 'the record system is another tenant’s');
  return kept.context;
}

async function keep({ index, clock, limits }: Ports, kind: 'pending' | 'context', item: Item, binding: string) {
  const id = randomText(clock);
  const expiresAt = clock.now() + limits.launchMs;
  await index.write(
    putExpiring(clock, keyOf(kind, id), { item: { ...item, binding: hashOf(binding) }, expiresAt, if: 'absent' }),
  );
  return id;
}

async function take({ index, clock }: Ports, kind: 'pending' | 'context', id: string, binding: string): Promise<Item> {
  const key = keyOf(kind, id);
  const item = unexpired(await index.get(key), clock);
  const isBound =
    item !== undefined &&
    timingSafeEqual(Buffer.from(String(item.binding), 'hex'), Buffer.from(hashOf(binding), 'hex'));
  if (!isBound) throw refusal();
  const { committed } = await index.write([{ kind: 'delete', key, if: { version: item.version } }]);
  if (!committed) throw refusal();
  return item;
}

const refusal = (): PacsError =>
  new PacsError('UNAUTHENTICATED', 'this launch is over, was used, or was begun in another browser: start it again');
