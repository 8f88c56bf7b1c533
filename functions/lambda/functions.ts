import type { QUEUES } from '#adapters/aws/schema.ts';
import { TRANSACTIONS_PATH, TRANSACTIONS_RELATION } from '#dicomweb/transactions-link.ts';
import {
  ACCESS_NOTES,
  ALL_PAGES,
  ARCHIVE,
  AVAILABILITY,
  DELIVERIES,
  FEED_PAGES,
  GUEST_ACTS,
  type IndexGrant,
  RATES,
  RECONCILIATION,
  SEALS,
  SESSIONS,
  TIERING,
  TRAIL,
  TRAIL_PAGES,
} from './index-grants.ts';

/**
 * What is deployed: one function per kind of work, what starts it and what it may touch. Pure constants: infra builds the stacks
 * from them, tests route requests by them as API Gateway does, and compare them with the routes and queues of the archive.
 */
export interface FunctionSpec {
  /** module whose `handler` is called, from the root of the project */
  readonly entry: string;
  readonly purpose: string;
  readonly memoryMiB: number;
  readonly timeoutSeconds: number;
  /** answers by response streaming (API Gateway: ResponseTransferMode.STREAM) */
  readonly streaming: boolean;
  /** needs the image codecs beside its bundle (CODEC_FILES) */
  readonly codecs: boolean;
  readonly triggers: readonly Trigger[];
  readonly grants: Grants;
}

export type QueueName = keyof typeof QUEUES;

export type Trigger = HttpTrigger | QueueTrigger | ScheduleTrigger | { readonly kind: 'authorizer' };

/** `GET` stands for HEAD as well. `ANY` catches what no other row names. `public`: without the authorizer. */
export interface HttpTrigger {
  readonly kind: 'http';
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS' | 'ANY';
  /** as API Gateway writes it: `{name}` one segment, `{name+}` the rest */
  readonly path: string;
  readonly public?: true;
}

/** Batches with partial failures reported (ReportBatchItemFailures). */
export interface QueueTrigger {
  readonly kind: 'queue';
  readonly queue: QueueName;
  readonly batchSize: number;
  /** invocations at the same time, so that work in the background cannot starve readers */
  readonly maxConcurrency: number;
}

export interface ScheduleTrigger {
  readonly kind: 'schedule';
  /** as EventBridge writes it */
  readonly schedule: string;
}

/** In terms of the ports; infra/grants.ts has which AWS actions each takes. */
export interface Grants {
  /** what it writes there; it may read all of it */
  readonly index: readonly IndexGrant[];
  readonly archive: readonly BlobGrant[];
  readonly landing: readonly BlobGrant[];
  /** of the archive, as IAM has them; none: all keys */
  readonly archiveKeys?: string;
  /** may read the archive bucket's inventory */
  readonly inventory?: true;
  /** signs with the key of the audit trail, and reads the certificates for its repository */
  readonly seals?: true;
  /** reads the credentials that are shown to other archives */
  readonly routes?: true;
  /** asks the issuer on behalf of who signs in, and reads what the archive shows there of itself */
  readonly signsIn?: true;
  /** queues that it sends to */
  readonly sends: readonly QueueName[];
  /**
   * where a deployment has HealthImaging. `frames`: reads them; `read`: and metadata, too; `import`: has studies imported, by the landing bucket, and image sets
   * deleted; `tell`: only tells the queue `placement` what is to be removed there
   */
  readonly imaging?: 'frames' | 'read' | 'import' | 'tell';
}

/**
 * `read`: bytes, ranges and size. `write`: create-only puts, large ones in parts. `restore`: from slow media. `tier`: the tag that lifecycle rules look at.
 * `versions`: each version of what senders put under one name is read and deleted by itself.
 */
export type BlobGrant = 'read' | 'write' | 'delete' | 'list' | 'restore' | 'tier' | 'versions';

const get = (path: string): HttpTrigger => ({ kind: 'http', method: 'GET', path });
const post = (path: string): HttpTrigger => ({ kind: 'http', method: 'POST', path });
const open = (method: HttpTrigger['method'], path: string): HttpTrigger => ({
  kind: 'http',
  method,
  path,
  public: true,
});
const queue = (name: QueueName, batchSize: number, maxConcurrency: number): QueueTrigger => ({
  kind: 'queue',
  queue: name,
  batchSize,
  maxConcurrency,
});

const STUDY = '/dicomweb/studies/{study}';
const SERIES = `${STUDY}/series/{series}`;
const INSTANCE = `${SERIES}/instances/{instance}`;
const FRAMES = `${INSTANCE}/frames/{frames}`;
const COMMITMENT = '/dicomweb/commitment-requests/{transaction}';

export const FUNCTIONS = {
  store: {
    entry: 'functions/lambda/store.ts',
    purpose: 'STOW-RS within the limits of a request',
    memoryMiB: 1024,
    timeoutSeconds: 29,
    streaming: false,
    codecs: false,
    triggers: [post('/dicomweb/studies'), post(STUDY)],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete'],
      landing: [],
      sends: ['study-quiet', 'finish-removal'],
    },
  },
  search: {
    entry: 'functions/lambda/search.ts',
    purpose: 'QIDO-RS, storage commitment, capabilities, health, and the answers to what no other function is asked',
    memoryMiB: 1024,
    timeoutSeconds: 29,
    streaming: true,
    codecs: false,
    triggers: [
      get('/dicomweb/studies'),
      get('/dicomweb/series'),
      get('/dicomweb/instances'),
      get(`${STUDY}/series`),
      get(`${STUDY}/instances`),
      get(`${SERIES}/instances`),
      post(COMMITMENT),
      get(COMMITMENT),
      get('/api/restricted'),
      open('GET', '/healthz'),
      open('ANY', '/{proxy+}'),
    ],
    grants: {
      index: [TRAIL, RATES],
      archive: ['read'],
      // Metadata that is too long for the index, beside its object: core/archive/instance.ts.
      archiveKeys: '*/*/*/*.json',
      landing: [],
      sends: [],
    },
  },
  retrieve: {
    entry: 'functions/lambda/retrieve.ts',
    purpose: 'WADO-RS: studies, series, instances, metadata, frames, bulkdata',
    memoryMiB: 1769,
    timeoutSeconds: 900,
    streaming: true,
    codecs: true,
    triggers: [
      get(STUDY),
      get(SERIES),
      get(INSTANCE),
      get(`${STUDY}/metadata`),
      get(`${SERIES}/metadata`),
      get(`${INSTANCE}/metadata`),
      get(FRAMES),
      get(`${STUDY}/bulkdata`),
      get(`${SERIES}/bulkdata`),
      get(`${INSTANCE}/bulkdata`),
      get(`${INSTANCE}/bulkdata/{bulk+}`),
      get(`${STUDY}/pixeldata`),
      get(`${SERIES}/pixeldata`),
      get(`${INSTANCE}/pixeldata`),
    ],
    grants: {
      index: [TRAIL, RATES, ACCESS_NOTES, GUEST_ACTS, AVAILABILITY],
      archive: ['read'],
      landing: [],
      sends: ['restore'],
      imaging: 'read',
    },
  },
  render: {
    entry: 'functions/lambda/render.ts',
    purpose: 'Rendered images, thumbnails, WADO-URI',
    memoryMiB: 3008,
    timeoutSeconds: 120,
    streaming: true,
    codecs: true,
    triggers: [
      ...[STUDY, SERIES, INSTANCE, FRAMES].flatMap((path) => [get(`${path}/rendered`), get(`${path}/thumbnail`)]),
      get('/wado'),
    ],
    grants: {
      index: [TRAIL, RATES, ACCESS_NOTES, GUEST_ACTS, AVAILABILITY],
      archive: ['read'],
      landing: [],
      sends: ['restore'],
      imaging: 'frames',
    },
  },
  transactions: {
    entry: 'functions/lambda/transactions.ts',
    purpose: 'Store transactions: create, grant uploads, state, commit, abandon',
    memoryMiB: 1024,
    timeoutSeconds: 29,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'http', method: 'ANY', path: '/api/transactions/{proxy+}' }],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete'],
      landing: ['read', 'write', 'delete', 'list'],
      sends: ['study-quiet', 'finish-removal', 'store-uploaded'],
    },
  },
  events: {
    entry: 'functions/lambda/events.ts',
    purpose: 'The feed: pages, and server-sent events for as long as a function lives',
    memoryMiB: 512,
    timeoutSeconds: 900,
    streaming: true,
    codecs: false,
    triggers: [get('/api/events')],
    grants: { index: [TRAIL, RATES, FEED_PAGES], archive: [], landing: [], sends: [] },
  },
  admin: {
    entry: 'functions/lambda/admin.ts',
    purpose: 'The rest of the API beside DICOMweb (sessions, quarantine, trash, …) and deletion',
    memoryMiB: 1769,
    timeoutSeconds: 300,
    streaming: true,
    codecs: true,
    triggers: [
      ...[STUDY, SERIES, INSTANCE].map((path): HttpTrigger => ({ kind: 'http', method: 'DELETE', path })),
      open('GET', '/api/session'),
      open('POST', '/api/session'),
      open('DELETE', '/api/session'),
      open('GET', '/api/session/{step}'),
      // Whose account it is the function finds out by the session alone.
      open('GET', '/api/account'),
      open('ANY', '/api/account/{proxy+}'),
      open('GET', '/api/openapi.json'),
      open('POST', '/api/guest/look'),
      open('POST', '/api/guest/opening'),
      open('GET', '/api/guest/session'),
      open('DELETE', '/api/guest/session'),
      open('POST', '/api/token'),
      open('POST', '/api/enrolments/exchange'),
      open('POST', '/api/launches'),
      open('POST', '/api/launches/return'),
      { kind: 'http', method: 'ANY', path: '/api/{proxy+}' },
    ],
    grants: {
      index: [ARCHIVE, ALL_PAGES],
      archive: ['read', 'write', 'delete', 'list'],
      landing: [],
      sends: ['study-quiet', 'finish-removal', 'restore', 'procedure-step-ended', 'deidentify', 'route'],
      signsIn: true,
    },
  },
  ingest: {
    entry: 'functions/lambda/ingest.ts',
    purpose: 'Stores what lies in the landing bucket: objects of store transactions, and objects put there by others',
    memoryMiB: 1769,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [queue('store-uploaded', 1, 50), queue('ingest', 5, 50)],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete'],
      landing: ['read', 'delete', 'list', 'versions'],
      sends: ['study-quiet', 'finish-removal', 'store-uploaded'],
    },
  },
  worker: {
    entry: 'functions/lambda/worker.ts',
    purpose: 'Quiet studies (metadata preparation) and removals that were interrupted',
    memoryMiB: 1769,
    timeoutSeconds: 300,
    streaming: false,
    codecs: false,
    triggers: [
      queue('study-quiet', 5, 20),
      queue('finish-removal', 1, 5),
      queue('restore', 5, 5),
      queue('placement', 1, 2),
      queue('procedure-step-ended', 5, 5),
      queue('moved', 10, 2),
    ],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete', 'list', 'restore'],
      landing: [],
      sends: ['study-quiet', 'finish-removal', 'restore', 'placement', 'procedure-step-ended', 'route'],
      imaging: 'import',
    },
  },
  deidentify: {
    entry: 'functions/lambda/deidentify.ts',
    purpose: 'Makes de-identified copies of studies',
    memoryMiB: 3008,
    timeoutSeconds: 900,
    streaming: false,
    codecs: true,
    triggers: [queue('deidentify', 1, 5)],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete'],
      landing: [],
      sends: ['study-quiet', 'finish-removal', 'restore', 'deidentify'],
    },
  },
  route: {
    entry: 'functions/lambda/route.ts',
    purpose: 'Sends studies on to other archives, by rules',
    memoryMiB: 1024,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [queue('route', 1, 10)],
    grants: {
      index: [TRAIL, DELIVERIES, FEED_PAGES],
      archive: ['read'],
      landing: [],
      routes: true,
      sends: ['route', 'restore'],
    },
  },
  sweep: {
    entry: 'functions/lambda/sweep.ts',
    purpose: 'Puts right what interruptions left; empties the trash; ends store transactions that nobody committed',
    memoryMiB: 1024,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'schedule', schedule: 'rate(10 minutes)' }],
    grants: {
      index: [ARCHIVE],
      archive: ['read', 'write', 'delete', 'list'],
      landing: ['delete', 'list'],
      sends: ['study-quiet', 'store-uploaded', 'placement', 'deidentify', 'route'],
      imaging: 'tell',
    },
  },
  reconcile: {
    entry: 'functions/lambda/reconcile.ts',
    purpose: 'Compares the objects of the bucket with the records of the index, every night',
    memoryMiB: 1769,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'schedule', schedule: 'cron(17 2 * * ? *)' }],
    grants: { index: [RECONCILIATION], archive: ['read', 'list'], landing: [], inventory: true, sends: [] },
  },
  tier: {
    entry: 'functions/lambda/tier.ts',
    purpose: 'Gives studies that nobody reads colder tiers, every night, where a policy says so',
    memoryMiB: 1024,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'schedule', schedule: 'cron(41 3 * * ? *)' }],
    grants: { index: TIERING, archive: ['tier'], landing: [], sends: [] },
  },
  audit: {
    entry: 'functions/lambda/audit.ts',
    purpose: 'Seals the audit trail, and hands it over to a repository where there is one',
    memoryMiB: 512,
    timeoutSeconds: 900,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'schedule', schedule: 'rate(5 minutes)' }],
    grants: {
      index: [SEALS, TRAIL_PAGES],
      archive: ['read', 'write'],
      // {tenant}/audit/…: core/audit/seal.ts
      archiveKeys: '*/audit/*',
      landing: [],
      sends: [],
      seals: true,
    },
  },
  authorizer: {
    entry: 'functions/lambda/authorizer.ts',
    purpose:
      'From a bearer token or session cookie to tenant, subject and roles (REQUEST authorizer, results not cached)',
    memoryMiB: 512,
    timeoutSeconds: 10,
    streaming: false,
    codecs: false,
    triggers: [{ kind: 'authorizer' }],
    // Sessions whose tokens of the issuer have run out are renewed here.
    grants: { index: [SESSIONS, RATES], archive: [], landing: [], sends: [], signsIn: true },
  },
} as const satisfies Record<string, FunctionSpec>;

export type FunctionName = keyof typeof FUNCTIONS;

/**
 * Whether what a function sends leads back to it, by queues of others or its own: jobs that come back later do (a study that is not quiet yet, objects on
 * their way from slow media). Lambda ends such a chain after 16 rounds, unless it is told that it is meant.
 */
export function isInLoop(name: FunctionName): boolean {
  const seen = new Set<FunctionName>();
  const reaches = (from: FunctionName): boolean => {
    const { sends }: Grants = FUNCTIONS[from].grants;
    return (Object.entries(FUNCTIONS) as [FunctionName, FunctionSpec][]).some(([to, { triggers }]) => {
      if (!triggers.some((trigger) => trigger.kind === 'queue' && sends.includes(trigger.queue))) return false;
      if (to === name) return true;
      if (seen.has(to)) return false;
      seen.add(to);
      return reaches(to);
    });
  };
  return reaches(name);
}

/** Copied beside the bundles of functions with `codecs`, from node_modules/dcmjs-codecs. */
export const CODEC_FILE = 'dcmjs-native-codecs.wasm';

/**
 * What API Gateway itself says to requests over its 10 MB and Lambda's 6 MB (REQUEST_TOO_LARGE), which never reach a function: the same as
 * the store function says (dicomweb/store.ts). A Link is relative to what was asked for.
 */
export const TOO_LARGE_ANSWER = {
  headers: { link: `<${TRANSACTIONS_PATH}>; rel="${TRANSACTIONS_RELATION}"`, 'cache-control': 'no-store' },
  body: JSON.stringify({
    status: 413,
    code: 'TOO_LARGE',
    title: 'the request is too large: send fewer objects at once, or use a store transaction',
  }),
} as const;
