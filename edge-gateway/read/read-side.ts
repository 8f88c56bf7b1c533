import type { EdgeContext } from '../context.ts';
import { Recheck } from '../forward/recheck.ts';
import type { Upstream } from '../upstream.ts';
import type { CacheState } from './cache.ts';
import { Fetcher } from './fetch.ts';
import type { Inventory } from './inventory.ts';
import { ForwardKnowledge } from './knowledge.ts';
import { UpstreamArchive } from './upstream-archive.ts';
import { StudyUsage } from './usage.ts';

/** What the services and workers that read share; one for each gateway. */
export interface ReadSide {
  /** the archive that answers queries: the first of the configuration */
  readonly archive: () => UpstreamArchive;
  readonly fetcher: Fetcher;
  readonly usage: StudyUsage;
  readonly knowledge: ForwardKnowledge;
  readonly recheck: Recheck;
  /** what the last look at the cache has found; undefined until there was one */
  cache: (CacheState & { readonly at: number }) | undefined;
  /** a person wants the archives to be asked for all that is here */
  isInventoryWanted: boolean;
  /** the last such look, as far as it is */
  inventory: Inventory | undefined;
}

const sides = new WeakMap<object, ReadSide>();

/** The read side of a gateway. */
export function readSideOf(context: EdgeContext): ReadSide {
  const { services } = context;
  const known = sides.get(services);
  if (known !== undefined) return known;
  const archives = new WeakMap<Upstream, UpstreamArchive>();
  const archive = (): UpstreamArchive => {
    const upstream = context.upstreams[0]!;
    const made = archives.get(upstream) ?? new UpstreamArchive(upstream, context.clock);
    archives.set(upstream, made);
    return made;
  };
  const recheck = new Recheck(context);
  const side: ReadSide = {
    archive,
    fetcher: new Fetcher(services, archive, context.log),
    usage: new StudyUsage(services.index, context.clock),
    knowledge: new ForwardKnowledge(context, recheck),
    recheck,
    cache: undefined,
    isInventoryWanted: false,
    inventory: undefined,
  };
  sides.set(services, side);
  return side;
}
