import { METADATA_BASE } from '../archive/instance.ts';
import { asRecord, type InstanceRecord, keys, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { Item, ReadMeter } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { inOrder, numberOf } from './find.ts';

type Reads = Pick<Services, 'index' | 'blobs'>;

/** The metadata record of one instance: the text, or where it stands when it is too long for the index. */
type MetadataRecord = { readonly json: string } | { readonly blobKey: string };

/** What opens a bulk data reference on the base it is kept with; no value can look like it, as quotes are escaped in JSON. */
const KEPT_REFERENCE = `"BulkDataURI":"${METADATA_BASE}/`;

/** DICOM JSON texts as kept (references on METADATA_BASE), of one instance. @throws PacsError NOT_FOUND */
export async function instanceMetadata(
  services: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  sop: string,
  meter?: ReadMeter,
): Promise<string> {
  const item = await services.index.get(keys.metadata(tenant, study, series, sop), meter);
  if (!item) {
    throw new PacsError('NOT_FOUND', 'there is no such instance', {
      details: { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop },
    });
  }
  return textOf(services, item);
}

/** … and of every instance of a series, in display order. @throws PacsError NOT_FOUND */
export async function* seriesMetadata(
  services: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  meter?: ReadMeter,
): AsyncGenerator<string, void, undefined> {
  const number = (item: Item, sop: string): number | Promise<number> => {
    const record = asRecord<MetadataRecord>(item);
    return 'json' in record ? instanceNumberIn(record.json) : storedInstanceNumber(sop);
  };
  const storedInstanceNumber = async (sop: string): Promise<number> => {
    const item = await services.index.get(keys.instance(tenant, study, series, sop), meter);
    return item
      ? numberOf(asRecord<InstanceRecord>(item).attributes['00200013']?.Value?.[0])
      : Number.POSITIVE_INFINITY;
  };
  const { partition } = keys.metadata(tenant, study, series, '');
  for await (const item of inOrder(services.index, partition, number, meter)) yield await textOf(services, item);
}

async function textOf({ blobs }: Reads, item: Item): Promise<string> {
  const record = asRecord<MetadataRecord>(item);
  return 'json' in record ? record.json : Buffer.from(await blobs.readBytes(record.blobKey)).toString();
}

const INSTANCE_NUMBER = '"00200013":{"vr":"IS","Value":[';

/**
 * InstanceNumber (0020,0013), cut out of the text: parsing it would cost a hundred times as much, for each of thousands. Elements
 * stand in tag order, so the first one found is the data set's own, but for odd private sequences before it.
 */
function instanceNumberIn(json: string): number {
  const at = json.indexOf(INSTANCE_NUMBER);
  if (at < 0) return Number.POSITIVE_INFINITY;
  const start = at + INSTANCE_NUMBER.length;
  const text = json.slice(start, json.indexOf(']', start));
  return numberOf(text.startsWith('"') ? text.slice(1, -1) : text);
}

/** The text with its references on the DICOMweb root that the client sees. */
export const onRoot = (json: string, root: string): string =>
  json.replaceAll(KEPT_REFERENCE, `"BulkDataURI":"${root}/`);
