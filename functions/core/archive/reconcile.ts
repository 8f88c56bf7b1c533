import { PacsError } from '../errors.ts';
import { timeOf } from '../ids.ts';
import { recordsIn } from '../ports/index-table.ts';
import { instancesOfStudy } from '../retrieve/find.ts';
import { partitions } from '../search/postings.ts';
import { studyOfSort } from '../search/study-list.ts';
import type { Services } from '../services.ts';
import { addTo, emptySum, type Inventory, sameSum } from './inventory.ts';
import { readManifests } from './manifest.ts';
import { OBJECT_KEY } from './rebuild.ts';
import { keys, type Tenant } from './records.ts';

export interface ReconcileReport {
  studies: number;
  /** folders that had to be listed; with an inventory those alone in which something differs */
  listed: number;
  objects: number;
  /** records whose object is gone or has another size; the first `NAMED` of them are named */
  missing: number;
  /** objects that no record speaks of */
  unknown: number;
  named: { readonly kind: 'missing' | 'unknown'; readonly blobKey: string }[];
  /** false: the time was over; the next run goes on where this one ended */
  finished: boolean;
}

/** further findings are only a sign that it is time to look (`npm run nephos -- verify`) */
const NAMED = 100;
const PAGE = 200;

/** How far the last run came: through the list of studies, then through the folders of the store. */
interface Cursor {
  readonly phase: 'records' | 'folders';
  /** sort key in the list of studies, or a blob key */
  readonly after: string;
}
const cursorKey = (tenant: Tenant) => ({ partition: `${tenant}|reconcile`, sort: 'cursor' });

/**
 * Compares records and objects by name and size, without reading them: one listing a study, or with the store's own inventory one of
 * each study in which something differs; the inventory is hours old, so the listing decides. A run whose time is over writes down where
 * it is. Changes nothing but that; findings are for people, or `verify`.
 */
export async function reconcile(
  services: Services,
  tenant: Tenant,
  isOver: () => boolean,
  inventory?: Inventory,
): Promise<ReconcileReport> {
  const report: ReconcileReport = {
    studies: 0,
    listed: 0,
    objects: 0,
    missing: 0,
    unknown: 0,
    named: [],
    finished: true,
  };
  const item = await services.index.get(cursorKey(tenant));
  const cursor = (item as Cursor | undefined) ?? { phase: 'records', after: '' };
  const aside = await keptAside(services, tenant);
  const steps = [
    ...(cursor.phase === 'records' ? [reconcileRecords(services, tenant, aside, report, cursor.after, inventory)] : []),
    inventory
      ? reconcileInventory(services, tenant, aside, report, cursor.phase === 'folders' ? cursor.after : '', inventory)
      : reconcileFolders(services, tenant, aside, report, cursor.phase === 'folders' ? cursor.after : ''),
  ];
  let reached: Cursor = cursor;
  for (const step of steps) {
    for await (reached of step) {
      if (!isOver()) continue;
      report.finished = false;
      break;
    }
    if (!report.finished) break;
  }
  const next: Cursor = report.finished ? { phase: 'records', after: '' } : reached;
  await services.index.write([{ kind: 'put', key: cursorKey(tenant), item: { ...next } }]);
  return report;
}

/** Objects that are kept though no record of an instance speaks of them: held, in the trash, superseded. */
async function keptAside({ blobs }: Services, tenant: Tenant): Promise<Set<string>> {
  const manifests = await readManifests(blobs, tenant);
  return new Set(
    manifests.flatMap((one) =>
      one.kind === 'held'
        ? [one.held.blobKey]
        : one.kind === 'trash'
          ? one.blobKeys
          : one.kind === 'superseded'
            ? [one.blobKey]
            : [],
    ),
  );
}

/** Every study of the list with what lies in its folder; yields where it is after each. */
async function* reconcileRecords(
  services: Services,
  tenant: Tenant,
  aside: ReadonlySet<string>,
  report: ReconcileReport,
  from: string,
  inventory: Inventory | undefined,
): AsyncGenerator<Cursor> {
  const range = {
    partition: partitions.list(tenant),
    limit: PAGE,
    keysOnly: true,
    ...(from !== '' && { after: from }),
  };
  for await (const { sort } of recordsIn(services.index, range)) {
    await reconcileStudy(services, tenant, studyOfSort(sort), aside, report, inventory);
    yield { phase: 'records', after: sort };
  }
}

async function reconcileStudy(
  services: Services,
  tenant: Tenant,
  study: string,
  aside: ReadonlySet<string>,
  report: ReconcileReport,
  inventory: Inventory | undefined,
): Promise<void> {
  report.studies++;
  try {
    if (inventory) {
      const sum = emptySum();
      for await (const { blobKey, sizeBytes } of instancesOfStudy(services, tenant, study))
        addTo(sum, blobKey, sizeBytes);
      if (sameSum(sum, inventory.get(study))) {
        report.objects += sum.objects;
        return;
      }
    }
    const sizes = new Map<string, number>();
    report.listed++;
    for await (const { key, size } of services.blobs.list(`${tenant}/${study}/`))
      if (OBJECT_KEY.test(key)) sizes.set(key, size);
    for await (const { blobKey, sizeBytes } of instancesOfStudy(services, tenant, study)) {
      report.objects++;
      if (sizes.get(blobKey) !== sizeBytes) found(report, 'missing', blobKey);
      sizes.delete(blobKey);
    }
    for (const key of sizes.keys()) checkUnknown(services, key, aside, report);
  } catch (error) {
    // Deleted since it was listed: the next run sees it as it is then.
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return;
    throw error;
  }
}

/** Studies of the inventory that the index does not know: only their folders are listed. */
async function* reconcileInventory(
  services: Services,
  tenant: Tenant,
  aside: ReadonlySet<string>,
  report: ReconcileReport,
  from: string,
  inventory: Inventory,
): AsyncGenerator<Cursor> {
  const studies = [...inventory.keys()].sort();
  for (const study of studies) {
    // Behind everything in the folder, as the cursor of a run without inventory stands, which may go on with ours and we with its.
    const after = `${tenant}/${study}/~`;
    if (after <= from) continue;
    if (!(await services.index.get(keys.study(tenant, study)))) {
      report.listed++;
      for await (const { key } of services.blobs.list(`${tenant}/${study}/`))
        if (OBJECT_KEY.test(key)) checkUnknown(services, key, aside, report);
    }
    yield { phase: 'folders', after };
  }
}

/** Folders of studies that the index does not know; the others have been looked at, and are stepped over. */
async function* reconcileFolders(
  services: Services,
  tenant: Tenant,
  aside: ReadonlySet<string>,
  report: ReconcileReport,
  from: string,
): AsyncGenerator<Cursor> {
  for (let after = from, more = true; more; ) {
    more = false;
    let study: string | undefined;
    for await (const { key } of services.blobs.list(`${tenant}/`, after)) {
      const folder = key.split('/')[1]!;
      if (study === undefined) {
        study = folder;
        if (await services.index.get(keys.study(tenant, study))) {
          // Behind everything in the folder: '~' is greater than whatever stands in keys.
          after = `${tenant}/${study}/~`;
          more = true;
          break;
        }
      }
      if (folder !== study) {
        more = true;
        break;
      }
      if (OBJECT_KEY.test(key)) checkUnknown(services, key, aside, report);
      after = key;
    }
    if (more) yield { phase: 'folders', after };
  }
}

/** What is being stored right now is not known yet. */
function checkUnknown(services: Services, key: string, aside: ReadonlySet<string>, report: ReconcileReport): void {
  const storedAt = timeOf(OBJECT_KEY.exec(key)![1]!);
  const isRecent = storedAt > services.clock.now() - services.limits.pendingMs;
  if (!aside.has(key) && !isRecent) found(report, 'unknown', key);
}

function found(report: ReconcileReport, kind: 'missing' | 'unknown', blobKey: string): void {
  report[kind]++;
  if (report.named.length < NAMED) report.named.push({ kind, blobKey });
}
