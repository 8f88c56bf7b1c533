import type { InstanceRecord, Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { PlacedMetadata } from '../ports/frame-placement.ts';
import type { Services } from '../services.ts';
import { instancesOfSeries } from './find.ts';
import type { KeptText } from './joined-texts.ts';
import { instanceMetadata, metadataOf } from './metadata.ts';

/** Where metadata come from: the archive's own, or the placement's as far as it has them. */
export type MetadataSource = Services['policy']['metadataFrom'];

type Reads = Pick<Services, 'index' | 'blobs' | 'placement' | 'policy'>;

/** instances whose own metadata are got with one call, where the placement has none of them */
const INSTANCES_AT_ONCE = 100;

/** Where metadata are read first. */
export const firstSource = ({ placement, policy }: Reads): MetadataSource =>
  placement === undefined ? 'archive' : policy.metadataFrom;

/** Whether an error of reading what the archive has of its own leaves the placement to be asked: it is cold, missing or out of reach. */
export const isOutOfReach = (error: unknown): boolean =>
  error instanceof PacsError && (error.code === 'ARCHIVED' || error.code === 'NOT_FOUND' || error.code === 'BUSY');

/**
 * The DICOM JSON text of every instance that the series has now, in display order and as kept: the placement's where it has what is current,
 * else our own; one at a time. Which instances there are is for the index to say. @throws PacsError NOT_FOUND
 */
export async function* placedSeriesMetadata(
  services: Reads,
  tenant: Tenant,
  study: string,
  series: string,
  placed: PlacedMetadata,
): AsyncGenerator<readonly KeptText[], void, undefined> {
  let batch: InstanceRecord[] = [];
  for await (const instance of instancesOfSeries(services, tenant, study, series)) {
    batch.push(instance);
    if (batch.length < INSTANCES_AT_ONCE) continue;
    yield* textsOf(services, tenant, batch, placed);
    batch = [];
  }
  yield* textsOf(services, tenant, batch, placed);
}

async function* textsOf(
  services: Reads,
  tenant: Tenant,
  instances: readonly InstanceRecord[],
  placed: PlacedMetadata,
): AsyncGenerator<readonly KeptText[], void, undefined> {
  const texts = instances.map((instance) => placed.read(instance));
  const others = instances.filter((_, i) => texts[i] === undefined);
  const own = (await metadataOf(services, tenant, others)).values();
  for (const text of texts) {
    // Gone between the two reads: gone is gone.
    const found = text ?? (await own.next().value?.());
    if (found !== undefined) yield [{ bytes: Buffer.from(found.buffer, found.byteOffset, found.byteLength) }];
  }
}

/** The same of one instance, the source tried first given; and which one it was in the end. @throws PacsError NOT_FOUND, ARCHIVED */
export async function servedInstanceMetadata(
  services: Reads,
  tenant: Tenant,
  instance: InstanceRecord,
): Promise<{ readonly text: string; readonly source: MetadataSource }> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = instance;
  const first = firstSource(services);
  const own = async () => {
    const text = await instanceMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
    return { text, source: 'archive' } as const;
  };
  const placed = async () => {
    const at = { tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
    const text = (await services.placement?.openMetadata(at))?.read(instance);
    return text && ({ text: Buffer.from(text).toString(), source: 'placement' } as const);
  };
  if (first === 'placement') return (await placed()) ?? own();
  try {
    return await own();
  } catch (error) {
    const found = isOutOfReach(error) ? await placed() : undefined;
    if (found === undefined) throw error;
    return found;
  }
}
