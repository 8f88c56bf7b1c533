import { DeleteImageSetCommand, GetImageSetCommand } from '@aws-sdk/client-medical-imaging';
import type { Tenant } from '#core/archive/records.ts';
import { asRecord, recordsIn, type WriteOperation } from '#core/ports/index-table.ts';
import { retrying } from '../retry.ts';
import type { HealthImagingOptions } from './options.ts';
import { type MemberRecord, type PlacedRecord, placementKeys, RECORDS_PAGE } from './placement-records.ts';

const WRITES_AT_ONCE = 50;
const HEADS_AT_ONCE = 16;

interface Member extends MemberRecord {
  readonly sop: string;
  readonly sort: string;
}

/**
 * Deletes the image sets of a study that hold an object which the archive has removed for good: whose blob is gone. HealthImaging deletes
 * whole image sets (0.25 a second, and not at once): one a call, and what it was told before is looked at until it is gone. Instances of
 * such a set that are still here lose their place, and can be placed anew.
 *
 *   objects a b in set X ── b purged ── DeleteImageSet X ── … ── X is gone: places of a and b forgotten ── a is placed anew
 */
export async function removeImageSets(
  options: HealthImagingOptions,
  tenant: Tenant,
  study: string,
): Promise<'removing' | 'removed' | 'placeAgain'> {
  let result: 'removed' | 'placeAgain' = 'removed';
  for (const [imageSetId, members] of await membersOf(options, tenant, study)) {
    const gone = await goneOf(options, members);
    if (gone.length === 0) continue;
    if (!(await isDeleted(options, imageSetId))) return 'removing';
    await forget(options, tenant, study, imageSetId, members);
    if (gone.length < members.length) result = 'placeAgain';
  }
  return result;
}

async function membersOf(
  { index }: HealthImagingOptions,
  tenant: Tenant,
  study: string,
): Promise<Map<string, Member[]>> {
  const members = new Map<string, Member[]>();
  for await (const { sort, item } of recordsIn(index, {
    partition: placementKeys.members(tenant, study),
    limit: RECORDS_PAGE,
  })) {
    const [imageSetId = '', sop = ''] = sort.split('|');
    const { blobKey } = asRecord<MemberRecord>(item);
    const member = { sop, sort, blobKey };
    const known = members.get(imageSetId);
    if (known) known.push(member);
    else members.set(imageSetId, [member]);
  }
  return members;
}

/** What lies in the trash is still there, and may come back. */
async function goneOf({ archive }: HealthImagingOptions, members: readonly Member[]): Promise<Member[]> {
  const gone: Member[] = [];
  for (let at = 0; at < members.length; at += HEADS_AT_ONCE) {
    const looked = members.slice(at, at + HEADS_AT_ONCE);
    const found = await Promise.all(looked.map(({ blobKey }) => archive.head(blobKey)));
    gone.push(...looked.filter((_, i) => found[i] === undefined));
  }
  return gone;
}

/** Whether the image set is gone; it is told to go where it has not been told. */
async function isDeleted(options: HealthImagingOptions, imageSetId: string): Promise<boolean> {
  const { client, datastoreId } = options;
  const at = { datastoreId, imageSetId };
  try {
    const found = await called(options, () => client.send(new GetImageSetCommand(at)));
    if (found.imageSetState === 'DELETED') return true;
    // Being imported into, copied or updated by somebody: later.
    if (found.imageSetState !== 'ACTIVE') return false;
    const { imageSetState } = await called(options, () => client.send(new DeleteImageSetCommand(at)));
    return imageSetState === 'DELETED';
  } catch (error) {
    const { name } = error as { name?: string };
    if (name === 'ResourceNotFoundException') return true;
    if (name === 'ConflictException') return false;
    throw error;
  }
}

/** The places first: who dies in between finds the members again. */
async function forget(
  { index }: HealthImagingOptions,
  tenant: Tenant,
  study: string,
  imageSetId: string,
  members: readonly Member[],
): Promise<void> {
  const sets: WriteOperation[] = [];
  const partition = placementKeys.sets(tenant, study);
  for await (const { sort } of recordsIn(index, { partition, limit: RECORDS_PAGE }))
    if (sort.split('|')[1] === imageSetId) sets.push({ kind: 'delete', key: { partition, sort } });
  for (let at = 0; at < sets.length; at += WRITES_AT_ONCE) await index.write(sets.slice(at, at + WRITES_AT_ONCE));
  for (let at = 0; at < members.length; at += WRITES_AT_ONCE) {
    const some = members.slice(at, at + WRITES_AT_ONCE);
    const keys = [...new Set(some.map(({ sop }) => sop))].map((sop) => placementKeys.placed(tenant, study, sop));
    const places = (await index.getMany(keys)) as (PlacedRecord | undefined)[];
    const operations: WriteOperation[] = keys
      .filter((_, i) => places[i]?.imageSetId === imageSetId)
      .map((key) => ({ kind: 'delete', key }));
    if (operations.length > 0) await index.write(operations);
    const ofMembers = placementKeys.members(tenant, study);
    await index.write(some.map(({ sort }) => ({ kind: 'delete', key: { partition: ofMembers, sort } })));
  }
}

const called = <T>({ clock, retry }: HealthImagingOptions, call: () => Promise<T>): Promise<T> =>
  retrying({ clock, policy: retry, changes: false }, call);
