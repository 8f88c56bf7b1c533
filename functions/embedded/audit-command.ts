import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { auditKeysFolder, readAuditKeys } from '#adapters/local/audit-signer.ts';
import { segmentPrefix } from '#core/audit/seal.ts';
import { type AuditReport, verifyAudit, verifySegments } from '#core/audit/verify.ts';
import type { Archive } from './archive.ts';
import { type Config, ConfigError } from './config.ts';

export interface AuditOptions {
  readonly to?: string | undefined;
  /** folder of public keys; the archive's own where absent */
  readonly keys?: string | undefined;
  /** hash of a seal that must be in the trail */
  readonly expect?: string | undefined;
}

/** Checks segments that were exported, with nothing but the public keys: no archive is opened. */
export async function verifyExportedAudit(folder: string, { keys, expect }: AuditOptions): Promise<AuditReport> {
  if (keys === undefined) throw new ConfigError('name the folder of public keys: --keys FOLDER');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.ndjson')).sort();
  async function* texts(): AsyncGenerator<string> {
    for (const name of names) yield await readFile(join(folder, name), 'utf8');
  }
  return verifySegments(texts(), { keys: await readAuditKeys(keys), expectedHead: expect });
}

/** Checks the trail where it is kept: sealed segments, index, and what is not sealed yet. */
export const verifyOwnAudit = async (
  { services }: Archive,
  { tenant, dataDir }: Config,
  { keys = auditKeysFolder(dataDir), expect }: AuditOptions,
): Promise<AuditReport> => verifyAudit(services, tenant, { keys: await readAuditKeys(keys), expectedHead: expect });

/** Copies the sealed segments into a folder. @returns how many */
export async function exportAudit({ services: { blobs } }: Archive, { tenant }: Config, to: string): Promise<number> {
  let segments = 0;
  for await (const { key } of blobs.list(segmentPrefix(tenant))) {
    await writeFile(join(to, basename(key)), await blobs.readBytes(key), { flag: 'wx' });
    segments++;
  }
  return segments;
}

/** One line for a person. */
export function describeReport({ segments, entries, head, tenant, defect }: AuditReport): string {
  if (defect === undefined)
    return `the trail${tenant === undefined ? '' : ` of ${tenant}`} is whole: ${entries} entries, ${segments} sealed segments; newest seal ${head}`;
  const where = defect.entry === undefined ? '' : `, entry ${defect.entry}`;
  return `${defect.kind}: segment ${defect.segment}${where}; ${entries} entries before it are sound`;
}
