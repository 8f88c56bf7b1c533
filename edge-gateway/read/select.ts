import { evictedInstances } from '#core/archive/evict.ts';
import { textOf } from '#core/dicom/element-text.ts';
import {
  HTJ2K_LOSSLESS,
  JPEG_2000,
  JPEG_2000_LOSSLESS,
  JPEG_BASELINE,
  JPEG_EXTENDED,
  JPEG_LOSSLESS_SV1,
  JPEG_LS_LOSSLESS,
  RLE_LOSSLESS,
} from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { asPacsError, describeError, PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import type { Services } from '#core/services.ts';
import { levelOf, TAG } from '#dimse/services/query.ts';
import {
  type Selected,
  type SelectInstances,
  type Selection,
  select,
  type Unavailable,
} from '#dimse/services/retrieve.ts';
import type { EdgeContext } from '../context.ts';
import type { WantedInstance } from './fetch-run.ts';
import { uidsIn } from './keys.ts';
import { readSideOf } from './read-side.ts';
import { withoutHidden } from './rejected.ts';
import type { UpstreamArchive, UpstreamPath } from './upstream-archive.ts';

/** An instance that upstream has. */
interface RemoteInstance extends WantedInstance {
  readonly SOPClassUID: string;
  readonly transferSyntaxUIDs: readonly string[];
}

/** Proposed for an object of which upstream does not say how it is stored: PS3.5 §10, by how often they are met. */
const LIKELY_SYNTAXES: readonly string[] = [
  JPEG_LOSSLESS_SV1,
  JPEG_BASELINE,
  JPEG_2000_LOSSLESS,
  JPEG_LS_LOSSLESS,
  RLE_LOSSLESS,
  HTJ2K_LOSSLESS,
  JPEG_2000,
  JPEG_EXTENDED,
];
const INSTANCE_KEYS = [TAG.SOPInstanceUID, '00080016', TAG.SeriesInstanceUID, '00083002'].join(',');

/**
 * What C-MOVE and C-GET deliver at the edge: what is here, and then, as it comes, what only is upstream; each instance once. While
 * upstream does not answer, what is known to belong to it and was evicted counts as failed; where nothing at all is here, the whole
 * operation fails.
 */
export const edgeSelect = (context: EdgeContext): SelectInstances => {
  const { services, log } = context;
  const { archive, fetcher, usage } = readSideOf(context);
  return async (tenant, identifier, SOPClassUID, signal, _confined, priority) => {
    const level = levelOf(identifier, SOPClassUID);
    const local = await select(services, tenant, identifier, SOPClassUID);
    const here = new Map<string, string>();
    const studies = new Set(uidsIn(identifier, TAG.StudyInstanceUID));
    for await (const { SOPInstanceUID, StudyInstanceUID } of local.instances()) {
      here.set(SOPInstanceUID, StudyInstanceUID);
      studies.add(StudyInstanceUID);
    }
    let remote: readonly RemoteInstance[] = [];
    const lost: Unavailable[] = [];
    try {
      remote = await withoutHidden(context, await remoteInstances(archive(), identifier, level, signal));
    } catch (error) {
      if (asPacsError(error).code === 'INTERNAL') throw error;
      log.info('upstream-selection-failed', { queryLevel: level, ...describeError(error) });
      if (here.size === 0 && !signal.aborted)
        throw new PacsError('BUSY', 'it is not here, and the upstream is not answering', { cause: error });
      lost.push(...(await evictedOf(services, tenant, studies, identifier)));
    }
    for (const { StudyInstanceUID } of remote) studies.add(StudyInstanceUID);
    const missing = remote.filter(({ SOPInstanceUID }) => !here.has(SOPInstanceUID));
    const present = new Set(remote.flatMap((one) => (here.has(one.SOPInstanceUID) ? [one.SeriesInstanceUID] : [])));
    const isSeriesWhole = level !== 'IMAGE' ? (series: string): boolean => !present.has(series) : () => false;

    async function* instances(): AsyncGenerator<Selected> {
      const releases = [...studies].map((study) => usage.use(tenant, study));
      try {
        const sent = new Set<string>();
        for await (const instance of local.instances()) {
          sent.add(instance.SOPInstanceUID);
          yield instance;
        }
        // Evicted since it was looked for: it is fetched again.
        const evicted = remote.filter((one) => here.has(one.SOPInstanceUID) && !sent.has(one.SOPInstanceUID));
        const wanted = [...missing, ...evicted].filter(({ SOPInstanceUID }) => !sent.has(SOPInstanceUID));
        yield* fetcher.fetch(tenant, wanted, isSeriesWhole, signal, { passing: true, priority });
        yield* lost;
      } finally {
        for (const release of releases) release();
      }
    }
    return { instances, count: here.size + missing.length + lost.length, encodings: encodingsOf(local, missing) };
  };
};

/** @throws PacsError where upstream does not answer */
export async function remoteInstances(
  archive: UpstreamArchive,
  identifier: DataSet,
  level: string,
  signal: AbortSignal,
): Promise<RemoteInstance[]> {
  const series = level === 'SERIES' || level === 'IMAGE' ? uidsIn(identifier, TAG.SeriesInstanceUID) : [];
  const sops = level === 'IMAGE' ? new Set(uidsIn(identifier, TAG.SOPInstanceUID)) : undefined;
  const found = new Map<string, RemoteInstance>();
  for (const path of await pathsOf(archive, identifier, series, sops, signal)) {
    for await (const rows of archive.search('instance', path, including(INSTANCE_KEYS), signal)) {
      for (const row of rows) {
        const instance = remoteInstance(row);
        if (instance === undefined || (sops !== undefined && !sops.has(instance.SOPInstanceUID))) continue;
        if (series.length > 0 && !series.includes(instance.SeriesInstanceUID)) continue;
        found.set(instance.SOPInstanceUID, instance);
      }
    }
  }
  return [...found.values()];
}

/** The studies, or series of studies, whose instances are to be listed. */
async function pathsOf(
  archive: UpstreamArchive,
  identifier: DataSet,
  series: readonly string[],
  sops: ReadonlySet<string> | undefined,
  signal: AbortSignal,
): Promise<UpstreamPath[]> {
  const studies = uidsIn(identifier, TAG.StudyInstanceUID);
  if (studies.length > 0 && series.length === 0) return studies.map((StudyInstanceUID) => ({ StudyInstanceUID }));
  if (studies.length > 0)
    return studies.flatMap((StudyInstanceUID) =>
      series.map((SeriesInstanceUID) => ({ StudyInstanceUID, SeriesInstanceUID })),
    );
  // Without its study a series or an instance has to be looked for, and the studies of a patient have to be.
  const paths = new Map<string, UpstreamPath>();
  const look = async (level: 'study' | 'series' | 'instance', tag: string, value: string): Promise<void> => {
    for await (const rows of archive.search(level, {}, new URLSearchParams({ [tag]: value }), signal)) {
      for (const row of rows) {
        const [StudyInstanceUID, found] = [textOf(row[TAG.StudyInstanceUID]), textOf(row[TAG.SeriesInstanceUID])];
        if (textOf(row[tag]) !== value || !isUID(StudyInstanceUID)) continue;
        const path = level === 'study' ? { StudyInstanceUID } : { StudyInstanceUID, SeriesInstanceUID: found };
        paths.set(`${StudyInstanceUID}|${level === 'study' ? '' : found}`, path);
      }
    }
  };
  if (series.length > 0) for (const uid of series) await look('series', TAG.SeriesInstanceUID, uid);
  else if (sops !== undefined) for (const uid of sops) await look('instance', TAG.SOPInstanceUID, uid);
  else await look('study', TAG.PatientID, textOf(identifier[TAG.PatientID]));
  return [...paths.values()];
}

const including = (tags: string): URLSearchParams => new URLSearchParams({ includefield: tags });

function remoteInstance(row: DataSet): RemoteInstance | undefined {
  const [StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID] = [
    TAG.StudyInstanceUID,
    TAG.SeriesInstanceUID,
    TAG.SOPInstanceUID,
    '00080016',
  ].map((tag) => textOf(row[tag])) as [string, string, string, string];
  if (![StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID].every(isUID)) return undefined;
  const transferSyntaxUIDs = textOf(row['00083002']).split('\\').filter(isUID);
  return { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID, transferSyntaxUIDs };
}

/** What is known to belong to the studies and is no longer here. */
async function evictedOf(
  services: Services,
  tenant: string,
  studies: ReadonlySet<string>,
  identifier: DataSet,
): Promise<Unavailable[]> {
  const series = uidsIn(identifier, TAG.SeriesInstanceUID);
  const sops = uidsIn(identifier, TAG.SOPInstanceUID);
  const lost: Unavailable[] = [];
  for (const study of studies) {
    for await (const { SOPInstanceUID, SeriesInstanceUID } of evictedInstances(services, tenant, study)) {
      if (series.length > 0 && !series.includes(SeriesInstanceUID)) continue;
      if (sops.length > 0 && !sops.includes(SOPInstanceUID)) continue;
      lost.push({ SOPInstanceUID, unavailable: true });
    }
  }
  return lost;
}

function encodingsOf(local: Selection, missing: readonly RemoteInstance[]): Selection['encodings'] {
  const encodings = new Map([...local.encodings].map(([sopClass, syntaxes]) => [sopClass, new Set(syntaxes)]));
  for (const { SOPClassUID, transferSyntaxUIDs } of missing) {
    const known = encodings.get(SOPClassUID) ?? new Set<string>();
    encodings.set(SOPClassUID, known);
    for (const syntax of transferSyntaxUIDs.length > 0 ? transferSyntaxUIDs : LIKELY_SYNTAXES) known.add(syntax);
  }
  return encodings;
}
