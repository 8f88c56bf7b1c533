import type { Tenant } from './archive/records.ts';
import { isRejectionNote, KEY_OBJECT_SELECTION } from './archive/reject.ts';
import { firstString } from './dicom/element-text.ts';
import type { DataSet, Element } from './dicom/types.ts';
import { PacsError } from './errors.ts';
import { isUID } from './ids.ts';
import { findInstance, instancesOfSeries, seriesOfStudy } from './retrieve/find.ts';
import { instanceMetadata } from './retrieve/metadata.ts';
import type { Services } from './services.ts';

/** An image that somebody has marked as one to look at. */
export interface KeyImage {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  /** from 1; absent: the whole image is meant */
  readonly frames?: readonly number[];
}

/** key objects of a study that are read, and images that are told of it */
const KEY_OBJECTS = 50;
const KEY_IMAGES = 200;

/**
 * The images of a study that its Key Object Selection documents name (PS3.3 A.35.4; IHE RAD Key Image Note), each once, in the order of the
 * documents; rejection notes aside. What is not in the archive, or out of reach (`services` are confined to that), is left out.
 */
export async function keyImagesOf(services: Services, tenant: Tenant, study: string): Promise<KeyImage[]> {
  const found = new Map<string, KeyImage>();
  let documents = 0;
  for (const series of await seriesOfStudy(services, tenant, study)) {
    if (!(KEY_OBJECT_SELECTION in series.sopClasses)) continue;
    for await (const instance of instancesOfSeries(services, tenant, study, series.SeriesInstanceUID)) {
      if (instance.SOPClassUID !== KEY_OBJECT_SELECTION || ++documents > KEY_OBJECTS) continue;
      const { SeriesInstanceUID, SOPInstanceUID } = instance;
      const text = await instanceMetadata(services, tenant, study, SeriesInstanceUID, SOPInstanceUID);
      for (const image of namedBy(JSON.parse(text) as DataSet)) {
        if (found.has(image.SOPInstanceUID) || found.size >= KEY_IMAGES) continue;
        if (await isHere(services, tenant, image)) found.set(image.SOPInstanceUID, image);
      }
    }
  }
  return [...found.values()];
}

const items = (element: Element | undefined): DataSet[] => (element?.Value ?? []) as DataSet[];

/** Content says which images, and which frames of them; where these stand is in the evidence. */
function namedBy(document: DataSet): KeyImage[] {
  if (isRejectionNote(document)) return [];
  const places = new Map<string, { StudyInstanceUID: string; SeriesInstanceUID: string }>();
  for (const study of items(document['0040A375']))
    for (const series of items(study['00081115']))
      for (const one of items(series['00081199'])) {
        const StudyInstanceUID = firstString(study, '0020000D') ?? '';
        const SeriesInstanceUID = firstString(series, '0020000E') ?? '';
        const sop = firstString(one, '00081155') ?? '';
        if ([StudyInstanceUID, SeriesInstanceUID, sop].every(isUID))
          places.set(sop, { StudyInstanceUID, SeriesInstanceUID });
      }
  const images: KeyImage[] = [];
  for (const content of items(document['0040A730'])) {
    if (firstString(content, '0040A040') !== 'IMAGE') continue;
    for (const reference of items(content['00081199'])) {
      const SOPInstanceUID = firstString(reference, '00081155') ?? '';
      const place = places.get(SOPInstanceUID);
      if (place === undefined) continue;
      const frames = (reference['00081160']?.Value ?? []).map(Number).filter((one) => Number.isInteger(one) && one > 0);
      images.push({ ...place, SOPInstanceUID, ...(frames.length > 0 && { frames }) });
    }
  }
  return images;
}

async function isHere(services: Services, tenant: Tenant, image: KeyImage): Promise<boolean> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = image;
  try {
    await findInstance(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
    return true;
  } catch (error) {
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return false;
    throw error;
  }
}
