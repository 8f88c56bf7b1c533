import { asRecord, recordsIn } from '../ports/index-table.ts';
import { partitions } from '../search/postings.ts';
import { studyOfSort } from '../search/study-list.ts';
import type { Services } from '../services.ts';
import { type Problem, problemOf, type Stored } from './damage.ts';
import { listHeld } from './quarantine.ts';
import { type InstanceRecord, keys, type StudyRecord, type Tenant } from './records.ts';
import { selectedInstances } from './remove.ts';
import { listTrash } from './trash.ts';
import { trashedInstances } from './trashed.ts';
import { isKnown } from './unsettled.ts';

export interface VerifyReport {
  /** objects read whole and found with their SHA-256 */
  intact: number;
  bytes: number;
  /** objects whose bytes differ from what was received, or are gone */
  damaged: { blobKey: string; SOPInstanceUID: string; problem: Problem }[];
  /** Part 10 blobs that no record speaks of */
  orphans: string[];
  /** studies whose counts differ from their instances */
  miscounted: { StudyInstanceUID: string; counted: number; recorded: number }[];
}

/**
 * Fixity: reads every object the archive keeps (current, held, in the trash, superseded) and compares it with the SHA-256 taken
 * when it arrived; compares counts with instances; names blobs nobody knows. Changes nothing.
 */
export async function verifyArchive(
  services: Services,
  tenant: Tenant,
  onProgress: (done: number) => void = () => {},
): Promise<VerifyReport> {
  const report: VerifyReport = { intact: 0, bytes: 0, damaged: [], orphans: [], miscounted: [] };
  const known = new Set<string>();
  let done = 0;
  const check = async (stored: Stored): Promise<void> => {
    known.add(stored.blobKey);
    const problem = await problemOf(services, stored);
    if (problem) report.damaged.push({ blobKey: stored.blobKey, SOPInstanceUID: stored.SOPInstanceUID, problem });
    else {
      report.intact++;
      report.bytes += stored.sizeBytes;
    }
    onProgress(++done);
  };

  for await (const study of allStudies(services, tenant)) {
    let counted = 0;
    for await (const { stored, isCurrent } of objectsOfStudy(services, tenant, study)) {
      await check(stored);
      if (isCurrent) counted++;
    }
    const item = await services.index.get(keys.study(tenant, study));
    const recorded = item ? asRecord<StudyRecord>(item).instanceCount : 0;
    if (counted !== recorded) report.miscounted.push({ StudyInstanceUID: study, counted, recorded });
  }
  for await (const stored of objectsAside(services, tenant)) await check(stored);
  for await (const { key } of services.blobs.list(`${tenant}/`)) {
    if (key.endsWith('.dcm') && !known.has(key)) report.orphans.push(key);
  }
  await lookAgain(services, report);
  return report;
}

/** how long what is just being stored may take from its bytes to its record, or the other way when it is removed (ms) */
const SETTLES_MS = 2_000;

/** What is stored, moved or purged while an archive is verified stood elsewhere when we looked: each finding of that kind is asked for by itself. */
async function lookAgain(services: Services, report: VerifyReport): Promise<void> {
  const unknown = async (blobKeys: readonly string[]): Promise<string[]> => {
    const left: string[] = [];
    for (const key of blobKeys) {
      if (await isKnown(services, key)) continue;
      if (await services.blobs.head(key)) left.push(key);
    }
    return left;
  };
  report.orphans = await unknown(report.orphans);
  if (report.orphans.length > 0) {
    await services.clock.sleep(SETTLES_MS);
    report.orphans = await unknown(report.orphans);
  }
  const isGone = await Promise.all(
    report.damaged.map(
      async ({ blobKey, problem }) => problem === 'missing' && (await isKnown(services, blobKey)) === false,
    ),
  );
  report.damaged = report.damaged.filter((_, i) => !isGone[i]);
}

/** The current objects of a study, and those that they superseded. */
export async function* objectsOfStudy(
  services: Services,
  tenant: Tenant,
  StudyInstanceUID: string,
): AsyncGenerator<{ readonly stored: Stored; readonly isCurrent: boolean }> {
  for await (const instance of selectedInstances(services, tenant, [{ StudyInstanceUID }])) {
    yield { stored: instance, isCurrent: true };
    const { partition } = keys.superseded(tenant, instance.SOPInstanceUID, '');
    for await (const { item } of recordsIn(services.index, { partition, limit: 1_000 }))
      yield { stored: asRecord<InstanceRecord>(item), isCurrent: false };
  }
}

/** Objects that are held in quarantine, or lie in the trash. */
export async function* objectsAside(services: Services, tenant: Tenant): AsyncGenerator<Stored> {
  for (let after = ''; ; ) {
    const page = await listHeld(services, tenant, after, 200);
    yield* page.items;
    if (page.next === undefined) break;
    after = page.next;
  }
  for (let after = ''; ; ) {
    const page = await listTrash(services, tenant, after, 200);
    for (const trash of page.items)
      for await (const { instance } of trashedInstances(services, tenant, trash.id)) yield instance;
    if (page.next === undefined) break;
    after = page.next;
  }
}

/** Every visible study of the tenant, in the order of the study list. */
export async function* allStudies(services: Pick<Services, 'index'>, tenant: Tenant): AsyncGenerator<string> {
  for await (const sort of placesOfStudies(services, tenant)) yield studyOfSort(sort);
}

/** Where the studies stand in the list, behind a place. */
export async function* placesOfStudies(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  after?: string,
): AsyncGenerator<string> {
  const list = { partition: partitions.list(tenant), limit: 1_000, keysOnly: true, ...(after && { after }) };
  for await (const { sort } of recordsIn(index, list)) yield sort;
}
