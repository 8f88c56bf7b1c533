import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { keys, type PurgeMark, type Tenant } from './records.ts';

/**
 * From when on what has had its time may be removed for good from trash and worklist (ms since 1970); in the past, as a rule.
 *
 * The clock alone tells when that is, and one that was set a year ahead would empty both at the next sweep. So each sweep notes its time.
 * Where `clockLeapMs` or more have passed since the last one, or less than nothing, the clock has leapt or the archive was off: nothing is
 * removed for `purgeHoldMs`, in which somebody can put the clock right.
 */
export async function mayPurgeFrom(services: Services, tenant: Tenant): Promise<number> {
  const { clock, index, limits } = services;
  const key = keys.purgeMark(tenant);
  const item = await index.get(key);
  const now = clock.now();
  const before = item ? asRecord<PurgeMark>(item) : { version: 0, sweptAt: now, heldUntil: now };
  const sinceMs = now - before.sweptAt;
  const hasLeapt = sinceMs < 0 || sinceMs >= limits.clockLeapMs;
  const mark: PurgeMark = {
    version: before.version + 1,
    sweptAt: now,
    heldUntil: hasLeapt ? now + limits.purgeHoldMs : before.heldUntil,
  };
  const condition = item ? { version: before.version } : 'absent';
  // Another sweep was here just now, and judges for both.
  await index.write([{ kind: 'put', key, item: asItem(mark), if: condition }]);
  return mark.heldUntil;
}
