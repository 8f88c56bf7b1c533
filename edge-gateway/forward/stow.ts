import type { InstanceRecord } from '#core/archive/records.ts';
import type { Clock } from '#core/ports/clock.ts';
import { payloadOf } from '#core/retrieve/stream.ts';
import { reprDigest, sha256In } from '#dicomweb/digest.ts';
import { newBoundary, type Part, writeMultipart } from '#dicomweb/multipart-writer.ts';
import type { UpstreamRequest } from '../upstream.ts';
import type { SentObject } from './records.ts';

export { isForNow, refusalInWords, type Verdict, verdictsIn } from '#core/routing/verdicts.ts';

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

/** The SHA-256 an answer to GET or HEAD of one object states for it. */
export const statedDigest = (headers: Readonly<Record<string, string>>): string | undefined =>
  sha256In(headers['repr-digest']);
