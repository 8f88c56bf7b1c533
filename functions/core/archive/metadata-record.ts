import { Buffer } from 'node:buffer';

/** What BulkDataURIs of a text begin with as it is kept; readers put the client's root in its place. */
export const METADATA_BASE = 'nephos:';

/**
 * The metadata record of one instance: its DICOM JSON, as text or as its UTF-8 bytes, or where it stands when it is too long. Beside it
 * stands what a reader of the whole series would have to search each text for (decision 0217); records made before that lack it.
 */
export type MetadataRecord = {
  /** null: the instance has none */
  readonly InstanceNumber?: number | null;
} & (
  | {
      readonly json: string | Uint8Array;
      /** where METADATA_BASE stands in it (bytes), as `referencesIn` finds it */
      readonly references?: readonly number[];
    }
  | { readonly blobKey: string }
);

const OPENING = '"BulkDataURI":"';
/** What opens a reference on the base it is kept with; no value can look like it, as quotes are escaped in JSON. */
export const KEPT_REFERENCE = `${OPENING}${METADATA_BASE}/`;
const KEPT_REFERENCE_BYTES = Buffer.from(KEPT_REFERENCE);

/** Where METADATA_BASE stands in the references of a text (bytes), ascending. */
export function referencesIn(text: Buffer): number[] {
  const found: number[] = [];
  let at = text.indexOf(KEPT_REFERENCE_BYTES);
  while (at >= 0) {
    found.push(at + OPENING.length);
    at = text.indexOf(KEPT_REFERENCE_BYTES, at + KEPT_REFERENCE_BYTES.length);
  }
  return found;
}
