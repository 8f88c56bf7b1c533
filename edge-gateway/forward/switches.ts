import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import type { EdgeContext } from '../context.ts';

/** How long a destination is sent to without regard to its schedule, once somebody has asked for that (ms). */
const SEND_NOW_MS = 60 * 60 * 1000;

/** What a person has said of a destination. */
export interface Switch {
  /** nothing is sent there until it is resumed; kept over restarts */
  readonly paused: boolean;
  /** until then its bandwidth schedule does not count (ms since 1970) */
  readonly sendNowUntil: number | undefined;
}

const DEFAULT: Switch = { paused: false, sendNowUntil: undefined };

/** Pause, resume, send now: by destination. */
class Switches {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #tenant: string;
  #known: Map<string, Switch> | undefined;

  constructor(ports: { index: IndexTable; clock: Clock }, tenant: string) {
    this.#index = ports.index;
    this.#clock = ports.clock;
    this.#tenant = tenant;
  }

  async of(destination: string): Promise<Switch> {
    return (await this.#all()).get(destination) ?? DEFAULT;
  }

  /** Whether the schedule of a destination is to be heeded; only what `of` or a change has looked up is known. */
  isSendingNow(destination: string): boolean {
    return (this.#known?.get(destination)?.sendNowUntil ?? 0) > this.#clock.now();
  }

  async pause(destination: string): Promise<void> {
    await this.#set(destination, { paused: true, sendNowUntil: undefined });
  }

  async resume(destination: string): Promise<void> {
    await this.#set(destination, { ...(await this.of(destination)), paused: false });
  }

  async sendNow(destination: string): Promise<void> {
    await this.#set(destination, { paused: false, sendNowUntil: this.#clock.now() + SEND_NOW_MS });
  }

  async #set(destination: string, value: Switch): Promise<void> {
    const all = await this.#all();
    await this.#index.write([{ kind: 'put', key: this.#key(destination), item: { ...value } }]);
    all.set(destination, value);
  }

  async #all(): Promise<Map<string, Switch>> {
    if (this.#known !== undefined) return this.#known;
    const { records } = await this.#index.query({ partition: this.#key('-').partition, limit: 1_000 });
    this.#known ??= new Map(
      records.map(({ sort, item }) => [
        sort,
        { paused: item.paused === true, sendNowUntil: item.sendNowUntil as number | undefined },
      ]),
    );
    return this.#known;
  }

  #key(destination: string) {
    return { partition: `${this.#tenant}|forward|switch`, sort: destination };
  }
}

const made = new WeakMap<object, Switches>();

/** The switches of a gateway. */
export function switchesOf({ services, clock, tenant }: EdgeContext): Switches {
  const known = made.get(services) ?? new Switches({ index: services.index, clock }, tenant);
  made.set(services, known);
  return known;
}
