import type { InstanceRecord, SeriesRecord, Tenant } from '../archive/records.ts';
import { keys } from '../archive/records.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { PacsError } from '../errors.ts';
import { asRecord } from '../ports/index-table.ts';
import { instancesOfSeries, seriesOfStudy } from '../retrieve/find.ts';
import { frameCount } from '../retrieve/frames.ts';
import type { Services } from '../services.ts';
import { isPresentationState } from './presentation-state.ts';

type Reads = Pick<Services, 'index'>;

/** What can be shown of an instance (PS3.18 Table 8.7.4-1). */
export type Renderable = 'image' | 'video' | 'document' | 'report' | 'state' | 'nothing';

const SOP = '1.2.840.10008.5.1.4.1.1.';

/** Encapsulated PDF, CDA, STL, OBJ, MTL by SOP class; the text of the type stands in the object, and is not believed. */
export const DOCUMENT_TYPES: Readonly<Record<string, string>> = {
  [`${SOP}104.1`]: 'application/pdf',
  [`${SOP}104.2`]: 'text/xml',
  [`${SOP}104.3`]: 'model/stl',
  [`${SOP}104.4`]: 'model/obj',
  [`${SOP}104.5`]: 'model/mtl',
};

export function renderableOf(instance: InstanceRecord): Renderable {
  const { SOPClassUID } = instance;
  if (frameCount(instance) > 0) {
    const { video, codec } = transferSyntax(instance.transferSyntaxUID);
    return video && codec !== 'smpte' ? 'video' : 'image';
  }
  if (isPresentationState(SOPClassUID)) return 'state';
  if (DOCUMENT_TYPES[SOPClassUID] !== undefined) return 'document';
  // structured reports 88.*, key objects 88.59 among them; also the retired trial classes
  if (SOPClassUID.startsWith(`${SOP}88.`)) return 'report';
  return 'nothing';
}

/** Classes that never hold an image: states, waveforms, reports, documents, plans, registrations, measurements. */
const IMAGELESS =
  /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(11|9|88|104|66\.[13567]|67|78|79|80|81|82|131|481\.[34589]|4\.2)(\.|$)/;

const imagesOf = (series: SeriesRecord): number =>
  Object.entries(series.sopClasses).reduce((sum, [uid, count]) => (IMAGELESS.test(uid) ? sum : sum + count), 0);

/** instances of a series that are put in order to find its middle; of a larger one only the first page is looked at */
const ORDERED_INSTANCES = 1_000;
const SAMPLED_INSTANCES = 200;

/** The image that stands for a study: of its largest image series. @throws PacsError NOT_FOUND */
export async function representativeOfStudy(services: Reads, tenant: Tenant, study: string): Promise<InstanceRecord> {
  const all = await seriesOfStudy(services, tenant, study);
  const best = all.reduce((a, b) => (imagesOf(b) > imagesOf(a) ? b : a));
  return representativeOfSeries(services, tenant, study, best.SeriesInstanceUID, best.instanceCount);
}

/** The image in the middle of a series; of one without images the first object. @throws PacsError NOT_FOUND */
export async function representativeOfSeries(
  services: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  count?: number,
): Promise<InstanceRecord> {
  const candidates: InstanceRecord[] = [];
  if (count === undefined || count <= ORDERED_INSTANCES) {
    for await (const instance of instancesOfSeries(services, tenant, study, series)) candidates.push(instance);
  } else {
    const { partition } = keys.instance(tenant, study, series, '');
    const page = await services.index.query({ partition, limit: SAMPLED_INSTANCES });
    for (const { item } of page.records) candidates.push(asRecord<InstanceRecord>(item));
  }
  const images = candidates.filter((instance) => renderableOf(instance) === 'image');
  const of = images.length > 0 ? images : candidates;
  const middle = of[images.length > 0 ? of.length >> 1 : 0];
  if (middle === undefined) throw new PacsError('NOT_FOUND', 'there is no such series');
  return middle;
}

/** A word for what has no picture, for its placeholder. */
export function labelOf(instance: InstanceRecord): string {
  const { SOPClassUID } = instance;
  if (SOPClassUID === `${SOP}104.1`) return 'PDF';
  if (SOPClassUID === `${SOP}104.2`) return 'CDA';
  if (SOPClassUID.startsWith(`${SOP}104.`)) return '3D';
  if (SOPClassUID === `${SOP}88.59`) return 'KEY IMAGES';
  if (SOPClassUID.startsWith(`${SOP}88.`)) return 'REPORT';
  if (SOPClassUID.startsWith(`${SOP}11.`)) return 'STATE';
  if (SOPClassUID.startsWith(`${SOP}9.`)) return 'WAVEFORM';
  if (SOPClassUID.startsWith(`${SOP}481.`)) return 'RT';
  return renderableOf(instance) === 'video' ? 'VIDEO' : renderableOf(instance) === 'image' ? 'IMAGE' : 'DATA';
}
