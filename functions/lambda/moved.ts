import type { EventBridgeEvent, SQSRecord } from 'aws-lambda';
import { recordMove } from '#core/archive/moves.ts';
import { PacsError } from '#core/errors.ts';
import type { CloudArchive } from './archive.ts';

/** The part of S3's events that matters here ("Amazon S3 event message structure for EventBridge"). */
interface MoveDetail {
  readonly object?: { readonly key?: string };
  readonly 'destination-storage-class'?: string;
  readonly 'destination-access-tier'?: string;
}

/** Classes and tiers whose objects must be restored before they are read. */
const AWAY = new Set(['GLACIER', 'DEEP_ARCHIVE', 'ARCHIVE_ACCESS', 'DEEP_ARCHIVE_ACCESS']);

/** What S3 tells of objects that it has moved or restored. Sent at least once, in any order. @throws PacsError BAD_REQUEST for what is no such event */
export async function recordMoved({ services, config }: CloudArchive, record: SQSRecord): Promise<'done' | 'refused'> {
  const event = JSON.parse(record.body) as Partial<EventBridgeEvent<string, MoveDetail>>;
  const key = event.detail?.object?.key;
  if (key === undefined) throw new PacsError('BAD_REQUEST', 'a message is no event of S3');
  const told = toldBy(event['detail-type'] ?? '', event.detail ?? {});
  if (told !== undefined) await recordMove(services, config.tenants, key, told);
  return 'done';
}

function toldBy(type: string, detail: MoveDetail): 'ONLINE' | 'OFFLINE' | undefined {
  if (type === 'Object Restore Completed') return 'ONLINE';
  if (type === 'Object Restore Expired') return 'OFFLINE';
  const to = detail['destination-storage-class'] ?? detail['destination-access-tier'];
  // Out of Intelligent-Tiering's archive it comes back for good.
  return to === undefined ? undefined : AWAY.has(to) ? 'OFFLINE' : 'ONLINE';
}
