import { wholeOf } from '../access/confine.ts';
import { StudyReach } from '../access/reach.ts';
import { type Action, authorize, type Principal } from '../access.ts';
import { eventWrite } from '../archive/feed.ts';
import { type ArchiveEvent, keys, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { isUID, newVersion } from '../ids.ts';
import type { Limits } from '../limits.ts';
import { asItem, type IndexTable, type Key, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { guestPrincipal } from './guest.ts';
import { newPin, PIN } from './pin.ts';
import {
  actWrite,
  hashOf,
  linkWrite,
  SHARE_SCOPES,
  type ShareRecord,
  type ShareScope,
  type ShareView,
  sharedAt,
  shareKeys,
  stateOf,
  type UploadRule,
  viewOf,
} from './records.ts';

const SECRET_BYTES = 32;
const PURPOSE_CHARACTERS = 300;
const RECEIVER_CHARACTERS = 100;
const OPENINGS_MOST = 1_000;
const HOUR_MS = 60 * 60 * 1000;
const ATTEMPTS = 20;

/** What somebody asks for who wants to share; unchecked. Absent: not limited, no PIN, the default time. */
export interface AskedShare {
  readonly studies?: unknown;
  readonly scopes?: unknown;
  readonly purpose?: unknown;
  readonly receiver?: unknown;
  readonly expiresInHours?: unknown;
  readonly openings?: unknown;
  readonly pin?: unknown;
  readonly upload?: unknown;
}

/** What each scope takes of whoever gives it: nobody shares more than he has. */
const NEEDED: Readonly<Record<ShareScope, readonly Action[]>> = {
  view: ['search', 'retrieve'],
  download: ['retrieve'],
  upload: ['store'],
};

/**
 * Makes a link. The secret, of 256 random bits, is told here and nowhere else.
 * @throws PacsError BAD_REQUEST; FORBIDDEN for scopes beyond the caller's rights; NOT_FOUND for studies that are not here, or not for him
 */
export async function createShare(
  services: Services,
  principal: Principal,
  asked: AskedShare,
): Promise<{ readonly link: ShareView; readonly secret: string }> {
  const { clock, index, limits } = services;
  const { tenant, subject } = principal;
  const { pin, expiresInMs, ...checked } = checkedShare(asked, limits);
  authorize(principal, 'share');
  for (const scope of checked.scopes) for (const action of NEEDED[scope]) authorize(principal, action);
  for (const study of checked.studies) await checkStudy(services, principal, study, checked.upload);
  const at = clock.now();
  const secret = Buffer.from(clock.randomBytes(SECRET_BYTES)).toString('base64url');
  const link: ShareRecord = {
    version: 1,
    id: newVersion(clock),
    ...checked,
    secretHash: hashOf(secret),
    ...(pin !== undefined && { pin: await newPin(clock, pin, secret) }),
    createdAt: at,
    createdBy: subject,
    expiresAt: at + expiresInMs,
    openings: 0,
    sessions: [],
  };
  await checkGuest(services, tenant, link);
  await checkLasting(services, tenant, link.studies);
  await index.write([
    { kind: 'put', key: shareKeys.link(tenant, link.id), item: asItem(link), if: 'absent' },
    { kind: 'put', key: shareKeys.secret(link.secretHash), item: { tenant, id: link.id } },
    { kind: 'put', key: shareKeys.due(tenant, link.expiresAt, link.id), item: {} },
    actWrite(tenant, link.id, { at, act: 'created', by: subject }),
    ...eventWrites(tenant, link, 'ShareCreated', at),
  ]);
  return { link: viewOf(link, at, limits.sharePinGuesses), secret };
}

/** One event for each study of the link. */
export const eventWrites = (
  tenant: Tenant,
  { id, studies }: ShareRecord,
  type: ArchiveEvent['type'],
  at: number,
): WriteOperation[] => studies.map((StudyInstanceUID) => eventWrite(tenant, { type, at, StudyInstanceUID, id }));

/** @throws PacsError NOT_FOUND */
async function checkStudy(
  services: Services,
  principal: Principal,
  study: string,
  upload: UploadRule | undefined,
): Promise<void> {
  authorize(principal, 'share', { StudyInstanceUID: study });
  const key = keys.study(principal.tenant, study);
  const isHere = await holdsImages(services.index, key);
  // A study that is not here yet may be sent in; one that is here but beyond the caller's reach is none of that kind.
  const mayCome = upload?.into === 'shared' && !isHere && !(await holdsImages(wholeOf(services).index, key));
  if (!isHere && !(mayCome && ((await services.reach?.admitsStudy(study)) ?? true)))
    throw new PacsError('NOT_FOUND', 'there is no such study', { details: { StudyInstanceUID: study } });
}

const holdsImages = async (index: IndexTable, key: Key): Promise<boolean> =>
  (((await index.get(key))?.instanceCount as number | undefined) ?? 0) > 0;

/** What an emergency opened for a time is not for handing on. @throws PacsError FORBIDDEN */
async function checkLasting(services: Services, tenant: Tenant, studies: readonly string[]): Promise<void> {
  if (services.reach === undefined) return;
  const whole = wholeOf(services);
  const lasting = StudyReach.kept(whole, tenant, services.reach.keep(), 'share');
  for (const study of studies)
    if (lasting !== undefined && !(await lasting.admitsStudy(study)))
      throw new PacsError('FORBIDDEN', 'an emergency access cannot be handed on by a link', {
        details: { StudyInstanceUID: study },
      });
}

/** A patient under a restriction is shown to those who are named there: a guest is not. @throws PacsError FORBIDDEN */
async function checkGuest(services: Services, tenant: Tenant, link: ShareRecord): Promise<void> {
  const whole = wholeOf(services);
  const reach = await StudyReach.open(whole, guestPrincipal(tenant, link, link.expiresAt), 'retrieve');
  for (const study of link.studies)
    if (reach !== undefined && !(await reach.admitsStudy(study)))
      throw new PacsError('FORBIDDEN', 'the patient is under a restriction: the study cannot be shared by a link', {
        details: { StudyInstanceUID: study },
      });
}

type Checked = Pick<ShareRecord, 'studies' | 'scopes' | 'purpose' | 'receiver' | 'openingsMost' | 'upload'> & {
  readonly pin: string | undefined;
  readonly expiresInMs: number;
};

function checkedShare(asked: AskedShare, limits: Limits): Checked {
  const { studies = [], scopes, expiresInHours = limits.shareDefaultMs / HOUR_MS, openings = null, pin } = asked;
  if (!Array.isArray(scopes) || scopes.length === 0 || !scopes.every((scope) => SHARE_SCOPES.includes(scope)))
    throw wrong('scopes', `some of ${SHARE_SCOPES.join(', ')}`);
  const upload = scopes.includes('upload') ? uploadRule(asked.upload) : undefined;
  if (upload === undefined && asked.upload !== undefined) throw wrong('upload', 'absent without the scope upload');
  const fewest = upload?.into === 'new' && scopes.length === 1 ? 0 : 1;
  const isList = Array.isArray(studies) && studies.every((study) => typeof study === 'string' && isUID(study));
  if (!isList || studies.length < fewest || studies.length > limits.shareStudies)
    throw wrong('studies', `${fewest} to ${limits.shareStudies} StudyInstanceUIDs`);
  if (!isWhole(expiresInHours, 1, Math.floor(limits.shareMostMs / HOUR_MS)))
    throw wrong('expiresInHours', `a whole number from 1 to ${Math.floor(limits.shareMostMs / HOUR_MS)}`);
  if (openings !== null && !isWhole(openings, 1, OPENINGS_MOST))
    throw wrong('openings', `a whole number from 1 to ${OPENINGS_MOST}, or null`);
  if (pin !== undefined && pin !== null && (typeof pin !== 'string' || !PIN.test(pin)))
    throw wrong('pin', '4 to 12 digits');
  return {
    studies: [...new Set(studies as string[])],
    scopes: SHARE_SCOPES.filter((scope) => scopes.includes(scope)),
    purpose: textOf(asked.purpose, 'purpose', PURPOSE_CHARACTERS),
    receiver: textOf(asked.receiver, 'receiver', RECEIVER_CHARACTERS),
    openingsMost: openings as number | null,
    ...(upload !== undefined && { upload }),
    pin: typeof pin === 'string' ? pin : undefined,
    expiresInMs: (expiresInHours as number) * HOUR_MS,
  };
}

/** Absent: into the studies of the link, held until somebody has looked. */
function uploadRule(asked: unknown = {}): UploadRule {
  const { into = 'shared', keep = 'hold' } = (asked ?? {}) as Record<string, unknown>;
  if (into !== 'shared' && into !== 'new') throw wrong('upload.into', 'shared or new');
  if (keep !== 'hold' && keep !== 'store') throw wrong('upload.keep', 'hold or store');
  return { into, keep };
}

function textOf(value: unknown, parameter: string, most: number): string {
  const text = typeof value === 'string' ? value.trim() : '';
  if (text === '' || text.length > most || /\p{Cc}/u.test(text))
    throw wrong(parameter, `1 to ${most} characters in one line`);
  return text;
}

const isWhole = (value: unknown, least: number, most: number): boolean =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

/** Whether somebody may see and end a link: who made it, and administrators, as far as they reach its studies. */
async function isFor(
  { reach }: Pick<Services, 'reach'>,
  principal: Principal,
  { createdBy, studies }: ShareRecord,
): Promise<boolean> {
  if (createdBy === principal.subject) return true;
  try {
    authorize(principal, 'administer');
  } catch {
    return false;
  }
  // One for whatever is new is of no study: it is for who reaches them all.
  if (principal.reach !== undefined && studies.length === 0) return false;
  for (const study of studies) if (reach !== undefined && !(await reach.admitsStudy(study))) return false;
  return true;
}

/** @throws PacsError NOT_FOUND, also where it is somebody else's */
export async function findShare(services: Services, principal: Principal, id: string): Promise<ShareRecord> {
  const item = await services.index.get(shareKeys.link(principal.tenant, id));
  const link = item && sharedAt(item);
  if (link === undefined || !(await isFor(services, principal, link)))
    throw new PacsError('NOT_FOUND', 'there is no such link', { details: { id } });
  return link;
}

export const showShare = ({ clock, limits }: Services, link: ShareRecord): ShareView =>
  viewOf(link, clock.now(), limits.sharePinGuesses);

/** Links that the caller may see, newest first; of one study, where it is given. A page may hold fewer than `limit`. */
export async function listShares(
  services: Services,
  principal: Principal,
  { after, limit, study }: { readonly after: string; readonly limit: number; readonly study?: string | undefined },
): Promise<{ readonly items: ShareView[]; readonly next?: string }> {
  const { partition } = shareKeys.link(principal.tenant, '');
  const page = await services.index.query({ partition, descending: true, limit, ...(after === '' ? {} : { after }) });
  const items: ShareView[] = [];
  for (const { item } of page.records) {
    const link = sharedAt(item);
    const isAsked = study === undefined || link.studies.includes(study);
    if (isAsked && (await isFor(services, principal, link))) items.push(showShare(services, link));
  }
  const last = page.records.at(-1);
  return page.more && last ? { items, next: last.sort } : { items };
}

/** The link and every session opened by it end at once; ended already, it stays as it is. @throws PacsError NOT_FOUND */
export async function revokeShare(services: Services, principal: Principal, id: string): Promise<ShareRecord> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const link = await findShare(services, principal, id);
    const now = services.clock.now();
    if (link.ended !== undefined || link.expiresAt <= now) return link;
    if (await end(services, principal.tenant, link, 'revoked', principal.subject)) return link;
    await services.clock.sleep(5 * attempt);
  }
  throw new PacsError('BUSY', 'the link is being changed by too many', { details: { id } });
}

async function end(
  { index, clock }: Services,
  tenant: Tenant,
  link: ShareRecord,
  how: 'revoked' | 'expired',
  by: string,
): Promise<boolean> {
  const at = clock.now();
  const outcome = await index.write([
    linkWrite(tenant, link, { ended: { how, at, by }, sessions: [] }),
    { kind: 'delete', key: shareKeys.due(tenant, link.expiresAt, link.id) },
    actWrite(tenant, link.id, { at, act: how, ...(how === 'revoked' && { by }) }),
    ...eventWrites(tenant, link, how === 'revoked' ? 'ShareRevoked' : 'ShareExpired', at),
  ]);
  return outcome.committed;
}

/** links that one sweep ends */
const SWEPT = 500;

/** Writes down that links have expired: they opened no more before that. @returns how many */
export async function sweepShares(services: Services, tenant: Tenant): Promise<number> {
  const { clock, index, limits, audit } = services;
  const { partition } = shareKeys.due(tenant, 0, '');
  const now = clock.now();
  const to = shareKeys.due(tenant, now + 1, '').sort;
  const page = await index.query({ partition, to, limit: SWEPT });
  let swept = 0;
  for (const { sort } of page.records) {
    const id = sort.slice(sort.indexOf('|') + 1);
    const item = await index.get(shareKeys.link(tenant, id));
    const link = item && sharedAt(item);
    if (link === undefined || link.ended !== undefined) {
      await index.write([{ kind: 'delete', key: { partition, sort } }]);
      continue;
    }
    if (stateOf(link, now, limits.sharePinGuesses) !== 'expired') continue;
    if (!(await end(services, tenant, link, 'expired', 'system'))) continue;
    swept++;
    await audit.record(tenant, {
      at: now,
      event: 'SecurityConfiguration',
      action: 'D',
      outcome: 0,
      subject: 'system',
      roles: [],
      door: 'system',
      transaction: 'ExpireShare',
      studies: link.studies,
      destination: `link:${id}`,
    });
  }
  return swept;
}
