import type { Config } from './config.ts';
import { tenantsOfUsers } from './dicom-users.ts';

/** Whose trails this host keeps: the archive's own tenant, and those that AE titles and users of associations belong to. */
export function tenantsOf({ tenant, dicom }: Pick<Config, 'tenant' | 'dicom'>): string[] {
  const { allowed, users } = dicom;
  const ofEntities = allowed === 'any' ? [] : allowed.flatMap((entity) => entity.tenant ?? []);
  return [...new Set([tenant, ...ofEntities, ...(users === undefined ? [] : tenantsOfUsers(users, tenant))])];
}
