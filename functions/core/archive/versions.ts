import { PacsError } from '../errors.ts';
import { asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type InstanceRecord, keys, type SopClaim, type Tenant, type Version } from './records.ts';

/**
 * What has been kept under one SOPInstanceUID: the current object, where there is one, then those that it superseded under the conflict
 * policy `version`, newest first, at most `limit`.
 * @throws PacsError NOT_FOUND where there is nothing
 */
export async function listVersions(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  sop: string,
  limit: number,
): Promise<{ readonly current: InstanceRecord | undefined; readonly superseded: readonly InstanceRecord[] }> {
  const { partition } = keys.superseded(tenant, sop, '');
  const [current, page] = await Promise.all([
    currentVersion(services, tenant, sop),
    services.index.query({ partition, descending: true, limit }),
  ]);
  const superseded = page.records.map(({ item }) => asRecord<InstanceRecord>(item));
  if (current === undefined && superseded.length === 0) throw nothingHere();
  return { current, superseded };
}

/** @throws PacsError NOT_FOUND */
export async function findVersion(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  sop: string,
  version: Version,
): Promise<InstanceRecord> {
  const item = await services.index.get(keys.superseded(tenant, sop, version));
  if (item !== undefined) return asRecord<InstanceRecord>(item);
  const current = await currentVersion(services, tenant, sop);
  if (current?.version !== version) throw nothingHere();
  return current;
}

async function currentVersion(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  sop: string,
): Promise<InstanceRecord | undefined> {
  const item = await index.get(keys.sop(tenant, sop));
  if (item === undefined) return undefined;
  const { StudyInstanceUID, SeriesInstanceUID } = asRecord<SopClaim>(item);
  const instance = await index.get(keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, sop));
  return asRecord<InstanceRecord>(instance);
}

const nothingHere = (): PacsError => new PacsError('NOT_FOUND', 'there is no such version of an instance');
