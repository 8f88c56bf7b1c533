import type { InstanceRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import type { Clock } from '#core/ports/clock.ts';
import { payloadOf } from '#core/retrieve/stream.ts';
import { reprDigest, sha256In } from '#dicomweb/digest.ts';
import { newBoundary, type Part, writeMultipart } from '#dicomweb/multipart-writer.ts';
import { DIGEST } from '#dicomweb/store-response.ts';
import type { UpstreamRequest } from '../upstream.ts';
import type { SentObject } from './records.ts';

/** An instance and the bytes that stand for it on the way: as received, or compressed. */
export interface Parcel {
  readonly instance: InstanceRecord;
  readonly object: SentObject;
}

const DICOM = 'application/dicom';

/** One STOW-RS request (PS3.18 §10.5) of whole objects, each with the digest by which the upstream knows them unharmed. */
export function storeRequest(
  clock: Clock,
  parcels: readonly Parcel[],
  read: (object: SentObject) => AsyncIterable<Uint8Array>,
): Pick<UpstreamRequest, 'method' | 'path' | 'headers' | 'body' | 'bodyBytes'> {
  const boundary = newBoundary(clock);
  const parts = parcels.map(({ object }) => ({
    headers: {
      // Without its transfer syntax, which the object tells: Orthanc 1.10 passes over a part whose type has a parameter, and says 200.
      'content-type': DICOM,
      'repr-digest': reprDigest(object.sha256),
    },
    object,
  }));
  const framing = parts.reduce(
    (sum, { headers }, i) =>
      sum +
      (i === 0 ? 0 : 2) +
      `--${boundary}\r\n`.length +
      Object.entries(headers).reduce((length, [name, value]) => length + name.length + value.length + 4, 0) +
      2,
    `\r\n--${boundary}--\r\n`.length,
  );
  return {
    method: 'POST',
    path: '/studies',
    headers: {
      'content-type': `multipart/related; type="${DICOM}"; boundary=${boundary}`,
      accept: 'application/dicom+json',
    },
    bodyBytes: framing + parcels.reduce((sum, { object }) => sum + object.sizeBytes, 0),
    body: () =>
      writeMultipart(
        (async function* (): AsyncGenerator<Part> {
          for (const { headers, object } of parts) yield { headers, body: await payloadOf(read(object)) };
        })(),
        boundary,
      ),
  };
}

/** What the upstream said of one instance. */
export type Verdict =
  | { readonly kind: 'stored'; readonly sha256: string | undefined }
  | { readonly kind: 'refused'; readonly failureReason: number };

/** By SOPInstanceUID (PS3.18 Table I.1-1); undefined when that is no Store Instances Response. */
export function verdictsIn(text: string): ReadonlyMap<string, Verdict> | undefined {
  let response: DataSet;
  try {
    const parsed: unknown = JSON.parse(text);
    // Some servers answer with a list of one.
    response = (Array.isArray(parsed) ? parsed[0] : parsed) as DataSet;
  } catch {
    return undefined;
  }
  if (typeof response !== 'object' || response === null) return undefined;
  const verdicts = new Map<string, Verdict>();
  for (const item of itemsOf(response, '00081199')) {
    const isOurs = firstOf(item, DIGEST.creator) === DIGEST.name;
    const sha256 = isOurs ? firstOf(item, DIGEST.sha256) : undefined;
    verdicts.set(String(firstOf(item, '00081155')), {
      kind: 'stored',
      sha256: typeof sha256 === 'string' ? sha256 : undefined,
    });
  }
  for (const item of itemsOf(response, '00081198'))
    verdicts.set(String(firstOf(item, '00081155')), {
      kind: 'refused',
      failureReason: Number(firstOf(item, '00081197') ?? 0x0110),
    });
  return verdicts;
}

const itemsOf = (dataSet: DataSet, tag: string): DataSet[] => (dataSet[tag]?.Value ?? []) as DataSet[];
const firstOf = (dataSet: DataSet, tag: string): unknown => dataSet[tag]?.Value?.[0];

/** The SHA-256 an answer to GET or HEAD of one object states for it. */
export const statedDigest = (headers: Readonly<Record<string, string>>): string | undefined =>
  sha256In(headers['repr-digest']);

/** PS3.18 Table I.2-2: out of resources, now; the rest will be refused again. */
export const isForNow = (failureReason: number): boolean => (failureReason & 0xff00) === 0xa700;
