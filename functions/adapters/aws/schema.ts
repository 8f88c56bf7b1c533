/**
 * What the AWS adapters and the infrastructure must agree on: names and shapes, no code that runs. The infrastructure builds
 * table, buckets and queues from these constants; nothing else types them again. Access patterns: docs/dynamodb.md.
 */

/** The one table: records of core/archive/records.ts and core/search/postings.ts, as DynamoIndexTable lays them out. */
export const TABLE = {
  /** HASH key, string: a partition of the port, some of them parted into shards (see SCATTERED) */
  partitionKey: 'p',
  /** RANGE key, string */
  sortKey: 's',
  /**
   * what the stream shows: what a global table must have. A table cannot be given another stream together with its first replica, so it has
   * this one before there is any. Nobody is granted the stream; it is encrypted as the table is.
   */
  streamViewType: 'NEW_AND_OLD_IMAGES',
  /** nothing in the table may vanish by itself: no time to live */
  timeToLiveAttribute: undefined,
  /** no secondary indexes: every list is a partition that the archive writes itself */
  globalSecondaryIndexes: [],
} as const;

/** Attributes of an item beside its keys. */
export const ITEM = {
  /** B: the record (item-codec.ts), deflated where that is shorter */
  data: 'd',
  /** N: the record's top-level number `version`, which conditions compare */
  version: 'v',
  /** S: who wrote the item last, so that a repeated write recognises its own */
  writer: 'w',
  /** N: a sum made by `add`, one attribute for each name */
  sumPrefix: 'n:',
} as const;

/** Stands between a partition of the port, which cannot hold it, and what the adapter adds to it. */
export const PARTITION_SEPARATOR = '\u0000';

/**
 * Partitions that many writers write to at the same time: their writes would meet in one partition of DynamoDB, which takes 1,000 write
 * units a second. They lie in several, by a hash of the sort key; a query reads all of them and merges. Each shard is a call more
 * of a query, so there are no more than 500 instances a second of one series need (docs/dynamodb.md).
 */
export const SCATTERED: readonly Scattered[] = [
  { partition: /^[^|]*\|(pending|unfolded)$/, shards: 16 },
  { partition: /^[^|]*\|rates$/, shards: 16 },
  { partition: /^[^|]*\|metadata\|/, shards: 4 },
  { partition: /^[^|]*\|instances\|/, shards: 2 },
  // Deltas alone: what stands beside them, the study and its series, is read more often than written.
  { partition: /^[^|]*\|study\|/, prefix: 'delta|', shards: 4 },
];

export interface Scattered {
  readonly partition: RegExp;
  /** of the sort keys that are scattered; the others stay together. None: all are */
  readonly prefix?: string;
  readonly shards: number;
}

/**
 * A log: appended records lie in the partitions `{log}␀in␀{shard}` until a reader gives them their place, in pages
 * `{log}␀pages` (docs/decisions/0081-a-log-without-a-hot-key.md). The stream of the table shows both; a rule that
 * wakes a reader of the log filters for partition keys with this prefix behind the log's name.
 */
export const LOG = {
  shards: 8,
  inbox: (log: string, shard: number): string => `${log}${PARTITION_SEPARATOR}in${PARTITION_SEPARATOR}${shard}`,
  pages: (log: string): string => `${log}${PARTITION_SEPARATOR}pages`,
} as const;

/** The archive bucket. Keys are those of the BlobStore: `{tenant}/{Study}/{Series}/{SOP}.{version}.dcm` and what lies beside it. */
export const ARCHIVE_BUCKET = {
  versioned: true,
  objectLock: true,
  /** beside the DICOM objects of a series */
  suffixes: { object: '.dcm', metadata: '.json', frameTable: '.frames', seriesMetadata: '.json.gz' },
} as const;

/** The landing bucket: what clients upload by signed URLs until it is stored. Nothing in it is archived; it expires. */
export const LANDING_BUCKET = {
  /** parts of store transactions (docs/store-transactions.md): `{prefix}{tenant}/{transaction}/{object}/{part}` */
  prefix: '_uploads/',
  /** whole objects that somebody put there to be stored, `{incomingPrefix}{tenant}/…`: S3 tells the queue `ingest` of each */
  incomingPrefix: 'incoming/',
  /** copies of objects that HealthImaging imports, and what it says of them: `{imagingPrefix}{tenant}/{Study}/{batch}/` */
  imagingPrefix: '_imaging/',
  /** days after which what nobody committed is deleted, and unfinished multipart uploads are ended */
  expireDays: 7,
} as const;

/**
 * Tags of objects by which lifecycle rules choose. An object without tags goes the default way: Standard, after `defaultFirstStepDays`
 * without access to an infrequent class, later to Glacier Instant Retrieval, always readable at once. Objects under
 * 128 KB (tables, documents) stay where they are, as S3 does by default.
 */
export const LIFECYCLE_TAG = {
  key: 'nephos-tier',
  /** never leaves Standard */
  hot: 'hot',
  /** goes to Glacier Deep Archive: hours to have it back */
  deep: 'deep',
} as const;
export const DEFAULT_FIRST_STEP_DAYS = 90;

/** SHA-256 of the whole object in its metadata, lower-case hex (`x-amz-meta-…`), where it is known before the upload ends. */
export const SHA256_METADATA = 'sha256';

/**
 * The queues, by the kind of work as the archive names it. Each has a queue of dead letters beside it, named `{name}-dead`, by a
 * redrive policy with `maxReceiveCount`. A message is JSON of { payload, notBefore? } (sqs-job-queue.ts).
 */
export const QUEUES = {
  'study-quiet': { visibilitySeconds: 300, maxReceiveCount: 10 },
  'finish-removal': { visibilitySeconds: 300, maxReceiveCount: 10 },
  'storage-commitment': { visibilitySeconds: 300, maxReceiveCount: 10 },
  /** committed store transactions: objects whose parts have all arrived */
  'store-uploaded': { visibilitySeconds: 900, maxReceiveCount: 10 },
  /** performed procedure steps that have ended: whether all that they name has arrived */
  'procedure-step-ended': { visibilitySeconds: 300, maxReceiveCount: 10 },
  /** series on their way back from slow media */
  restore: { visibilitySeconds: 300, maxReceiveCount: 10 },
  /** studies on their way into HealthImaging; more than its own waiting for a job */
  placement: { visibilitySeconds: 900, maxReceiveCount: 100 },
  /** studies of which de-identified copies are made */
  deidentify: { visibilitySeconds: 900, maxReceiveCount: 10 },
  /** studies that are sent on to other archives; what was stored, to be taken in by the rules */
  route: { visibilitySeconds: 900, maxReceiveCount: 10 },
  /** EventBridge's events of objects that S3 has moved or restored */
  moved: { visibilitySeconds: 300, maxReceiveCount: 10 },
  /** S3 events of objects that came to rest below `LANDING_BUCKET.incomingPrefix` */
  ingest: { visibilitySeconds: 900, maxReceiveCount: 5 },
} as const satisfies Record<string, QueueShape>;

export interface QueueShape {
  /** s; longer than the longest run of the function that works the queue off */
  readonly visibilitySeconds: number;
  readonly maxReceiveCount: number;
}

/** Physical name of a queue; `stage` keeps installations in one account apart. */
export const queueName = (stage: string, kind: string): string => `${stage}-${kind}`;
export const deadLetterName = (stage: string, kind: string): string => `${stage}-${kind}-dead`;
/** seconds: the most that SQS delays or hides a message */
export const SQS_DELAY_LIMIT_SECONDS = 900;
export const SQS_VISIBILITY_LIMIT_SECONDS = 43_200;

/** Where S3 delivers the inventory of the archive bucket, in the bucket of logs. */
export const INVENTORY = { prefix: 'inventory', id: 'all-objects' } as const;
