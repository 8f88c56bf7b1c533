/** What the cost model supposes and nobody measured. Every number is shown in docs/costs.md. */

export const ASSUMED = {
  /** objects of one request of a gateway */
  objectsPerStoreRequest: 25,
  /** the store function: GB-s for each object (1 GB for 60 ms) and each request (1 GB for 50 ms) */
  storeGbSecondsPerObject: 0.06,
  storeGbSecondsPerRequest: 0.05,
  /** the retrieve function, 1.73 GB for 30 ms; the search function, 1 GB for 60 ms */
  readGbSeconds: 0.052,
  searchGbSeconds: 0.06,
  /** frames that one request of a viewer asks for */
  framesPerRequest: 1,
  /** pages of the study list that are looked at for each study read */
  searchesPerRead: 3,
  /** share of a study's bytes that a first read and a look at it as a prior send */
  firstReadShare: 1,
  priorReadShare: 0.3,
  /** lines of logs for each request (bytes) */
  logBytesPerRequest: 700,
  /** what HTJ2K makes of an object's bytes, for HealthImaging's storage */
  htj2kRatio: 0.45,
  /** of Google's structured index (bytes) */
  googleIndexBytesPerInstance: 2_048,
  /** months in each class, as infra/read-tiers.ts has it by default: nobody reads a study after its first 60 days */
  standardMonths: 2,
  frequentMonths: 1,
  infrequentMonths: 2,
  /**
   * What stands in one region all month; test/infra compares it with the templates. Alarms as they are paid, by the metrics they look at, a
   * composite one as five; rules of a firewall; queues that functions poll; keys; runs of the sweeper a month.
   */
  alarms: 71,
  firewallRules: 4,
  queues: 10,
  keys: 2,
  pollsPerQueueMonth: 5 * 3 * 60 * 24 * 30,
  sweepsPerMonth: 6 * 24 * 30,
  sweepGbSeconds: 0.5,
  sweepReadUnits: 37,
  sweepWriteUnits: 1,
} as const;
