import counts from './cost-counts.json' with { type: 'json' };

/** What an operation takes of AWS, measured by test/cloud/cost-counts.test.ts into cost-counts.json. */
export interface Usage {
  /** of DynamoDB: 1 KB each, twice in a transaction */
  readonly writeUnits: number;
  /** of DynamoDB: 4 KB each */
  readonly readUnits: number;
  readonly s3Puts: number;
  readonly s3Gets: number;
  readonly queueRequests: number;
}

export interface CostCounts {
  /** the first instance of a study whose words the archive knows */
  readonly study: Usage;
  /** each further one, 25 a request */
  readonly instance: Usage;
  /** once the study is quiet */
  readonly quiet: Usage;
  /** a page of 25 studies */
  readonly search: Usage;
  /** of a series, prepared */
  readonly metadata: Usage;
  readonly frame: Usage;
  /** what the index grows by (bytes) */
  readonly indexBytes: { readonly study: number; readonly instance: number };
}

export const COST_COUNTS: CostCounts = counts;
