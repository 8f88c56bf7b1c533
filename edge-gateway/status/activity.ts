import type { Clock } from '#core/ports/clock.ts';
import { asItem, asRecord, type IndexTable } from '#core/ports/index-table.ts';

/** What has been heard of a calling AE title. Times are ms since 1970. */
export interface CallerActivity {
  readonly aeTitle: string;
  readonly lastSeenAt: number;
  /** C-STORE requests that ended well since the gateway was started, and their bytes */
  readonly objects: number;
  readonly bytes: number;
  /** requests of any kind that did not */
  readonly refused: number;
}

/** AE titles that are remembered: whoever has been silent longest is forgotten first. */
const CALLERS = 200;
const HOUR_MS = 3_600_000;
/** The rate at which objects come is that of the last week: a weekend is part of it. */
const WINDOW_HOURS = 7 * 24;

interface Kept {
  readonly callers: readonly (readonly [aeTitle: string, lastSeenAt: number])[];
  /** bytes that came in, by hour since 1970 */
  readonly hours: readonly (readonly [hour: number, bytes: number])[];
  readonly firstHour: number | null;
}

/** Who calls, and how much comes in. Kept in the index every so often, so that a restart does not make every modality unknown. */
export class Activity {
  readonly #clock: Clock;
  readonly #callers = new Map<string, { -readonly [K in keyof CallerActivity]: CallerActivity[K] }>();
  readonly #hours = new Map<number, number>();
  /** when the window began to be watched: with less than a week the rate is that of what there is */
  #firstHour: number | undefined;
  #changed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  seen(aeTitle: string): void {
    this.#caller(aeTitle);
  }

  stored(aeTitle: string, bytes: number): void {
    const caller = this.#caller(aeTitle);
    caller.objects++;
    caller.bytes += bytes;
    const hour = Math.floor(this.#clock.now() / HOUR_MS);
    this.#firstHour ??= hour;
    this.#hours.set(hour, (this.#hours.get(hour) ?? 0) + bytes);
    for (const old of this.#hours.keys()) if (old <= hour - WINDOW_HOURS) this.#hours.delete(old);
  }

  refused(aeTitle: string): void {
    this.#caller(aeTitle).refused++;
  }

  #caller(aeTitle: string): { -readonly [K in keyof CallerActivity]: CallerActivity[K] } {
    const known = this.#callers.get(aeTitle) ?? { aeTitle, lastSeenAt: 0, objects: 0, bytes: 0, refused: 0 };
    known.lastSeenAt = this.#clock.now();
    // To the end: the first of the map is the one that has been silent longest.
    this.#callers.delete(aeTitle);
    this.#callers.set(aeTitle, known);
    if (this.#callers.size > CALLERS) this.#callers.delete(this.#callers.keys().next().value!);
    this.#changed = true;
    return known;
  }

  /** The latest first. */
  get callers(): CallerActivity[] {
    return [...this.#callers.values()].reverse().map((caller) => ({ ...caller }));
  }

  /** bytes a day that have come in of late; 0: none have */
  get bytesPerDay(): number {
    const hour = Math.floor(this.#clock.now() / HOUR_MS);
    const since = Math.max(this.#firstHour ?? hour, hour - WINDOW_HOURS + 1);
    let bytes = 0;
    for (const [at, count] of this.#hours) if (at >= since && at <= hour) bytes += count;
    return (bytes / (hour - since + 1)) * 24;
  }

  /** @returns whether there was anything new to keep */
  async keep(index: IndexTable, tenant: string): Promise<boolean> {
    if (!this.#changed) return false;
    this.#changed = false;
    const kept: Kept = {
      callers: [...this.#callers.values()].map(({ aeTitle, lastSeenAt }) => [aeTitle, lastSeenAt]),
      hours: [...this.#hours],
      firstHour: this.#firstHour ?? null,
    };
    // A minute's knowledge is no loss.
    await index.write([{ kind: 'put', key: keyOf(tenant), item: asItem(kept) }], { durability: 'deferred' });
    return true;
  }

  async resume(index: IndexTable, tenant: string): Promise<void> {
    const item = await index.get(keyOf(tenant));
    if (item === undefined) return;
    const { callers, hours, firstHour } = asRecord<Kept>(item);
    for (const [aeTitle, lastSeenAt] of callers)
      if (!this.#callers.has(aeTitle))
        this.#callers.set(aeTitle, { aeTitle, lastSeenAt, objects: 0, bytes: 0, refused: 0 });
    for (const [hour, bytes] of hours) this.#hours.set(hour, (this.#hours.get(hour) ?? 0) + bytes);
    if (firstHour !== null) this.#firstHour = Math.min(firstHour, this.#firstHour ?? firstHour);
  }
}

const keyOf = (tenant: string) => ({ partition: `${tenant}|edge-activity`, sort: 'activity' });
