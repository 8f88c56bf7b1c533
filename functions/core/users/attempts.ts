import { createHash } from 'node:crypto';
import { doubledMs } from '../backoff.ts';
import { PacsError } from '../errors.ts';
import { putExpiring, unexpired } from '../expiring.ts';
import type { Clock } from '../ports/clock.ts';
import type { Condition, IndexTable, Item, Key } from '../ports/index-table.ts';

/**
 * What is counted: guesses at one person from one address, at one person from anywhere, from one address at anybody. Each has guesses that
 * cost nothing; after them every further one doubles the wait. From anywhere there are more of them: nobody should be able to keep a
 * colleague out by guessing wrong for him. From where somebody has been in of late what is guessed at him from anywhere does not count at all, or
 * whoever has many addresses could keep him from his work.
 */
const FREE = { pair: 5, person: 20, address: 50 } as const;
type Kind = keyof typeof FREE;

const DELAY = { firstMs: 1_000, mostMs: 15 * 60_000 } as const;
/** Failures are forgotten when there has been none for this long (ms). */
const REMEMBERED_MS = 24 * 60 * 60_000;
/** An address is known as a person's for this long after he was last in from there (ms). */
const KNOWN_MS = 30 * 24 * 60 * 60_000;
/** Others who count at the same moment come first; after so many of them one is told to come again. */
const TRIES = 40;

export interface Attempt {
  readonly tenant: string;
  /** as it was typed, in its normal form: it need not be anybody's */
  readonly name: string;
  /** undefined: this machine itself, which stands for everybody behind a proxy on it */
  readonly address: string | undefined;
}

interface Counted {
  readonly kind: Kind;
  readonly key: Key;
  readonly failures: number;
  readonly notBefore: number;
  readonly condition: Condition;
  readonly free: number;
}

/** A guess that may be made. */
export interface Reserved extends Attempt {
  /** when it is wrong, the next one must wait */
  readonly locks: boolean;
  /** what it was counted as, by kind of count */
  readonly counts: Readonly<Partial<Record<Kind, number>>>;
}

/**
 * Counts guesses before they are made, so that a hundred at the same moment, in any number of processes, are not one more than one after the
 * other, and one that a crash interrupts has counted. Right ones are taken back.
 */
export class Attempts {
  readonly #index: IndexTable;
  readonly #clock: Clock;

  constructor({ index, clock }: { readonly index: IndexTable; readonly clock: Clock }) {
    this.#index = index;
    this.#clock = clock;
  }

  /**
   * Counts one guess as wrong.
   * @throws PacsError TOO_MANY_REQUESTS when it may not be made yet; BUSY
   */
  async reserve(attempt: Attempt): Promise<Reserved> {
    const isKnown = await this.#isKnown(attempt);
    const kinds = keysOf(attempt).filter(([kind]) => kind !== 'person' || !isKnown);
    return this.#change(kinds, (counted, now) => {
      const waitMs = Math.max(...counted.map(({ notBefore }) => notBefore - now));
      if (waitMs > 0) throw tooMany(waitMs);
      const changed = counted.map((one) => {
        const failures = one.failures + 1;
        return { ...one, failures, notBefore: now + guessDelayMs(failures, one.free) };
      });
      const locks = changed.some(({ notBefore }) => notBefore > now);
      const counts = Object.fromEntries(changed.map(({ kind, failures }) => [kind, failures]));
      return { changed, result: { ...attempt, locks, counts } };
    });
  }

  /** The guess was right, but more is asked of the person: it has not counted. */
  async takeBack(reserved: Reserved): Promise<void> {
    const kinds = keysOf(reserved).filter(([kind]) => reserved.counts[kind] !== undefined);
    await this.#change(kinds, (counted, now) => ({
      changed: counted.map((one) => uncounted(one, reserved.counts[one.kind]!, now)),
      result: undefined,
    }));
  }

  /** The person is in: what was guessed at him is forgotten, and the address known as his; what was guessed from there at others is not. */
  async forget(reserved: Reserved): Promise<void> {
    await this.#change(keysOf(reserved), (counted, now) => ({
      changed: counted.map((one) =>
        one.kind === 'address'
          ? uncounted(one, reserved.counts.address!, now)
          : { ...one, failures: 0, notBefore: now },
      ),
      result: undefined,
    }));
    const key = knownKey(reserved);
    if (key === undefined) return;
    await this.#index.write(putExpiring(this.#clock, key, { item: {}, expiresAt: this.#clock.now() + KNOWN_MS }));
  }

  async #isKnown(attempt: Attempt): Promise<boolean> {
    const key = knownKey(attempt);
    return key !== undefined && unexpired(await this.#index.get(key), this.#clock) !== undefined;
  }

  /** Puts new counts in place of those that were read; where somebody else has counted meanwhile, once more. */
  async #change<T>(
    keys: readonly [Kind, Key][],
    change: (counted: readonly Counted[], now: number) => { readonly changed: readonly Counted[]; readonly result: T },
  ): Promise<T> {
    for (let tries = 0; tries < TRIES; tries++) {
      const now = this.#clock.now();
      const { changed, result } = change(await this.#read(keys, now), now);
      const write = changed.flatMap((one) => {
        const item: Item = { failures: one.failures, notBefore: one.notBefore };
        return putExpiring(this.#clock, one.key, { item, expiresAt: now + REMEMBERED_MS, if: one.condition });
      });
      if ((await this.#index.write(write)).committed) return result;
      await this.#clock.sleep(5 + (this.#clock.randomBytes(1)[0]! % 20));
    }
    throw new PacsError('BUSY', 'too many are signing in at the moment');
  }

  async #read(keys: readonly [Kind, Key][], now: number): Promise<Counted[]> {
    const items = await this.#index.getMany(keys.map(([, key]) => key));
    return keys.map(([kind, key], at) => {
      const item = items[at];
      const isOver = item === undefined || Number(item.expiresAt) <= now;
      return {
        kind,
        key,
        failures: isOver ? 0 : Number(item.failures),
        notBefore: isOver ? 0 : Number(item.notBefore),
        condition: item === undefined ? 'absent' : { version: Number(item.version) },
        free: FREE[kind],
      };
    });
  }
}

/** One less; the wait that it brought with it is over, unless somebody has guessed since. */
const uncounted = (one: Counted, count: number, now: number): Counted => ({
  ...one,
  failures: Math.max(0, one.failures - 1),
  notBefore: one.failures === count ? now : one.notBefore,
});

/** How long to wait behind the `failures`-th wrong guess (ms). The first `free - 1` cost nothing. */
export const guessDelayMs = (failures: number, free: number): number =>
  failures < free ? 0 : doubledMs(failures - free + 1, DELAY);

/** Names are kept as digests: people type passwords into the wrong field. */
const digestOf = (name: string): string => createHash('sha256').update(name).digest('base64url').slice(0, 22);

/** That a person has been in from an address; a proxy on this machine, which stands for everybody, is nobody's. */
const knownKey = ({ tenant, name, address }: Attempt): Key | undefined =>
  address === undefined
    ? undefined
    : { partition: `${tenant}|attempts`, sort: ['known', digestOf(name), address].join('|') };

function keysOf({ tenant, name, address }: Attempt): [Kind, Key][] {
  const key = (kind: Kind, ...parts: string[]): [Kind, Key] => [
    kind,
    { partition: `${tenant}|attempts`, sort: [kind, ...parts].join('|') },
  ];
  const person = digestOf(name);
  return address === undefined
    ? [key('pair', person, 'local'), key('person', person)]
    : [key('pair', person, address), key('person', person), key('address', address)];
}

const tooMany = (waitMs: number): PacsError =>
  new PacsError('TOO_MANY_REQUESTS', 'too many wrong attempts: wait before the next one', {
    details: { retryAfterSeconds: Math.ceil(waitMs / 1000) },
  });
