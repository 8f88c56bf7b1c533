import { randomBytes } from 'node:crypto';
import type { ImageSetState } from '@aws-sdk/client-medical-imaging';
import type { Attributes, InstanceMetadata } from './image-set-metadata.ts';

export const newId = (): string => randomBytes(16).toString('hex');

export interface ImageSet {
  readonly isPrimary: boolean;
  state: ImageSetState;
  /** study and series, and what all its instances say of patient, study and series */
  readonly series: string;
  readonly common: Pick<InstanceMetadata, 'patient' | 'study' | 'series'>;
  /** frame ids by SOP Instance UID, of the latest version */
  instances: ReadonlyMap<string, readonly string[]>;
  /** what its metadata were in each version, from the first */
  readonly versions: Map<string, Imported>[];
}

/** An object as HealthImaging has it. */
export interface Imported {
  readonly metadata: InstanceMetadata;
  readonly frames: readonly Attributes[];
}

/**
 * An image set is a series. Objects that agree with the primary one of theirs on patient, study and series become its next version, the
 * later object of a UID in place of the earlier; others make a set that is not primary. @returns how many objects went into each set
 */
export function addToSets(
  imageSets: Map<string, ImageSet>,
  imported: readonly { readonly sop: string; readonly object: Imported }[],
  conflicting: boolean,
): Map<string, number> {
  const changed = new Map<string, number>();
  for (const { sop, object } of imported) {
    const { patient, study, series } = object.metadata;
    const common = { patient, study, series };
    const name = `${study.StudyInstanceUID}|${series.SeriesInstanceUID}`;
    const ofSeries = [...imageSets].filter(([, set]) => set.series === name && set.state === 'ACTIVE');
    const agrees = ([id, set]: [string, ImageSet]): boolean =>
      JSON.stringify(set.common) === JSON.stringify(common) && (changed.has(id) || (set.isPrimary && !conflicting));
    const [id, set] = ofSeries.find(agrees) ?? [newId(), undefined];
    const before = set?.versions.at(-1) ?? new Map<string, Imported>();
    const latest = new Map(before).set(sop, object);
    if (set === undefined) {
      const isPrimary = !conflicting && !ofSeries.some(([, one]) => one.isPrimary);
      imageSets.set(id, {
        isPrimary,
        state: 'ACTIVE',
        series: name,
        common,
        instances: new Map(),
        versions: [latest],
      });
    } else if (changed.has(id)) set.versions[set.versions.length - 1] = latest;
    else set.versions.push(latest);
    imageSets.get(id)!.instances = new Map(
      [...latest].map(([one, { frames }]) => [one, frames.map(({ ID }) => String(ID))]),
    );
    changed.set(id, (changed.get(id) ?? 0) + 1);
  }
  return changed;
}
