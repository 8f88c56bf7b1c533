import type { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Services } from '#core/services.ts';
import type { MoveAccess } from '#dimse/services/move.ts';
import type { Log } from '#embedded/log.ts';
import type { EdgeConfig } from './config.ts';
import type { Disk } from './disk.ts';
import type { Forwarder } from './forward/forwarder.ts';
import type { Upstream } from './upstream.ts';

/** What every part of the gateway gets. */
export interface EdgeContext {
  /** as last loaded: ask for it when it is needed, never keep it */
  readonly config: EdgeConfig;
  readonly tenant: string;
  /** the local archive: what modalities sent, and what was fetched from upstream */
  readonly services: Services;
  /** the queues of `services`, and what can be asked of them here */
  readonly jobs: IndexJobQueue;
  /** who may do what over DIMSE, and where C-MOVE sends to */
  readonly access: MoveAccess;
  /** in the order of the configuration: the first one answers queries */
  readonly upstreams: readonly Upstream[];
  /** undefined when the configuration has none of that name (any more) */
  upstream(name: string): Upstream | undefined;
  /** what was stored here, on its way upstream: states, evidence, held instances */
  readonly forwarder: Forwarder;
  /** of the data folder: what is free, and whether new objects are refused */
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
}

/** Something that goes on while the gateway runs: it ends, and leaves nothing undone that a restart would not find, when `signal` aborts. */
export interface BackgroundWorker {
  readonly name: string;
  run(context: EdgeContext, signal: AbortSignal): Promise<void>;
}
