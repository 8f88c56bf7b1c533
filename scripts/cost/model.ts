import { ASSUMED, type StudyShape } from './assumptions.ts';
import type { CostCounts, Usage } from './counts.ts';

export interface Prices {
  readonly items: Readonly<Record<string, { readonly price: number; readonly unit: string }>>;
}

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

const GIB = 1024 ** 3;
const HOURS_A_MONTH = 730;

/** Prices by name, each in USD for one of what is counted. @throws Error for a price that is not in the list */
export function priceList({ items }: Prices) {
  const of = (name: string, per = 1): number => {
    const item = items[name];
    if (item === undefined) throw new Error(`no price of ${name}`);
    return item.price / per;
  };
  return {
    standard: of('s3 storage.standard.first50tb', GIB),
    intFrequent: of('s3 storage.int.frequent', GIB),
    intInfrequent: of('s3 storage.int.infrequent', GIB),
    intArchiveInstant: of('s3 storage.int.archive_instant', GIB),
    intMonitoring: of('s3 int.monitoring.per_1k_objects_month', 1_000),
    deep: of('s3 storage.deep_archive', GIB),
    put: of('s3 req.put.standard', 1_000),
    get: of('s3 req.get.standard', 1_000),
    toIntelligent: of('s3 lifecycle.to_int', 1_000),
    toDeep: of('s3 lifecycle.to_deep_archive', 1_000),
    writeUnit: of('dynamodb ondemand.wru', 1e6),
    readUnit: of('dynamodb ondemand.rru', 1e6),
    replicatedUnit: of('dynamodb ondemand.rwru_global', 1e6),
    index: of('dynamodb storage.standard', GIB),
    indexRecovery: of('dynamodb pitr', GIB),
    gbSecond: of('lambda gb_s.arm.first7_5b'),
    invocation: of('lambda requests', 1e6),
    apiRequest: of('apigateway rest.first333m', 1e6),
    frontRequest: of('cloudfront payg.https.us', 10_000),
    toViewer: of('cloudfront payg.dto.us_eu.first10tb', GIB),
    toOrigin: of('cloudfront payg.to_origin', GIB),
    betweenRegions: of('data_transfer inter_region.use1_to_other', GIB),
    queueRequest: of('messaging_workflow sqs.standard', 1e6),
    logs: of('cloudwatch_cloudtrail logs.ingest', GIB),
    alarm: of('cloudwatch_cloudtrail alarm'),
    key: of('kms key'),
    firewall: of('security_backup waf.acl'),
    firewallRule: of('security_backup waf.rule'),
    imagingFrequent: of('healthimaging storage.frequent', GIB),
    imagingArchive: of('healthimaging storage.archive_instant', GIB),
    imagingCall: of('healthimaging api', 1_000),
    googleBlob: of('google blob', GIB / HOURS_A_MONTH),
    googleIndex: of('google structured', GIB / HOURS_A_MONTH),
    googleRequest: of('google requests.standard', 100_000),
    googleSearch: of('google requests.complex', 100_000),
  };
}
export type PriceList = ReturnType<typeof priceList>;

/** What AWS takes for the calls of an operation, by what they touch. */
const usageCost = (p: PriceList, usage: Usage): number =>
  usage.writeUnits * p.writeUnit +
  usage.readUnits * p.readUnit +
  usage.s3Puts * p.put +
  usage.s3Gets * p.get +
  usage.queueRequests * p.queueRequest;

/** A request through CloudFront, API Gateway and a function. */
const requestCost = (p: PriceList, gbSeconds: number): number =>
  p.frontRequest + p.apiRequest + p.invocation + gbSeconds * p.gbSecond + ASSUMED.logBytesPerRequest * p.logs;

export function studyCost(shape: StudyShape, counts: CostCounts, p: PriceList): StudyCost {
  const { instances, series } = shape;
  const bytes = instances * shape.objectBytes;
  const requests = Math.ceil(instances / ASSUMED.objectsPerStoreRequest);
  const later = instances - 1;
  const storeSeconds = ASSUMED.storeGbSecondsPerRequest + (ASSUMED.storeGbSecondsPerObject * instances) / requests;
  const ingest =
    usageCost(p, counts.study) +
    later * usageCost(p, counts.instance) +
    usageCost(p, counts.quiet) +
    requests * requestCost(p, storeSeconds) +
    bytes * p.toOrigin;
  const indexBytes = counts.indexBytes.study + later * counts.indexBytes.instance;
  const search = usageCost(p, counts.search) + requestCost(p, ASSUMED.searchGbSeconds);
  const metadata = usageCost(p, counts.metadata) + requestCost(p, ASSUMED.readGbSeconds);
  const frame = usageCost(p, counts.frame) + requestCost(p, ASSUMED.readGbSeconds) / ASSUMED.framesPerRequest;
  const read = (share: number): number =>
    ASSUMED.searchesPerRead * search + series * metadata + share * (instances * frame + bytes * p.toViewer);
  const writeUnits = counts.study.writeUnits + later * counts.instance.writeUnits + counts.quiet.writeUnits;
  const stored = (months: number, deepAfterMonths?: number): number =>
    objectStorage(p, bytes, instances, months, deepAfterMonths) + months * indexBytes * (p.index + p.indexRecovery);
  return {
    shape,
    bytes,
    ingest,
    storageYear: stored(12),
    storageSevenYears: stored(84),
    storageSevenYearsDeep: stored(84, 24),
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
  const { standardMonths, frequentMonths, infrequentMonths } = ASSUMED;
  const warm = Math.min(months, deepAfterMonths);
  const within = (from: number, length: number): number => Math.max(0, Math.min(warm, from + length) - from);
  const intelligent = within(standardMonths, Number.POSITIVE_INFINITY);
  const archive = standardMonths + frequentMonths + infrequentMonths;
  const byteMonths =
    within(0, standardMonths) * p.standard +
    within(standardMonths, frequentMonths) * p.intFrequent +
    within(standardMonths + frequentMonths, infrequentMonths) * p.intInfrequent +
    within(archive, Number.POSITIVE_INFINITY) * p.intArchiveInstant +
    Math.max(0, months - deepAfterMonths) * p.deep;
  const moves = (intelligent > 0 ? p.toIntelligent : 0) + (months > deepAfterMonths ? p.toDeep + p.put : 0);
  return bytes * byteMonths + objects * (intelligent * p.intMonitoring + moves);
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
    'keys of KMS': regions * p.key,
    'polling of the queues by Lambda': regions * polls,
    'firewalls (CloudFront and API)': (1 + regions) * (p.firewall + ASSUMED.firewallRules * p.firewallRule),
    alarms: regions * ASSUMED.alarms * p.alarm,
    'the sweeper': ASSUMED.sweepsPerMonth * (ASSUMED.sweepGbSeconds * p.gbSecond + ASSUMED.sweepReadUnits * p.readUnit),
  };
}

/** The mean of the shapes by their shares. */
export const mixed = (costs: readonly StudyCost[], of: (cost: StudyCost) => number): number =>
  costs.reduce((sum, cost) => sum + cost.shape.share * of(cost), 0);
