import { CT_IMAGE_STORAGE, element, elementHeader, imagePixel, preambleAndMeta, sequence } from './encode.ts';

/**
 * Synthetic DICOM for measuring: CT slices with the header a scanner writes (about 120 elements, 527 KB) and tiny objects of one
 * instance a study (1.7 KB); large ones are in large-data.ts. Everything follows from a seed and an index, so the same study can be asked
 * for again without being remembered.
 */

/** Marsaglia's xorshift: the same sequence on every machine. @returns numbers in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 4294967296;
  };
}

const FAMILY =
  'Abbott Adler Bauer Becker Castro Chen Dubois Eriksen Fischer Garcia Haas Ito Jansen Keller Lange Meyer Novak Okafor Peters Quist Rossi Silva Tanaka Urban Vogel Weber Xu Yilmaz Zimmer'.split(
    ' ',
  );
const GIVEN =
  'Anna Ben Clara David Elif Femi Greta Hugo Ines Jonas Kira Liam Maya Noah Olga Paul Rosa Sven Tara Uwe Vera Willem Yuki Zoe'.split(
    ' ',
  );
const SYLLABLES =
  'ba be bi bo da de di do fa fe ga go ha ka ki la le li lo ma me mi mo na ne no pa ra re ri ro sa se ta te ti to va vi za'.split(
    ' ',
  );
const MODALITIES = ['CT', 'MR', 'US', 'CR', 'DX', 'MG', 'PT', 'NM', 'XA', 'OT'];

const pick = <T>(random: () => number, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
const digits = (number: number, width: number): string => String(number).padStart(width, '0');

/** A day counted from 2016-01-01, as DA. */
export function day(number: number): string {
  return new Date(Date.UTC(2016, 0, 1 + number)).toISOString().slice(0, 10).replaceAll('-', '');
}
export const DAYS = 3650;

export interface TinyStudy {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly PatientID: string;
  readonly PatientName: string;
  readonly AccessionNumber: string;
  readonly StudyDate: string;
  readonly Modality: string;
}

/** Study number `index` of the archive of tiny objects, over ten years of days, ten modalities and ever new names. */
export function tinyStudy(index: number): TinyStudy {
  const random = randomFrom(index + 1);
  // Spread over the numbers, so that neighbours in time are not neighbours in a key.
  const scrambled = Math.imul(index + 1, 2654435761) >>> 0;
  const family = pick(random, SYLLABLES) + pick(random, SYLLABLES) + pick(random, SYLLABLES);
  const root = `1.2.826.0.1.3680043.10.1462.7.${scrambled}.${index}`;
  return {
    StudyInstanceUID: root,
    SeriesInstanceUID: `${root}.1`,
    SOPInstanceUID: `${root}.1.1`,
    PatientID: `P${digits(scrambled, 10)}`,
    PatientName: `${family[0]!.toUpperCase()}${family.slice(1)}^${pick(random, GIVEN)}`,
    AccessionNumber: `A${digits(Math.imul(index + 7, 40503) >>> 0, 10)}`,
    StudyDate: day(Math.floor(random() * DAYS)),
    Modality: pick(random, MODALITIES),
  };
}

/** A Part 10 file of about 1.7 KB: one 16 × 16 image. */
export function tinyObject(study: TinyStudy): Buffer {
  return Buffer.concat([
    preambleAndMeta(CT_IMAGE_STORAGE, study.SOPInstanceUID),
    element(0x00080005, 'CS', 'ISO_IR 192'),
    element(0x00080008, 'CS', 'ORIGINAL\\PRIMARY\\AXIAL'),
    element(0x00080016, 'UI', CT_IMAGE_STORAGE),
    element(0x00080018, 'UI', study.SOPInstanceUID),
    element(0x00080020, 'DA', study.StudyDate),
    element(0x00080021, 'DA', study.StudyDate),
    element(0x00080030, 'TM', '093015'),
    element(0x00080050, 'SH', study.AccessionNumber),
    element(0x00080060, 'CS', study.Modality),
    element(0x00080070, 'LO', 'Nephos'),
    element(0x00080080, 'LO', 'General Hospital'),
    element(0x00080090, 'PN', 'Okafor^Femi'),
    element(0x00081030, 'LO', `${study.Modality} examination`),
    element(0x0008103e, 'LO', 'Localizer'),
    element(0x00100010, 'PN', study.PatientName),
    element(0x00100020, 'LO', study.PatientID),
    element(0x00100030, 'DA', '19700101'),
    element(0x00100040, 'CS', 'O'),
    element(0x00180060, 'DS', '120'),
    element(0x0020000d, 'UI', study.StudyInstanceUID),
    element(0x0020000e, 'UI', study.SeriesInstanceUID),
    element(0x00200010, 'SH', '1'),
    element(0x00200011, 'IS', '1'),
    element(0x00200013, 'IS', '1'),
    ...imagePixel(16, 16),
    element(0x7fe00010, 'OW', TINY_PIXELS),
  ]);
}
const TINY_PIXELS = Buffer.alloc(16 * 16 * 2);

/** A 12-bit slice: an ellipse of tissue with organs, noise as a scanner's, air around. */
export function ctPixels(rows: number, columns: number, seed: number): Buffer {
  const random = randomFrom(seed);
  const pixels = new Uint16Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const dx = (x - columns / 2) / (columns * 0.42);
      const dy = (y - rows / 2) / (rows * 0.33);
      const radius = dx * dx + dy * dy;
      let value = 24;
      if (radius < 1) value = radius > 0.86 ? 960 : 1064 + 60 * Math.sin(x / 31 + seed) * Math.cos(y / 23);
      if (dx * dx + (dy - 0.6) * (dy - 0.6) < 0.03) value = 1900;
      pixels[y * columns + x] = Math.max(0, value + (random() - 0.5) * 40);
    }
  }
  return Buffer.from(pixels.buffer);
}

const CT_SLICES_DRAWN = 8;
let drawn: Buffer[] | undefined;
const slicePixels = (index: number): Buffer => {
  drawn ??= Array.from({ length: CT_SLICES_DRAWN }, (_, i) => ctPixels(512, 512, i + 1));
  return drawn[index % CT_SLICES_DRAWN]!;
};

const SMALL_PIXELS = { 64: Buffer.alloc(64 * 64 * 2), 96: Buffer.alloc(96 * 96 * 2) } as const;

export interface CtSlice {
  readonly SOPInstanceUID: string;
  /** all that comes before the pixels */
  readonly header: Buffer;
  readonly pixels: Buffer;
}

export interface CtStudy {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly PatientID: string;
  readonly slices: readonly CtSlice[];
  readonly sizeBytes: number;
}

/**
 * One series of `count` slices of 512 × 512. Other `seed`, other UIDs and patient.
 * @param rows with 64 or 96, slices of 11 or 21 KB under the same header: for what concerns metadata or small objects alone
 */
export function ctStudy(seed: number, count: number, rows: 512 | 96 | 64 = 512): CtStudy {
  const random = randomFrom(seed);
  const StudyInstanceUID = `1.2.826.0.1.3680043.10.1462.5.${seed}`;
  const SeriesInstanceUID = `${StudyInstanceUID}.2`;
  const PatientID = `CT${digits(seed, 12)}`;
  const PatientName = `${pick(random, FAMILY)}^${pick(random, GIVEN)}`;
  const StudyDate = day(Math.floor(random() * DAYS));
  const slices = Array.from({ length: count }, (_, i): CtSlice => {
    const SOPInstanceUID = `${SeriesInstanceUID}.${i + 1}`;
    const pixels = rows === 512 ? slicePixels(i) : SMALL_PIXELS[rows];
    const elements = ctHeader(
      { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, PatientID, PatientName, StudyDate },
      i,
      rows,
    );
    const header = Buffer.concat([
      preambleAndMeta(CT_IMAGE_STORAGE, SOPInstanceUID),
      ...elements,
      elementHeader(0x7fe00010, 'OW', pixels.length),
    ]);
    return { SOPInstanceUID, header, pixels };
  });
  const sizeBytes = slices.reduce((sum, slice) => sum + slice.header.length + slice.pixels.length, 0);
  return { StudyInstanceUID, SeriesInstanceUID, PatientID, slices, sizeBytes };
}

interface CtIdentity {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly PatientID: string;
  readonly PatientName: string;
  readonly StudyDate: string;
}

function ctHeader(ct: CtIdentity, slice: number, rows: number): Buffer[] {
  const time = `10${digits(Math.floor(slice / 60) % 60, 2)}${digits(slice % 60, 2)}.250000`;
  const location = (-120.5 + slice * 1.25).toFixed(2);
  return [
    element(0x00080005, 'CS', 'ISO_IR 100'),
    element(0x00080008, 'CS', 'ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI'),
    element(0x00080012, 'DA', ct.StudyDate),
    element(0x00080013, 'TM', time),
    element(0x00080016, 'UI', CT_IMAGE_STORAGE),
    element(0x00080018, 'UI', ct.SOPInstanceUID),
    element(0x00080020, 'DA', ct.StudyDate),
    element(0x00080021, 'DA', ct.StudyDate),
    element(0x00080022, 'DA', ct.StudyDate),
    element(0x00080023, 'DA', ct.StudyDate),
    element(0x0008002a, 'DT', `${ct.StudyDate}${time}`),
    element(0x00080030, 'TM', '100000'),
    element(0x00080031, 'TM', '100001.5'),
    element(0x00080032, 'TM', time),
    element(0x00080033, 'TM', time),
    element(0x00080050, 'SH', `ACC${ct.PatientID.slice(-10)}`),
    element(0x00080060, 'CS', 'CT'),
    element(0x00080070, 'LO', 'SIEMENS'),
    element(0x00080080, 'LO', 'University Hospital'),
    element(0x00080081, 'ST', '1 Hospital Road, 12345 Town'),
    element(0x00080090, 'PN', 'Fischer^Clara^^Dr.'),
    element(0x00081010, 'SH', 'CTAWP73456'),
    element(0x00081030, 'LO', 'Chest^Routine (Adult)'),
    sequence(0x00081032, [
      element(0x00080100, 'SH', 'CTCHEST'),
      element(0x00080102, 'SH', '99LOCAL'),
      element(0x00080104, 'LO', 'CT Chest'),
    ]),
    element(0x0008103e, 'LO', 'Chest 1.25 B31f'),
    element(0x00081040, 'LO', 'Radiology'),
    element(0x00081048, 'PN', 'Weber^Jonas'),
    element(0x00081050, 'PN', 'Novak^Olga'),
    element(0x00081070, 'PN', 'Silva^Paul'),
    element(0x00081080, 'LO', 'Dyspnoea'),
    element(0x00081090, 'LO', 'Sensation 64'),
    sequence(0x00081111, [
      element(0x00081150, 'UI', '1.2.840.10008.3.1.2.3.3'),
      element(0x00081155, 'UI', `${ct.StudyInstanceUID}.9`),
    ]),
    sequence(0x00081140, [
      element(0x00081150, 'UI', CT_IMAGE_STORAGE),
      element(0x00081155, 'UI', `${ct.StudyInstanceUID}.1.1`),
    ]),
    element(0x00082111, 'ST', 'Reconstructed'),
    element(0x00100010, 'PN', ct.PatientName),
    element(0x00100020, 'LO', ct.PatientID),
    element(0x00100021, 'LO', 'HOSP'),
    element(0x00100030, 'DA', '19610704'),
    element(0x00100040, 'CS', 'F'),
    element(0x00101010, 'AS', '055Y'),
    element(0x00101020, 'DS', '1.68'),
    element(0x00101030, 'DS', '71.5'),
    element(0x00102160, 'SH', 'unknown'),
    element(0x001021b0, 'LT', 'None reported'),
    element(0x00104000, 'LT', 'Comment'),
    element(0x00180010, 'LO', 'CONTRAST'),
    element(0x00180015, 'CS', 'CHEST'),
    element(0x00180022, 'CS', 'HELIX'),
    element(0x00180050, 'DS', '1.25'),
    element(0x00180060, 'DS', '120'),
    element(0x00180090, 'DS', '500'),
    element(0x00181000, 'LO', '73456'),
    element(0x00181020, 'LO', 'syngo CT 2012B'),
    element(0x00181030, 'LO', 'ChestRoutine'),
    element(0x00181041, 'DS', '70'),
    element(0x00181046, 'DS', '2.5'),
    element(0x00181049, 'DS', '320'),
    element(0x00181100, 'DS', '250'),
    element(0x00181110, 'DS', '1040'),
    element(0x00181111, 'DS', '570'),
    element(0x00181120, 'DS', '0'),
    element(0x00181130, 'DS', '160.5'),
    element(0x00181140, 'CS', 'CW'),
    element(0x00181150, 'IS', '500'),
    element(0x00181151, 'IS', '208'),
    element(0x00181152, 'IS', '104'),
    element(0x00181160, 'SH', 'WEDGE_2'),
    element(0x00181170, 'IS', '50'),
    element(0x00181190, 'DS', '1.2'),
    element(0x00181200, 'DA', ct.StudyDate),
    element(0x00181201, 'TM', '054501'),
    element(0x00181210, 'SH', 'B31f'),
    element(0x00185100, 'CS', 'HFS'),
    element(0x00189345, 'FD', doubles(8.42)),
    element(0x0020000d, 'UI', ct.StudyInstanceUID),
    element(0x0020000e, 'UI', ct.SeriesInstanceUID),
    element(0x00200010, 'SH', '4711'),
    element(0x00200011, 'IS', '2'),
    element(0x00200012, 'IS', '1'),
    element(0x00200013, 'IS', String(slice + 1)),
    element(0x00200032, 'DS', `-124.7559\\-284.7559\\${location}`),
    element(0x00200037, 'DS', '1\\0\\0\\0\\1\\0'),
    element(0x00200052, 'UI', `${ct.StudyInstanceUID}.8`),
    element(0x00200060, 'CS', ''),
    element(0x00201040, 'LO', ''),
    element(0x00201041, 'DS', location),
    element(0x00204000, 'LT', 'No comment'),
    ...imagePixel(rows, rows),
    element(0x00280106, 'US', [0]),
    element(0x00280107, 'US', [4095]),
    element(0x00281055, 'LO', 'ABDOMEN'),
    element(0x00290010, 'LO', 'SIEMENS CSA HEADER'),
    element(0x00291008, 'CS', 'SOM 5'),
    element(0x00291009, 'LO', 'VA10A 20121017'),
    element(0x00291010, 'UN', Buffer.alloc(512, slice)),
    element(0x00321000, 'DA', ct.StudyDate),
    element(0x00321032, 'PN', 'Fischer^Clara^^Dr.'),
    element(0x00321060, 'LO', 'CT Chest'),
    element(0x00400002, 'DA', ct.StudyDate),
    element(0x00400244, 'DA', ct.StudyDate),
    element(0x00400245, 'TM', '100000'),
    element(0x00400253, 'SH', 'PPS1'),
    element(0x00400254, 'LO', 'CT Chest'),
    sequence(0x00400275, [
      element(0x00321060, 'LO', 'CT Chest'),
      element(0x00400007, 'LO', 'CT Chest'),
      element(0x00400009, 'SH', `SPS${ct.PatientID.slice(-8)}`),
      element(0x00401001, 'SH', 'RP1'),
    ]),
    element(0x00400280, 'ST', 'none'),
  ].sort(byTag);
}

const byTag = (a: Buffer, b: Buffer): number =>
  a.readUInt16LE(0) - b.readUInt16LE(0) || a.readUInt16LE(2) - b.readUInt16LE(2);

const doubles = (...values: number[]): Buffer => Buffer.from(new Float64Array(values).buffer);
