import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { HTJ2K_LOSSLESS_RPCL } from '#core/dicom/transfer-syntaxes.ts';
import { PacsError } from '#core/errors.ts';
import { type Member, membersOf, parsed } from './json-members.ts';

const inflate = promisify(gunzip);

/** What `GetImageSetMetadata` calls frames that it has stored in its own format, also where it does not say so. */
const STORED_BY_ITSELF = HTJ2K_LOSSLESS_RPCL;

/** Attributes by keyword; those of no keyword, as private ones, by their tag (eight hexadecimal digits). */
export type Attributes = Readonly<Record<string, unknown>>;

/** One level of an image set: its attributes, and the VRs of those that no dictionary tells. */
export interface AttributeLevel {
  readonly DICOM?: Attributes;
  readonly DICOMVRs?: Readonly<Record<string, string>>;
}

export interface ImageSetInstance extends AttributeLevel {
  readonly StoredTransferSyntaxUID?: string | null;
  readonly ImageFrames?: readonly { readonly ID?: string }[];
}

export interface PlacedFrames {
  readonly SOPInstanceUID: string;
  readonly transferSyntaxUID: string;
  /** 32 hexadecimal characters each, in the order of the frames */
  readonly frameIds: readonly string[];
}

interface Place {
  readonly instance: Member;
  readonly series: number;
}

/**
 * The metadata of an image set (the blob of GetImageSetMetadata, schema 1.1):
 *
 *   { SchemaVersion, DatastoreID, ImageSetID,
 *     Patient: { DICOM },
 *     Study: { DICOM, Series: { [SeriesInstanceUID]: { DICOM, Instances: { [SOPInstanceUID]: { DICOM, DICOMVRs, StoredTransferSyntaxUID, ImageFrames } } } } } }
 *
 * Held as text: an image set may have ten thousand instances, and one at a time becomes objects.
 */
export class ImageSetDocument {
  readonly #text: Buffer;
  readonly #places = new Map<string, Place>();
  /** Patient and Study, then the series in turn */
  readonly #levels: AttributeLevel[][] = [];

  /** @throws SyntaxError, PacsError UNREADABLE_DATASET where it is not the metadata of an image set */
  constructor(text: Buffer) {
    this.#text = text;
    const root = byName(text, 'root');
    const patient = byName(text, root.get('Patient'));
    const study = byName(text, root.get('Study'));
    if (study.size === 0) throw unreadable('names no study');
    for (const series of byName(text, study.get('Series')).values()) {
      const members = byName(text, series);
      this.#levels.push([patient, study, members].map((level) => this.#level(level)));
      for (const instance of byName(text, members.get('Instances')).values())
        this.#places.set(instance.name, { instance, series: this.#levels.length - 1 });
    }
  }

  /**
   * @param bytes gzip, or plain JSON
   * @param limitBytes of the JSON text
   * @throws PacsError TOO_LARGE; as the constructor
   */
  static async from(bytes: Uint8Array, limitBytes: number): Promise<ImageSetDocument> {
    const isPlain = bytes[0] !== 0x1f || bytes[1] !== 0x8b;
    if (isPlain && bytes.length > limitBytes) throw tooLarge(limitBytes);
    if (isPlain) return new ImageSetDocument(Buffer.from(bytes));
    try {
      return new ImageSetDocument(await inflate(bytes, { maxOutputLength: limitBytes }));
    } catch (error) {
      throw (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge(limitBytes) : error;
    }
  }

  /** of the JSON text */
  get bytes(): number {
    return this.#text.length;
  }

  /** What is said of an instance: of the patient, the study, the series and itself, in this order. @throws SyntaxError */
  levelsOf(SOPInstanceUID: string): readonly AttributeLevel[] | undefined {
    const place = this.#places.get(SOPInstanceUID);
    return place && [...this.#levels[place.series]!, parsed(this.#text, place.instance) as ImageSetInstance];
  }

  /** Its instances and their frames. @throws SyntaxError */
  *frames(): Generator<PlacedFrames, void, undefined> {
    for (const [SOPInstanceUID, { instance }] of this.#places) {
      const { StoredTransferSyntaxUID, ImageFrames = [] } = parsed(this.#text, instance) as ImageSetInstance;
      const frameIds = ImageFrames.map(({ ID = '' }) => ID);
      yield { SOPInstanceUID, transferSyntaxUID: StoredTransferSyntaxUID ?? STORED_BY_ITSELF, frameIds };
    }
  }

  #level(members: ReadonlyMap<string, Member>): AttributeLevel {
    const part = (name: string) => {
      const member = members.get(name);
      return member && { [name]: parsed(this.#text, member) };
    };
    return { ...part('DICOM'), ...part('DICOMVRs') };
  }
}

/** The bytes of a body, none where there is none, until there are more than are wanted. @throws PacsError TOO_LARGE */
export async function gathered(body: AsyncIterable<Uint8Array> | undefined, limitBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limitBytes) throw tooLarge(limitBytes);
  }
  return Buffer.concat(chunks, size);
}

/** The members of a value; of the whole text without one, and none of what is not there. */
function byName(text: Buffer, value: Member | undefined | 'root'): Map<string, Member> {
  if (value === undefined) return new Map();
  return new Map(membersOf(text, value === 'root' ? 0 : value.start).map((member) => [member.name, member]));
}

const tooLarge = (limitBytes: number): PacsError =>
  new PacsError('TOO_LARGE', 'the metadata of an image set are larger than the limit', { details: { limitBytes } });

const unreadable = (what: string): PacsError =>
  new PacsError('UNREADABLE_DATASET', `the metadata of an image set: ${what}`);
