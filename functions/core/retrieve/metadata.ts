import { Buffer } from 'node:buffer';
import { KEPT_REFERENCE, type MetadataRecord } from '../archive/metadata-record.ts';
import { type InstanceRecord, keys, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asRecord, type Item, type ReadMeter } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { inOrder, numberOf, type Placed } from './find.ts';
import type { KeptText } from './joined-texts.ts';

type Reads = Pick<Services, 'index' | 'blobs'>;

/** The DICOM JSON text of one instance as kept: references on METADATA_BASE. @throws PacsError NOT_FOUND */
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
  return (await bytesOf(services, item)).toString();
}

/**
 * … of several instances of a series, each to be called for when its turn comes: what is too long for the index is not held before.
 * Undefined for one that has gone.
 */
export async function metadataOf(
  { index, blobs }: Reads,
  tenant: Tenant,
  instances: readonly InstanceRecord[],
): Promise<(() => Promise<Buffer | undefined>)[]> {
  if (instances.length === 0) return [];
  const items = await index.getMany(
    instances.map(({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID }) =>
      keys.metadata(tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID),
    ),
  );
  return items.map((item) => async () => item && bytesOf({ index, blobs }, item));
}

/**
 * … of every instance of a series, in display order: as many at a time as are in memory together. What is too long for the index comes alone.
 * @throws PacsError NOT_FOUND
 */
export async function* seriesMetadata(
  services: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  meter?: ReadMeter,
): AsyncGenerator<readonly KeptText[], void, undefined> {
  type Place = Placed<KeptText | { readonly blobKey: string }>;
  const place = (item: Item, sop: string): Place | Promise<Place> => {
    const record = asRecord<MetadataRecord>(item);
    const known = record.InstanceNumber === undefined ? undefined : (record.InstanceNumber ?? Number.POSITIVE_INFINITY);
    if ('blobKey' in record) {
      if (known !== undefined) return { number: known, value: record };
      return storedInstanceNumber(sop).then((number) => ({ number, value: record }));
    }
    const bytes = toBuffer(record.json);
    return { number: known ?? instanceNumberIn(bytes), value: { bytes, references: record.references } };
  };
  const storedInstanceNumber = async (sop: string): Promise<number> => {
    const item = await services.index.get(keys.instance(tenant, study, series, sop), meter);
    return item
      ? numberOf(asRecord<InstanceRecord>(item).attributes['00200013']?.Value?.[0])
      : Number.POSITIVE_INFINITY;
  };
  const { partition } = keys.metadata(tenant, study, series, '');
  for await (const some of inOrder(services.index, partition, place, meter)) {
    let held: KeptText[] = [];
    for (const value of some) {
      if ('bytes' in value) {
        held.push(value);
        continue;
      }
      if (held.length > 0) yield held;
      held = [];
      yield [{ bytes: toBuffer(await services.blobs.readBytes(value.blobKey)) }];
    }
    if (held.length > 0) yield held;
  }
}

async function bytesOf({ blobs }: Reads, item: Item): Promise<Buffer> {
  const record = asRecord<MetadataRecord>(item);
  return toBuffer('json' in record ? record.json : await blobs.readBytes(record.blobKey));
}

const toBuffer = (text: string | Uint8Array): Buffer =>
  typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.buffer, text.byteOffset, text.byteLength);

const INSTANCE_NUMBER = Buffer.from('"00200013":{"vr":"IS","Value":[');
const CLOSING_BRACKET = 0x5d;

/**
 * InstanceNumber (0020,0013), cut out of the text: parsing it would cost a hundred times as much, for each of thousands. Elements
 * stand in tag order, so the first one found is the data set's own, but for odd private sequences before it.
 */
function instanceNumberIn(json: Buffer): number {
  const at = json.indexOf(INSTANCE_NUMBER);
  if (at < 0) return Number.POSITIVE_INFINITY;
  const start = at + INSTANCE_NUMBER.length;
  const text = json.toString('latin1', start, json.indexOf(CLOSING_BRACKET, start));
  return numberOf(text.startsWith('"') ? text.slice(1, -1) : text);
}

/** The text with its references on the DICOMweb root that the client sees. */
export const onRoot = (json: string, root: string): string =>
  json.replaceAll(KEPT_REFERENCE, `"BulkDataURI":"${root}/`);
