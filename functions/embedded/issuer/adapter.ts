import { createHash } from 'node:crypto';
import { errors } from 'oidc-provider';
import { putExpiring, unexpired } from '#core/expiring.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable, Item, Key, WriteOperation } from '#core/ports/index-table.ts';

type Payload = Record<string, unknown>;

interface Ports {
  readonly index: IndexTable;
  readonly clock: Clock;
}

/** Models that are taken back with the grant they were made under. */
const OF_A_GRANT: ReadonlySet<string> = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);
/** Records without an end of their own are not kept for ever (ms). */
const LONGEST_MS = 400 * 24 * 60 * 60 * 1000;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
const keyOf = (model: string, id: string): Key => ({
  partition: `_system|oidc|${model}|${digest(id)}`,
  sort: 'record',
});
const uidKey = (uid: string): Key => keyOf('SessionUid', uid);
const grantPartition = (grantId: string): string => `_system|oidcgrant|${digest(grantId)}`;

/**
 * The models of oidc-provider as records of the index, so that all processes of the host see the same. Codes, tokens and session ids are
 * keys by their SHA-256 only: who reads the index can use none of them.
 */
export class IssuerAdapter {
  readonly #ports: Ports;
  readonly #model: string;

  constructor(model: string, ports: Ports) {
    this.#model = model;
    this.#ports = ports;
  }

  async upsert(id: string, payload: Payload, expiresIn?: number): Promise<void> {
    const { index, clock } = this.#ports;
    const key = keyOf(this.#model, id);
    const expiresAt = clock.now() + (expiresIn === undefined ? LONGEST_MS : expiresIn * 1000);
    const { jti: _, ...kept } = payload;
    const write: WriteOperation[] = putExpiring(clock, key, { item: { payload: kept as Item }, expiresAt });
    if (this.#model === 'Session' && typeof payload.uid === 'string')
      write.push(...putExpiring(clock, uidKey(payload.uid), { item: { digest: digest(id) }, expiresAt }));
    if (OF_A_GRANT.has(this.#model) && typeof payload.grantId === 'string') {
      const member = { partition: grantPartition(payload.grantId), sort: key.partition };
      write.push(...putExpiring(clock, member, { item: {}, expiresAt }));
    }
    await index.write(write);
  }

  async find(id: string): Promise<Payload | undefined> {
    return this.#read(keyOf(this.#model, id), id);
  }

  /** A session without its id, which is nobody's to know but its browser's. */
  async findByUid(uid: string): Promise<Payload | undefined> {
    const { index, clock } = this.#ports;
    const pointer = unexpired(await index.get(uidKey(uid)), clock);
    if (typeof pointer?.digest !== 'string') return undefined;
    return this.#read({ partition: `_system|oidc|${this.#model}|${pointer.digest}`, sort: 'record' });
  }

  /** Codes of devices are not offered. */
  async findByUserCode(): Promise<undefined> {
    return undefined;
  }

  /** Once and no more, whoever else tries at the same moment. @throws InvalidGrant for the others */
  async consume(id: string): Promise<void> {
    const { index, clock } = this.#ports;
    const key = keyOf(this.#model, id);
    const record = unexpired(await index.get(key), clock);
    const payload = record?.payload as Payload | undefined;
    if (record === undefined || payload === undefined || payload.consumed !== undefined)
      throw new errors.InvalidGrant('already consumed');
    const { committed } = await index.write(
      putExpiring(clock, key, {
        item: { payload: { ...payload, consumed: Math.floor(clock.now() / 1000) } as Item },
        expiresAt: record.expiresAt,
        if: { version: record.version },
      }),
    );
    if (!committed) throw new errors.InvalidGrant('already consumed');
  }

  async destroy(id: string): Promise<void> {
    const { index } = this.#ports;
    const key = keyOf(this.#model, id);
    const payload = (await index.get(key))?.payload as Payload | undefined;
    const write: WriteOperation[] = [{ kind: 'delete', key }];
    if (this.#model === 'Session' && typeof payload?.uid === 'string')
      write.push({ kind: 'delete', key: uidKey(payload.uid) });
    await index.write(write);
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    const { index } = this.#ports;
    const partition = grantPartition(grantId);
    for (;;) {
      const { records, more } = await index.query({ partition, limit: 40, keysOnly: true });
      const write = records.flatMap(({ sort }): WriteOperation[] => [
        { kind: 'delete', key: { partition: sort, sort: 'record' } },
        { kind: 'delete', key: { partition, sort } },
      ]);
      if (write.length > 0) await index.write(write);
      if (!more) return;
    }
  }

  async #read(key: Key, id?: string): Promise<Payload | undefined> {
    const { index, clock } = this.#ports;
    const payload = unexpired(await index.get(key), clock)?.payload as Payload | undefined;
    return payload && (id === undefined ? payload : { ...payload, jti: id });
  }
}
