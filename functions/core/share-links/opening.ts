import { timingSafeEqual } from 'node:crypto';
import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { eventWrites } from './links.ts';
import { isPin } from './pin.ts';
import {
  actWrite,
  GUESS_MS,
  hashOf,
  linkWrite,
  type PinRecord,
  type ShareRecord,
  type ShareState,
  sharedAt,
  shareKeys,
  stateOf,
} from './records.ts';

const TOKEN_BYTES = 32;
const ATTEMPTS = 50;
/** how long a guess waits for others that are under way (ms), and how often it looks */
const WAIT_MS = 2_000;
const LOOK_MS = 50;

/** A link that has been found by its secret. */
export interface Found {
  readonly tenant: Tenant;
  readonly link: ShareRecord;
  readonly state: ShareState;
}

/** What the receiver's browser gets: the token of a session, kept here as its hash only. */
export interface Opened extends Found {
  readonly token: string;
  /** ms since 1970 */
  readonly endsAt: number;
}

/**
 * The link of a secret. One look-up by the secret's hash, whichever of id and secret is wrong: nothing tells the two apart.
 * @throws PacsError NOT_FOUND
 */
export async function findBySecret(services: Services, id: string, secret: string): Promise<Found> {
  const pointer = await services.index.get(shareKeys.secret(hashOf(secret)));
  if (pointer === undefined || pointer.id !== id) throw noSuchLink();
  return found(services, pointer.tenant as Tenant, id);
}

const noSuchLink = (): PacsError => new PacsError('NOT_FOUND', 'there is no such link');

async function found(services: Services, tenant: Tenant, id: string): Promise<Found> {
  const item = await services.index.get(shareKeys.link(tenant, id));
  if (item === undefined) throw noSuchLink();
  const link = sharedAt(item);
  return { tenant, link, state: stateOf(link, services.clock.now(), services.limits.sharePinGuesses) };
}

/**
 * Opens a link: one opening is used up, and a session begins. `onFound` hears which link it is before anything is decided.
 * @throws PacsError NOT_FOUND for no such link; GONE (`details.state`) for one that has ended or is used up; UNAUTHENTICATED without the
 * PIN it asks for, or with a wrong one (`details.guessesLeft`); FORBIDDEN when it is locked; TOO_MANY_REQUESTS; BUSY
 */
export async function openShare(
  services: Services,
  asked: { readonly id: string; readonly secret: string; readonly pin?: string | undefined },
  from: string | undefined,
  onFound: (found: Found) => void = () => {},
): Promise<Opened> {
  const first = await findBySecret(services, asked.id, asked.secret);
  onFound(first);
  await refuseUnlessActive(services, first, from);
  const { tenant, link } = first;
  const guess = link.pin === undefined ? undefined : await rightGuess(services, first, asked, from);
  return beginSession(services, tenant, link.id, guess, from);
}

async function refuseUnlessActive(
  services: Services,
  { tenant, link, state }: Found,
  from: string | undefined,
): Promise<void> {
  if (state === 'active') return;
  const at = services.clock.now();
  await services.index.write([actWrite(tenant, link.id, { at, act: 'refused', state, ...(from && { from }) })]);
  throw refusalOf(state);
}

const refusalOf = (state: ShareState): PacsError =>
  state === 'locked'
    ? new PacsError('FORBIDDEN', 'the link is locked: there were too many wrong PINs', { details: { state } })
    : new PacsError('GONE', 'the link opens no more', { details: { state } });

/**
 * A guess is written down before it is looked at, and taken back when it was right: however many come at once, by however many
 * processes, no more than the allowed number are ever compared. Guesses that are under way count until it is known what they were.
 * @returns when the guess began, by which it is taken back
 */
async function rightGuess(
  services: Services,
  { tenant, link: { id } }: Found,
  { secret, pin }: { readonly secret: string; readonly pin?: string | undefined },
  from: string | undefined,
): Promise<number> {
  if (pin === undefined)
    throw new PacsError('UNAUTHENTICATED', 'the link asks for a PIN', { details: { pin: 'needed' } });
  const { at, record } = await reserveGuess(services, tenant, id, from);
  if (await isPin(record, pin, secret)) return at;
  const guessesLeft = await countWrong(services, tenant, id, at, from);
  throw new PacsError('UNAUTHENTICATED', 'the PIN is wrong', { details: { pin: 'wrong', guessesLeft } });
}

async function reserveGuess(
  services: Services,
  tenant: Tenant,
  id: string,
  from: string | undefined,
): Promise<{ at: number; record: PinRecord }> {
  const { clock, index, limits } = services;
  const giveUpAt = clock.now() + WAIT_MS;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const current = await found(services, tenant, id);
    await refuseUnlessActive(services, current, from);
    const pin = current.link.pin!;
    const at = clock.now();
    if (pin.wrong + pin.pending.length >= limits.sharePinGuesses) {
      // Not locked, but it would be if all that are under way were wrong.
      if (at >= giveUpAt) break;
      await clock.sleep(LOOK_MS);
      continue;
    }
    const next: PinRecord = { ...pin, pending: [...pin.pending, at] };
    if ((await index.write([linkWrite(tenant, current.link, { pin: next })])).committed) return { at, record: pin };
    await clock.sleep(attempt);
  }
  throw new PacsError('TOO_MANY_REQUESTS', 'others are trying to open this link', {
    details: { retryAfterSeconds: 2 },
  });
}

/** @returns how many guesses are left */
async function countWrong(
  services: Services,
  tenant: Tenant,
  id: string,
  guess: number,
  from: string | undefined,
): Promise<number> {
  const { clock, index, limits } = services;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { link } = await found(services, tenant, id);
    const pin = link.pin!;
    const settled: PinRecord = { ...pin, wrong: pin.wrong + 1, pending: without(pin.pending, guess) };
    const at = clock.now();
    const isLast = settled.wrong >= limits.sharePinGuesses;
    const place = from === undefined ? {} : { from };
    const outcome = await index.write([
      linkWrite(tenant, link, { pin: settled }),
      actWrite(tenant, id, { at, act: 'wrongPin', ...place }),
      ...(isLast ? [actWrite(tenant, id, { at, act: 'locked', ...place })] : []),
    ]);
    if (outcome.committed) return Math.max(0, limits.sharePinGuesses - settled.wrong);
    await clock.sleep(attempt);
  }
  // It stays among the pending ones, and counts as wrong from GUESS_MS on.
  throw new PacsError('BUSY', 'the link is being opened by too many', {
    details: { id, retryAfterSeconds: GUESS_MS / 1000 },
  });
}

/** One of the guesses that began at this moment. */
function without(pending: readonly number[], guess: number): number[] {
  const at = pending.indexOf(guess);
  return at < 0 ? [...pending] : pending.toSpliced(at, 1);
}

async function beginSession(
  services: Services,
  tenant: Tenant,
  id: string,
  guess: number | undefined,
  from: string | undefined,
): Promise<Opened> {
  const { clock, index, limits } = services;
  const token = Buffer.from(clock.randomBytes(TOKEN_BYTES)).toString('base64url');
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const current = await found(services, tenant, id);
    const { link, state } = current;
    // The guess that is being taken back is no reason to be locked out by oneself.
    if (state !== 'active') {
      if (guess !== undefined) await takeBack(services, tenant, link, guess);
      await refuseUnlessActive(services, current, from);
    }
    const at = clock.now();
    const endsAt = Math.min(at + limits.shareSessionMs, link.expiresAt);
    const live = link.sessions.filter(({ expiresAt }) => expiresAt > at);
    const outcome = await index.write([
      linkWrite(tenant, link, {
        openings: link.openings + 1,
        lastOpenedAt: at,
        sessions: [...live, { hash: hashOf(token), expiresAt: endsAt }].slice(-limits.shareSessions),
        ...(guess !== undefined && { pin: { ...link.pin!, pending: without(link.pin!.pending, guess) } }),
      }),
      actWrite(tenant, id, { at, act: 'opened', ...(from !== undefined && { from }) }),
      ...eventWrites(tenant, link, 'ShareOpened', at),
    ]);
    if (outcome.committed) return { tenant, link, state, token: `${tenant}.${token}`, endsAt };
    await clock.sleep(attempt);
  }
  throw new PacsError('BUSY', 'the link is being opened by too many', { details: { id } });
}

/** Best effort: what is not taken back counts as a wrong guess after a while. */
async function takeBack({ index }: Services, tenant: Tenant, link: ShareRecord, guess: number): Promise<void> {
  const pin = { ...link.pin!, pending: without(link.pin!.pending, guess) };
  await index.write([linkWrite(tenant, link, { pin })]);
}

/** The token of a session names the tenant, which is no secret; what is behind it is. */
const TOKEN = /^([a-z0-9][a-z0-9-]{0,31})\.([\w-]{43})$/;

/**
 * The link of a session, read anew for each request: what was revoked a moment ago is over. Undefined: there is no such session, or it
 * has ended.
 */
export async function sessionOf(
  { index, clock }: Pick<Services, 'index' | 'clock'>,
  id: string,
  token: string,
): Promise<{ readonly tenant: Tenant; readonly link: ShareRecord; readonly endsAt: number } | undefined> {
  const [, tenant, random] = TOKEN.exec(token) ?? [];
  if (tenant === undefined || random === undefined) return undefined;
  const item = await index.get(shareKeys.link(tenant, id));
  const link = item && sharedAt(item);
  if (link === undefined || link.ended !== undefined) return undefined;
  const hash = Buffer.from(hashOf(random));
  const session = link.sessions.find((one) => timingSafeEqual(Buffer.from(one.hash), hash));
  const now = clock.now();
  if (session === undefined || session.expiresAt <= now || link.expiresAt <= now) return undefined;
  return { tenant, link, endsAt: session.expiresAt };
}

/** Ends one session; the link stays as it is. */
export async function closeSession(services: Services, id: string, token: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const open = await sessionOf(services, id, token);
    if (open === undefined) return;
    const hash = hashOf(TOKEN.exec(token)![2]!);
    const sessions = open.link.sessions.filter((one) => one.hash !== hash);
    if ((await services.index.write([linkWrite(open.tenant, open.link, { sessions })])).committed) return;
    await services.clock.sleep(attempt);
  }
}
