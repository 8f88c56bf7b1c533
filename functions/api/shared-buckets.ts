import { doubledMs } from '#core/backoff.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Key } from '#core/ports/index-table.ts';
import type { RateLedger, RateOutcome, RateStep, Standing } from '#core/ports/rate-ledger.ts';
import {
  OwnBuckets,
  type Rate,
  type RateBuckets,
  type RateName,
  type Rates,
  remember,
  textOf,
} from './rate-buckets.ts';

/** How long a lot may be used (ms). */
const LOT_MS = 5_000;
/** A first lot is so little that it may be used for longer; so long is believed, too, what the ledger said of bytes: whoever moves many asks it anyway (ms). */
const FIRST_LOT_MS = 60_000;
/** So many processes may draw first lots again and again, and leave them unused, before all of the rate is lost to that. */
const PROCESSES = 500;
/** A lot is never more than this part of a full bucket: what is in one process is missing in the others. */
const LOT_SHARE = 1 / 20;
/** Whoever was refused does not ask the ledger again before this. */
const PAUSE = { firstMs: 250, mostMs: 2_000 } as const;
/** After the ledger has failed each process keeps the rates by itself for this long (ms). */
const ALONE_MS = 5_000;
const HELD_MS = 24 * 60 * 60 * 1000;
/** ms: of sums of fractions */
const ROUNDING = 0.001;

/** Rates that are so low that what others have used in a few seconds is all there is; so long is believed that there was nothing (ms). */
const CLEAN_MS = 5_000;
const WATCHED: ReadonlySet<RateName> = new Set(['failures', 'frontFailures']);

interface Lot {
  size: number;
  left: number;
  drawnAt: number;
  endsAt: number;
  refusedUntil: number;
  refusals: number;
  drawing: Promise<void> | undefined;
}
interface Account {
  standing: Standing;
  readAt: number;
  reading: Promise<void> | undefined;
  readonly lots: Partial<Record<RateName, Lot>>;
  /** used, and not yet in the ledger */
  readonly owed: Partial<Record<RateName, number>>;
}

/**
 * Buckets that processes share by a ledger. Requests are drawn from it in lots before they are used: a principal has, in however many processes,
 * never more than rate × time and one full bucket. A lot begins with a five-hundredth of what the rate gives in five seconds, good for a minute, and doubles
 * each time that one is used up within five seconds; then what is left after five seconds is forfeited. So a quiet principal costs a write a minute in each
 * process, and a busy one a write for ever more requests. Bytes, and failures, are known only when they have happened: they are written down when there are as many as in a first lot,
 * and up to then each process may have as many that others know nothing of.
 *
 * When the ledger fails, nobody is refused because of that: each process then keeps the rates by itself for a while.
 */
export class SharedBuckets implements RateBuckets {
  readonly #rates: Rates;
  readonly #clock: Pick<Clock, 'now' | 'randomBytes'>;
  readonly #ledger: RateLedger;
  readonly #onFailure: (error: unknown) => void;
  readonly #own: OwnBuckets;
  readonly #accounts = new Map<string, Account>();
  #aloneUntil = 0;

  constructor(
    rates: Rates,
    clock: Pick<Clock, 'now' | 'randomBytes'>,
    ledger: RateLedger,
    onFailure: (error: unknown) => void,
  ) {
    this.#rates = rates;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#onFailure = onFailure;
    this.#own = new OwnBuckets(rates, clock);
  }

  async take(key: Key, name: RateName): Promise<number> {
    const rate = this.#rates[name];
    if (rate === undefined) return 0;
    const account = this.#account(key);
    account.lots[name] ??= {
      size: 0,
      left: 0,
      drawnAt: Number.NEGATIVE_INFINITY,
      endsAt: 0,
      refusedUntil: 0,
      refusals: 0,
      drawing: undefined,
    };
    const lot = account.lots[name];
    for (;;) {
      const now = this.#clock.now();
      if (lot.left >= 1 && now < lot.endsAt) {
        lot.left--;
        return 0;
      }
      if (now < lot.refusedUntil) return Math.ceil(lot.refusedUntil - now);
      if (now < this.#aloneUntil) return this.#own.take(key, name);
      lot.drawing ??= this.#draw(key, name, rate, account, lot).finally(() => {
        lot.drawing = undefined;
      });
      await lot.drawing;
    }
  }

  async spend(key: Key, name: RateName, amount: number): Promise<number> {
    const rate = this.#rates[name];
    if (rate === undefined) return 0;
    if (this.#clock.now() < this.#aloneUntil) return this.#own.spend(key, name, amount);
    const account = this.#account(key);
    const owed = (account.owed[name] ?? 0) + amount;
    account.owed[name] = owed;
    if (owed >= leastLot(rate)) {
      account.owed[name] = 0;
      await this.#asked(account, () => this.#advance(key, name, account, { by: owed * msOf(rate) }));
    }
    return this.#missingMs(account, name, rate, 0);
  }

  async waitMs(key: Key, name: RateName, amount: number): Promise<number> {
    const rate = this.#rates[name];
    if (rate === undefined) return 0;
    const account = this.#account(key);
    if (this.#clock.now() >= this.#aloneUntil && !this.#isFresh(account, name)) {
      account.reading ??= this.#asked(account, async () => ({ standing: await this.#ledger.read(key) })).finally(() => {
        account.reading = undefined;
      });
      await account.reading;
    }
    if (this.#clock.now() < this.#aloneUntil) return this.#own.waitMs(key, name, amount);
    return this.#missingMs(account, name, rate, amount);
  }

  async hold(key: Key): Promise<void> {
    const wasKnown = this.isKnown(key);
    await this.#own.hold(key);
    if (wasKnown) return;
    const account = this.#account(key);
    const now = this.#clock.now();
    if (now >= this.#aloneUntil)
      await this.#asked(account, () =>
        this.#ledger.advance(key, 'held', { now, by: HELD_MS, notBeyond: now + HELD_MS }),
      );
  }

  async isHeld(key: Key): Promise<boolean> {
    if (this.isKnown(key)) return true;
    const account = this.#account(key);
    const now = this.#clock.now();
    if (now >= this.#aloneUntil && now >= account.readAt + CLEAN_MS)
      await this.#asked(account, async () => ({ standing: await this.#ledger.read(key) }));
    return (account.standing.held ?? 0) > now;
  }

  isKnown(key: Key): boolean {
    return this.#own.isKnown(key);
  }

  /** The next lot, or what there is of it. */
  async #draw(key: Key, name: RateName, rate: Rate, account: Account, lot: Lot): Promise<void> {
    const now = this.#clock.now();
    const wasUsedUp = lot.left < 1 && now < lot.drawnAt + LOT_MS;
    const most = Math.max(1, Math.floor(rate.capacity * LOT_SHARE));
    const least = leastLot(rate);
    const size = Math.max(least, wasUsedUp ? Math.min(most, lot.size * 2) : 0);
    const notBeyond = now + fullMs(rate) + ROUNDING;
    const ask = (requests: number) => this.#advance(key, name, account, { by: requests * msOf(rate), notBeyond });
    let drawn = size;
    await this.#asked(account, async () => {
      let outcome = await ask(size);
      if (!outcome.advanced) {
        drawn = Math.min(size, Math.floor((notBeyond - Math.max(now, outcome.standing[name] ?? 0)) / msOf(rate)));
        if (drawn >= 1) outcome = await ask(drawn);
      }
      const endsAt = now + (drawn > least ? LOT_MS : FIRST_LOT_MS);
      Object.assign(lot, { size, left: outcome.advanced ? drawn : 0, drawnAt: now, endsAt });
      if (outcome.advanced) lot.refusals = 0;
      else {
        const [random = 0] = this.#clock.randomBytes(1);
        const pauseMs = doubledMs(++lot.refusals, PAUSE) * (0.5 + random / 512);
        const untilThereIsOne = (outcome.standing[name] ?? now) + msOf(rate) - fullMs(rate);
        lot.refusedUntil = Math.max(untilThereIsOne, now + pauseMs);
      }
      return outcome;
    });
  }

  #advance(key: Key, name: RateName, account: Account, step: Omit<RateStep, 'now'>): Promise<RateOutcome> {
    return this.#ledger.advance(key, name, { now: this.#clock.now(), believed: account.standing[name], ...step });
  }

  /** What the ledger says is believed for a while; when it fails, what this process knows by itself. */
  async #asked(account: Account, ask: () => Promise<{ readonly standing: Standing }>): Promise<void> {
    try {
      const { standing } = await ask();
      // Answers may overtake each other; an instant only ever moves on.
      const names = Object.keys({ ...account.standing, ...standing });
      account.standing = Object.fromEntries(
        names.map((name) => [name, Math.max(account.standing[name] ?? 0, standing[name] ?? 0)]),
      );
      account.readAt = this.#clock.now();
    } catch (error) {
      this.#aloneUntil = this.#clock.now() + ALONE_MS;
      this.#onFailure(error);
    }
  }

  /** Where somebody has failed, the others are asked each time before the next token is looked at. */
  #isFresh({ standing, readAt }: Account, name: RateName): boolean {
    const now = this.#clock.now();
    if (!WATCHED.has(name)) return now < readAt + FIRST_LOT_MS;
    return (standing[name] ?? 0) <= now && now < readAt + CLEAN_MS;
  }

  #missingMs(account: Account, name: RateName, rate: Rate, amount: number): number {
    const now = this.#clock.now();
    const until = Math.max(now, account.standing[name] ?? 0) + ((account.owed[name] ?? 0) + amount) * msOf(rate);
    return Math.max(0, Math.ceil(until - now - fullMs(rate) - ROUNDING));
  }

  #account(key: Key): Account {
    const account = this.#accounts.get(textOf(key)) ?? {
      standing: {},
      readAt: Number.NEGATIVE_INFINITY,
      reading: undefined,
      lots: {},
      owed: {},
    };
    remember(this.#accounts, textOf(key), account);
    return account;
  }
}

/** of one unit (ms) */
const msOf = ({ perSecond }: Rate): number => 1_000 / perSecond;
/** of a full bucket (ms) */
const fullMs = ({ perSecond, capacity }: Rate): number => (capacity / perSecond) * 1_000;
const leastLot = ({ perSecond }: Rate): number => Math.max(1, Math.floor((perSecond * LOT_MS) / 1_000 / PROCESSES));
