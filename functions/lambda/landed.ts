import type { EventBridgeEvent, S3Event, SQSRecord } from 'aws-lambda';
import { LANDING_BUCKET } from '#adapters/aws/schema.ts';
import { type StoreOutcome, storeObject } from '#core/archive/store.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { CloudArchive } from './archive.ts';
import { logger } from './observe.ts';

const { incomingPrefix } = LANDING_BUCKET;

/**
 * Stores objects that were put below `incoming/<tenant>/` of the landing bucket, and removes them there when they are safe. Told twice, or
 * told of what is gone: done before. What can never be stored stays where it is until the bucket forgets it, and is said in the log.
 *
 * Senders choose the names, and some use one again and again. So it is the very version that the event speaks of which is read and removed; another that
 * was put under its name, before or while this is stored, has an event of its own.
 */
export async function storeLanded(archive: CloudArchive, record: SQSRecord): Promise<'done' | 'refused'> {
  let result: 'done' | 'refused' = 'done';
  for (const landed of landedIn(record.body)) if ((await storeOne(archive, landed)) === 'refused') result = 'refused';
  await archive.services.audit.flush();
  return result;
}

interface Landed {
  readonly key: string;
  /** VersionId; where the bucket keeps versions, as the landing bucket does */
  readonly version?: string | undefined;
}

async function storeOne({ services, config }: CloudArchive, { key, version }: Landed): Promise<'done' | 'refused'> {
  const tenant = config.tenants.find((one) => key.startsWith(`${incomingPrefix}${one}/`));
  if (tenant === undefined) return 'refused';
  // Who has taken his object away again does not want it stored.
  if (!(await services.landing.head(key))) return 'done';
  const objects = (version !== undefined && services.landing.ofVersion?.(version)) || services.landing;
  if (objects !== services.landing && !(await objects.head(key))) return 'done';
  services.audit.admit(true);
  const { outcome } = storeObject(services, { tenant, source: 'INGEST' }, objects.read(key));
  const stored = await outcome;
  if (stored.kind === 'failed' && stored.error.row.resend !== 'never') throw stored.error;
  await recordLanded(services, tenant, stored);
  if (stored.kind === 'failed') {
    // The key is its sender's own choice: it is not written to the log.
    logger.warn('ingest-refused', { tenant, code: stored.error.code, ...stored.id });
    return 'refused';
  }
  await objects.delete(key);
  return 'done';
}

/** Who has put it there, S3 does not tell: CloudTrail does, where the bucket is watched. The objects of a study are one entry and a count. */
function recordLanded({ audit, clock }: Services, tenant: string, { kind, id, ...more }: StoreOutcome): Promise<void> {
  const { StudyInstanceUID } = id;
  const error = 'error' in more ? more.error.code : undefined;
  return audit.recordOnce(tenant, `ingest ${kind} ${StudyInstanceUID}`, {
    ...{ at: clock.now(), event: 'DataImport', action: 'C', outcome: error === undefined ? 0 : 4 },
    ...{ subject: 'ingest', roles: [], door: 'system', transaction: 'IngestObject', instances: 1 },
    ...(StudyInstanceUID !== undefined && { studies: [StudyInstanceUID] }),
    ...(error !== undefined && { error }),
  });
}

/** Of S3's own notification, or EventBridge's. */
function landedIn(body: string): Landed[] {
  const event = JSON.parse(body) as Partial<
    S3Event & EventBridgeEvent<string, { object?: { key?: string; 'version-id'?: string } }>
  >;
  if (event.Records)
    return event.Records.map(({ s3: { object } }) => ({
      key: decodeURIComponent(object.key.replaceAll('+', ' ')),
      version: object.versionId,
    }));
  const { key, 'version-id': version } = event.detail?.object ?? {};
  if (key !== undefined) return [{ key, version }];
  if ('Event' in event) return []; // s3:TestEvent, when the notification is set up
  throw new PacsError('BAD_REQUEST', 'a message is no event of S3');
}
