import { ASSUMED } from '#core/costs/assumptions.ts';
import {
  deepMove,
  indexBytesOf,
  indexMonth,
  ingestCost,
  lifecycleMonth,
  requestCost,
  usageCost,
} from '#core/costs/aws-costs.ts';
import type { CostCounts } from '#core/costs/counts.ts';
import type { PriceList } from '#core/costs/prices.ts';
import type { StudyShape } from './shapes.ts';

/** USD, of one study unless said otherwise. */
export interface StudyCost {
  readonly shape: StudyShape;
  readonly bytes: number;
  readonly ingest: number;
  readonly storageYear: number;
  readonly storageSevenYears: number;
  /** the same with the step to Deep Archive after two years */
  readonly storageSevenYearsDeep: number;
  readonly firstRead: number;
  readonly priorRead: number;
  /** of the first read: bytes to the internet */
  readonly firstReadTransfer: number;
  readonly secondRegion: { readonly ingest: number; readonly storageYear: number; readonly storageSevenYears: number };
  readonly healthImaging: {
    readonly storageYear: number;
    readonly storageSevenYears: number;
    readonly firstRead: number;
  };
  readonly google: {
    readonly ingest: number;
    readonly storageYear: number;
    readonly storageSevenYears: number;
    readonly firstRead: number;
  };
}

export function studyCost(shape: StudyShape, counts: CostCounts, p: PriceList): StudyCost {
  const { instances, series } = shape;
  const bytes = instances * shape.objectBytes;
  const stored = { studies: 1, objects: instances, bytes };
  const ingest = ingestCost(p, counts, stored);
  const indexBytes = indexBytesOf(counts, stored);
  const search = usageCost(p, counts.search) + requestCost(p, ASSUMED.searchGbSeconds);
  const metadata = usageCost(p, counts.metadata) + requestCost(p, ASSUMED.readGbSeconds);
  const frame = usageCost(p, counts.frame) + requestCost(p, ASSUMED.readGbSeconds) / ASSUMED.framesPerRequest;
  const read = (share: number): number =>
    ASSUMED.searchesPerRead * search + series * metadata + share * (instances * frame + bytes * p.toViewer);
  const writeUnits = counts.study.writeUnits + (instances - 1) * counts.instance.writeUnits + counts.quiet.writeUnits;
  const kept = (months: number, deepAfterMonths?: number): number =>
    objectStorage(p, bytes, instances, months, deepAfterMonths) + months * indexMonth(p, indexBytes);
  return {
    shape,
    bytes,
    ingest,
    storageYear: kept(12),
    storageSevenYears: kept(84),
    storageSevenYearsDeep: kept(84, 24),
    firstRead: read(ASSUMED.firstReadShare),
    priorRead: read(ASSUMED.priorReadShare),
    firstReadTransfer: ASSUMED.firstReadShare * bytes * p.toViewer,
    secondRegion: {
      ingest: writeUnits * p.replicatedUnit + instances * p.put + (bytes + indexBytes) * p.betweenRegions,
      storageYear: objectStorage(p, bytes, instances, 12) + 12 * indexBytes * p.index,
      storageSevenYears: objectStorage(p, bytes, instances, 84) + 84 * indexBytes * p.index,
    },
    healthImaging: healthImaging(shape, bytes, p),
    google: google(shape, bytes, p),
  };
}

/** USD of the objects in the tiers of the default lifecycle. @param deepAfterMonths months after which they go to Deep Archive */
function objectStorage(
  p: PriceList,
  bytes: number,
  objects: number,
  months: number,
  deepAfterMonths = Number.POSITIVE_INFINITY,
): number {
  let sum = 0;
  for (let age = 0; age < Math.min(months, deepAfterMonths); age++) {
    const { byte, object } = lifecycleMonth(p, age);
    sum += bytes * byte + objects * object;
  }
  const deepMonths = Math.max(0, months - deepAfterMonths);
  return sum + deepMonths * bytes * p.deep + (deepMonths > 0 ? objects * deepMove(p) : 0);
}

/** Frames in HTJ2K; a month at hand, then archive instant. Neither the received objects nor a way to reach it are in it. */
function healthImaging({ instances, series }: StudyShape, bytes: number, p: PriceList): StudyCost['healthImaging'] {
  const stored = Math.max(bytes * ASSUMED.htj2kRatio, 5 * 1024 ** 2);
  const storage = (months: number): number => stored * (p.imagingFrequent + (months - 1) * p.imagingArchive);
  const calls = ASSUMED.searchesPerRead + series + instances / ASSUMED.framesPerRequest;
  return { storageYear: storage(12), storageSevenYears: storage(84), firstRead: calls * p.imagingCall };
}

/** One class of storage, its index, requests by kind. No bytes to the internet, no tiers. */
function google({ instances, series }: StudyShape, bytes: number, p: PriceList): StudyCost['google'] {
  const month = bytes * p.googleBlob + instances * ASSUMED.googleIndexBytesPerInstance * p.googleIndex;
  const requests = Math.ceil(instances / ASSUMED.objectsPerStoreRequest);
  return {
    ingest: requests * p.googleRequest,
    storageYear: 12 * month,
    storageSevenYears: 84 * month,
    firstRead:
      ASSUMED.searchesPerRead * p.googleSearch + (series + instances / ASSUMED.framesPerRequest) * p.googleRequest,
  };
}

/** USD a month of a deployment that nobody uses. */
export function idleCost(p: PriceList, regions: 1 | 2): { readonly [what: string]: number } {
  const polls = ASSUMED.queues * ASSUMED.pollsPerQueueMonth * p.queueRequest;
  return {
    // Two regions have health checks, whose alarms have a key of their own.
    'keys of KMS': (regions * ASSUMED.keys + (regions - 1)) * p.key,
    'polling of the queues by Lambda': regions * polls,
    'firewalls (CloudFront and API)': (1 + regions) * (p.firewall + ASSUMED.firewallRules * p.firewallRule),
    alarms: regions * ASSUMED.alarms * p.alarm,
    'the sweeper':
      ASSUMED.sweepsPerMonth *
      (ASSUMED.sweepGbSeconds * p.gbSecond +
        ASSUMED.sweepReadUnits * p.readUnit +
        ASSUMED.sweepWriteUnits * p.replicatedUnit),
  };
}

/** The mean of the shapes by their shares. */
export const mixed = (costs: readonly StudyCost[], of: (cost: StudyCost) => number): number =>
  costs.reduce((sum, cost) => sum + cost.shape.share * of(cost), 0);
