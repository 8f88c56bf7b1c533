import { ASSUMED } from './assumptions.ts';
import type { CostCounts, Usage } from './counts.ts';
import type { PriceList } from './prices.ts';

/** What is stored on AWS and done there, at list prices (USD). `npm run cost` and /api/costs reckon with these alone. */

/** The calls of an operation, by what they touch. */
export const usageCost = (p: PriceList, usage: Usage): number =>
  usage.writeUnits * p.writeUnit +
  usage.readUnits * p.readUnit +
  usage.s3Puts * p.put +
  usage.s3Gets * p.get +
  usage.queueRequests * p.queueRequest;

/** A request through CloudFront, API Gateway and a function. */
export const requestCost = (p: PriceList, gbSeconds: number): number =>
  p.frontRequest + p.apiRequest + p.invocation + gbSeconds * p.gbSecond + ASSUMED.logBytesPerRequest * p.logs;

export interface Stored {
  readonly studies: number;
  readonly objects: number;
  readonly bytes: number;
}

/** Taking studies in: requests, index, objects, and what is done once they are quiet. */
export function ingestCost(p: PriceList, counts: CostCounts, { studies, objects, bytes }: Stored): number {
  const requests = Math.ceil(objects / ASSUMED.objectsPerStoreRequest);
  const gbSeconds = requests * ASSUMED.storeGbSecondsPerRequest + objects * ASSUMED.storeGbSecondsPerObject;
  return (
    studies * (usageCost(p, counts.study) + usageCost(p, counts.quiet)) +
    Math.max(0, objects - studies) * usageCost(p, counts.instance) +
    requests * requestCost(p, 0) +
    gbSeconds * p.gbSecond +
    bytes * p.toOrigin
  );
}

/** What the index holds of studies (bytes). */
export const indexBytesOf = ({ indexBytes }: CostCounts, { studies, objects }: Omit<Stored, 'bytes'>): number =>
  studies * indexBytes.study + Math.max(0, objects - studies) * indexBytes.instance;

/** A month of the index, with recovery to a point in time. */
export const indexMonth = (p: PriceList, bytes: number): number => bytes * (p.index + p.indexRecovery);

/** A month of objects that the default lifecycle moves and nobody reads, at an age of whole months: for each byte and each object. */
export function lifecycleMonth(p: PriceList, age: number): { readonly byte: number; readonly object: number } {
  const { standardMonths, frequentMonths, infrequentMonths } = ASSUMED;
  if (age < standardMonths) return { byte: p.standard, object: 0 };
  const byte =
    age < standardMonths + frequentMonths
      ? p.intFrequent
      : age < standardMonths + frequentMonths + infrequentMonths
        ? p.intInfrequent
        : p.intArchiveInstant;
  return { byte, object: p.intMonitoring + (age === standardMonths ? p.toIntelligent : 0) };
}

/** Moving an object to Deep Archive. */
export const deepMove = (p: PriceList): number => p.toDeep + p.put;
