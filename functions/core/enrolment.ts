import { createHash } from 'node:crypto';
import type { PublicJwk } from './client-proof.ts';
import { clientKey, forgetClient, type MachineClient, newRecord, recordClient } from './clients.ts';
import { newEnrolmentCode, readEnrolmentCode } from './enrolment-code.ts';
import { PacsError } from './errors.ts';
import { isGatewayId } from './gateways.ts';
import { newVersion } from './ids.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';
import { asRecord, type IndexTable, type Item, type Key } from './ports/index-table.ts';

/** An invitation for one gateway: whoever brings the code, once and in time, becomes it. The code itself is nowhere. */
export interface Enrolment {
  readonly id: string;
  /** the gateway's id */
  readonly gateway: string;
  readonly createdAt: number;
  readonly createdBy: string;
  /** ms since 1970 */
  readonly expiresAt: number;
  /** Ed25519, PEM: whose signed configurations the gateway is to take */
  readonly configurationKey?: string | undefined;
}

interface Ports {
  readonly index: IndexTable;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** enrolments of a tenant that wait */
const ENROLMENTS = 100;

const enrolmentKey = (tenant: string, id: string): Key => ({ partition: `${tenant}|enrolments`, sort: id });
const codeKey = (hash: string): Key => ({ partition: `_system|enrolment|${hash}`, sort: 'enrolment' });
/** which client a gateway is at present */
const gatewayClientKey = (tenant: string, gateway: string): Key => ({
  partition: `${tenant}|gatewayclients`,
  sort: gateway,
});
const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** @returns with the code, which nobody can be told again. @throws PacsError BAD_REQUEST; TOO_LARGE while too many wait */
export async function invite(
  { index, clock }: Ports,
  tenant: string,
  asked: Pick<Enrolment, 'gateway' | 'createdBy' | 'expiresAt' | 'configurationKey'>,
): Promise<Enrolment & { readonly code: string }> {
  if (!isGatewayId(asked.gateway)) throw new PacsError('BAD_REQUEST', 'a gateway’s id is [a-z0-9][a-z0-9-]{0,62}');
  const { partition } = enrolmentKey(tenant, '');
  const { records } = await index.query({ partition, limit: ENROLMENTS });
  const over = records.filter(({ item }) => Number(item.expiresAt) <= clock.now());
  if (records.length - over.length >= ENROLMENTS)
    throw new PacsError('TOO_LARGE', 'too many enrolments wait', { details: { limit: ENROLMENTS } });
  const code = newEnrolmentCode(clock);
  const hash = hashOf(code);
  const enrolment: Enrolment = { id: newVersion(clock), createdAt: clock.now(), ...asked };
  await index.write([
    { kind: 'put', key: enrolmentKey(tenant, enrolment.id), item: { ...enrolment, hash } },
    { kind: 'put', key: codeKey(hash), item: { tenant, id: enrolment.id } },
    ...over.slice(0, 40).flatMap(({ sort, item }) => [
      { kind: 'delete' as const, key: { partition, sort } },
      { kind: 'delete' as const, key: codeKey(String(item.hash)) },
    ]),
  ]);
  return { ...enrolment, code };
}

/** Those that wait, the newest first. */
export async function listEnrolments({ index, clock }: Ports, tenant: string): Promise<Enrolment[]> {
  const { partition } = enrolmentKey(tenant, '');
  const { records } = await index.query({ partition, descending: true, limit: 2 * ENROLMENTS });
  return records
    .map(({ item: { hash: _, ...enrolment } }) => asRecord<Enrolment>(enrolment))
    .filter(({ expiresAt }) => expiresAt > clock.now());
}

/** The code opens nothing any more. @throws PacsError NOT_FOUND */
export async function withdrawEnrolment({ index }: Ports, tenant: string, id: string): Promise<void> {
  const item = await index.get(enrolmentKey(tenant, id));
  if (item === undefined) throw new PacsError('NOT_FOUND', 'there is no such enrolment');
  await index.write([
    { kind: 'delete', key: enrolmentKey(tenant, id) },
    { kind: 'delete', key: codeKey(String(item.hash)) },
  ]);
}

/**
 * Exchanges a code for the identity of its gateway: a client that signs with `key`. Whatever the gateway was before ends.
 *
 * Two that bring the same code at once: the write deletes the code where it is still there, so one of them finds it gone.
 * @throws PacsError BAD_REQUEST for a code that is mistyped; UNAUTHENTICATED for one that nobody gave out, is over or was used;
 * TOO_MANY_REQUESTS
 */
export async function enrol(
  ports: Ports,
  typed: string,
  key: PublicJwk,
  from: string | undefined,
): Promise<{ readonly tenant: string; readonly enrolment: Enrolment; readonly client: MachineClient }> {
  const { index, clock } = ports;
  const code = readEnrolmentCode(typed);
  // It says nothing of any code that there is: the check character is no secret.
  if (code === undefined)
    throw new PacsError('BAD_REQUEST', 'the code is mistyped: its characters do not fit together');
  await countAttempt(ports, from);
  const hash = hashOf(code);
  const found = (await index.get(codeKey(hash))) as { tenant: string; id: string } | undefined;
  const item = found && (await index.get(enrolmentKey(found.tenant, found.id)));
  if (found === undefined || item === undefined || Number(item.expiresAt) <= clock.now()) throw refusal();
  const { hash: _, ...rest } = item;
  const enrolment = asRecord<Enrolment>(rest);
  const { tenant } = found;
  const { gateway, createdBy } = enrolment;
  const record = newRecord(
    clock,
    { name: gateway, gateway, roles: ['gateway'], method: 'private_key_jwt', keys: [key], certificates: [] },
    createdBy,
  );
  const current = await index.get(gatewayClientKey(tenant, gateway));
  const before = current && (await index.get(clientKey(tenant, String(current.client))));
  const version = Number(current?.version ?? 0);
  const outcome = await index.write([
    { kind: 'delete', key: codeKey(hash), if: 'present' },
    { kind: 'delete', key: enrolmentKey(tenant, enrolment.id) },
    {
      kind: 'put',
      key: gatewayClientKey(tenant, gateway),
      item: { version: version + 1, client: record.id },
      if: current === undefined ? 'absent' : { version },
    },
    ...recordClient(tenant, record),
    ...(before ? forgetClient(tenant, asRecord<MachineClient>(before)) : []),
  ]);
  if (!outcome.committed) throw refusal();
  return { tenant, enrolment, client: record };
}

const refusal = (): PacsError =>
  new PacsError('UNAUTHENTICATED', 'the code is not valid: it was used, it is over, or it was never given out');

const WINDOW_MS = 10 * 60 * 1000;
/** Addresses share this many counters, so that what is kept of them does not grow. */
const COUNTERS = 4_096;

/**
 * Counts before it looks: whoever guesses many at once gets no further than one after another. Two of one address at the same moment:
 * one of them is told to come again.
 * @throws PacsError TOO_MANY_REQUESTS
 */
async function countAttempt({ index, clock, limits }: Ports, from = 'unknown'): Promise<void> {
  const counter = Number.parseInt(hashOf(from).slice(0, 6), 16) % COUNTERS;
  await count(`address ${counter}`, limits.enrolmentAttempts);
  await count('all', limits.enrolmentAttemptsOfAll);

  async function count(name: string, most: number): Promise<void> {
    const key = { partition: `_system|enrolmentattempts|${name}`, sort: 'count' };
    const window = Math.floor(clock.now() / WINDOW_MS);
    const item = await index.get(key);
    const attempts = item?.window === window ? Number(item.attempts) : 0;
    const retryAfterSeconds = attempts >= most ? Math.ceil(((window + 1) * WINDOW_MS - clock.now()) / 1000) : 1;
    const next: Item = { version: Number(item?.version ?? 0) + 1, window, attempts: attempts + 1 };
    const counted =
      attempts < most &&
      (
        await index.write([
          { kind: 'put', key, item: next, if: item === undefined ? 'absent' : { version: Number(item.version) } },
        ])
      ).committed;
    if (!counted)
      throw new PacsError('TOO_MANY_REQUESTS', 'too many codes have been tried', { details: { retryAfterSeconds } });
  }
}
