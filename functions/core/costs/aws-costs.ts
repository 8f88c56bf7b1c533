import { ASSUMED } from './assumptions.ts';
import type { CostCounts, Usage } from './counts.ts';
import type { PriceList } from './prices.ts';

/** What is stored on AWS and done there, at list prices (USD). `npm run cost` and /api/costs reckon with these alone. */

/** The calls of an operation, by what they touch. */
export const usageCost = (prices: PriceList, usage: Usage): number =>
  usage.writeUnits * prices.writeUnit +
  usage.readUnits * prices.readUnit +
  usage.s3Puts * prices.put +
  usage.s3Gets * prices.get +
  usage.queueRequests * prices.queueRequest;

/** A request through CloudFront, API Gateway and a function. */
export const requestCost = (prices: PriceList, gbSeconds: number): number =>
  prices.frontRequest +
  prices.apiRequest +
  prices.invocation +
  gbSeconds * prices.gbSecond +
  ASSUMED.logBytesPerRequest * prices.logs;

export interface Stored {
  readonly studies: number;
  readonly objects: number;
  readonly bytes: number;
}

/** Taking studies in: requests, index, objects, and what is done once they are quiet. */
export function ingestCost(prices: PriceList, counts: CostCounts, { studies, objects, bytes }: Stored): number {
  const requests = Math.ceil(objects / ASSUMED.objectsPerStoreRequest);
  const gbSeconds = requests * ASSUMED.storeGbSecondsPerRequest + objects * ASSUMED.storeGbSecondsPerObject;
  return (
    studies * (usageCost(prices, counts.study) + usageCost(prices, counts.quiet)) +
    Math.max(0, objects - studies) * usageCost(prices, counts.instance) +
    requests * requestCost(prices, 0) +
    gbSeconds * prices.gbSecond +
    bytes * prices.toOrigin
  );
}

/** What the index holds of studies (bytes). */
export const indexBytesOf = ({ indexBytes }: CostCounts, { studies, objects }: Omit<Stored, 'bytes'>): number =>
  studies * indexBytes.study + Math.max(0, objects - studies) * indexBytes.instance;

/** A month of the index, with recovery to a point in time. */
export const indexMonth = (prices: PriceList, bytes: number): number => bytes * (prices.index + prices.indexRecovery);

/** A month of objects that the default lifecycle moves and nobody reads, at an age of whole months: what each byte and each object costs then. */
export function lifecycleMonth(
  prices: PriceList,
  ageMonths: number,
): { readonly byte: number; readonly object: number } {
  const { standardMonths, frequentMonths, infrequentMonths } = ASSUMED;
  if (ageMonths < standardMonths) return { byte: prices.standard, object: 0 };
  const byte =
    ageMonths < standardMonths + frequentMonths
      ? prices.intFrequent
      : ageMonths < standardMonths + frequentMonths + infrequentMonths
        ? prices.intInfrequent
        : prices.intArchiveInstant;
  return { byte, object: prices.intMonitoring + (ageMonths === standardMonths ? prices.toIntelligent : 0) };
}

/** Moving an object to Deep Archive. */
export const deepMove = (prices: PriceList): number => prices.toDeep + prices.put;
