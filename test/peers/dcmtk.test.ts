import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { image, phantom } from '#test/fixtures/pixels/frames.ts';
import { getInstance, getParts, type InstanceUIDs, instanceUrl, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { python, run, runOk } from './helpers/programs.ts';

const IMPLICIT_LITTLE = '1.2.840.10008.1.2';
const EXPLICIT_LITTLE = '1.2.840.10008.1.2.1';
const JPEG_LOSSLESS_SV1 = '1.2.840.10008.1.2.4.70';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const JPEG_2000_LOSSLESS = '1.2.840.10008.1.2.4.90';
const HTJ2K_LOSSLESS = '1.2.840.10008.1.2.4.201';
const RLE = '1.2.840.10008.1.2.5';
const EXPLICIT_BIG = '1.2.840.10008.1.2.2';
const DEFLATED = '1.2.840.10008.1.2.1.99';

interface Made extends InstanceUIDs {
  readonly how: string;
  readonly file: string;
  readonly bytes: Buffer;
  /** Lossy encodings are compared by what a decoder makes of the same bytes; their decoders may differ by a little. */
  readonly lossy: boolean;
}

let nephos: Nephos;
const dir = mkdtempSync(join(tmpdir(), 'nephos-dcmtk-'));
/** the CT slice that the others are made of */
const source = join(dir, 'source.dcm');
const made: Made[] = [];

/** Gives the file UIDs of its own, so that each encoding is an instance of its own, and notes it. */
async function keep(how: string, file: string, lossy = false): Promise<void> {
  await runOk('dcmodify', ['-nb', '-gst', '-gse', '-gin', file]);
  made.push({ how, file, lossy, bytes: readFileSync(file), ...(await uidsOf(file)) });
}

async function uidsOf(file: string): Promise<InstanceUIDs> {
  const text = await runOk('dcmdump', [
    '-q',
    '+P',
    'StudyInstanceUID',
    '+P',
    'SeriesInstanceUID',
    '+P',
    'SOPInstanceUID',
    file,
  ]);
  const uid = (tag: string): string => new RegExp(`^\\(${tag}\\) UI \\[([0-9.]+)\\]`, 'm').exec(text)![1]!;
  return { StudyInstanceUID: uid('0020,000d'), SeriesInstanceUID: uid('0020,000e'), SOPInstanceUID: uid('0008,0018') };
}

beforeAll(async () => {
  nephos = await startNephos();
  const study = ctStudy(8300, 1);
  writeFileSync(source, Buffer.concat([study.slices[0]!.header, study.slices[0]!.pixels]));
  const encodings: [how: string, command: string, args: string[], lossy?: boolean][] = [
    ['dcmconv implicit little endian', 'dcmconv', ['+ti']],
    ['dcmconv explicit big endian', 'dcmconv', ['+tb']],
    ['dcmconv deflated', 'dcmconv', ['+td']],
    ['dcmconv undefined lengths', 'dcmconv', ['+te', '-e']],
    ['dcmconv group lengths and padding', 'dcmconv', ['+te', '+g', '+p', '256', '64']],
    ['dcmcrle', 'dcmcrle', []],
    ['dcmcrle with an offset table', 'dcmcrle', ['+ot']],
    ['dcmcjpeg lossless, first order', 'dcmcjpeg', ['+e1']],
    ['dcmcjpeg lossless', 'dcmcjpeg', ['+el']],
    ['dcmcjpeg lossless, in fragments of 8 KB', 'dcmcjpeg', ['+e1', '+fs', '8']],
    ['dcmcjpeg extended, 12 bits', 'dcmcjpeg', ['+ee', '+q', '90'], true],
    ['dcmcjpls lossless', 'dcmcjpls', ['+el']],
    ['dcmcjpls near-lossless', 'dcmcjpls', ['+en', '+md', '3'], true],
    ['dcmcjpls lossless, without offset table', 'dcmcjpls', ['+el', '-ot']],
  ];
  for (const [how, command, args, lossy] of encodings) {
    const file = join(dir, `${made.length}.dcm`);
    await runOk(command, [...args, source, file]);
    await keep(how, file, lossy);
  }
  const jpeg = join(dir, 'photo.jpg');
  await runOk('dcmj2pnm', ['+oj', '+Wm', source, jpeg]);
  const photo = join(dir, 'photo.dcm');
  await runOk('img2dcm', [jpeg, photo, '-k', 'PatientName=Müller^Jürgen', '-k', 'SpecificCharacterSet=ISO_IR 192']);
  await keep('img2dcm of a JPEG', photo, true);
  const renamed = join(dir, 'renamed.dcm');
  writeFileSync(renamed, readFileSync(source));
  await runOk('dcmodify', ['-nb', '-i', 'PatientName=Other^Name', '-i', '(0040,0275)[0].(0040,0007)=Changed', renamed]);
  await keep('dcmodify', renamed);
});

afterAll(async () => {
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Asks for the instance in a transfer syntax and puts the answer in a file. */
async function transcoded(object: Made, transferSyntaxUID: string): Promise<string> {
  const [bytes] = await getParts(
    instanceUrl(nephos.root, object),
    `multipart/related; type="application/dicom"; transfer-syntax=${transferSyntaxUID}`,
  );
  const file = join(dir, `${made.indexOf(object)}-as-${transferSyntaxUID}.dcm`);
  writeFileSync(file, bytes!);
  return file;
}

interface Compared {
  readonly largest?: number;
  readonly error?: string;
}
async function comparePixels(pairs: readonly (readonly [string, string])[]): Promise<Compared[]> {
  const list = join(dir, 'pairs.json');
  writeFileSync(list, JSON.stringify(pairs));
  return python<Compared[]>('compare-pixels.py', [list]);
}

describe('objects that DCMTK made', () => {
  test('are stored', async () => {
    expect(made.length).toBeGreaterThanOrEqual(16);
    for (const { how, bytes, SOPInstanceUID } of made) {
      expect(await stow(nephos.root, [bytes]), how).toMatchObject({
        status: 200,
        stored: [SOPInstanceUID],
        failed: [],
      });
    }
  });

  test('come back byte for byte', async () => {
    for (const object of made)
      expect((await getInstance(nephos.root, object)).equals(object.bytes), object.how).toBe(true);
  });

  test('can be had as explicit little endian: dcmdump reads it, pydicom sees the pixels it sees in the original', async () => {
    const pairs: [string, string][] = [];
    for (const object of made) {
      const file = await transcoded(object, EXPLICIT_LITTLE);
      const dump = await run('dcmdump', [file]);
      expect(dump.code, `${object.how}: ${dump.stderr}`).toBe(0);
      expect(dump.stderr, object.how).not.toMatch(/^E:/m);
      expect(dump.stdout, object.how).toContain('=LittleEndianExplicit');
      pairs.push([object.file, file]);
    }
    const compared = await comparePixels(pairs);
    const wrong = compared.flatMap(({ largest, error }, i) =>
      error === undefined && largest! <= (made[i]!.lossy ? 2 : 0)
        ? []
        : [`${made[i]!.how}: ${error ?? `differs by ${largest}`}`],
    );
    expect(wrong).toEqual([]);
  });

  test.each([
    ['implicit little endian', IMPLICIT_LITTLE],
    ['JPEG lossless', JPEG_LOSSLESS_SV1],
    ['JPEG-LS', JPEG_LS],
    ['JPEG 2000 lossless', JPEG_2000_LOSSLESS],
    ['HTJ2K lossless', HTJ2K_LOSSLESS],
    ['RLE', RLE],
    ['explicit big endian', EXPLICIT_BIG],
    ['deflated', DEFLATED],
  ])('can be had as %s without loss, where the archive offers it', async (_name, transferSyntaxUID) => {
    const source = made.find(({ how }) => how === 'dcmconv implicit little endian')!;
    const response = await fetch(instanceUrl(nephos.root, source), {
      headers: { accept: `multipart/related; type="application/dicom"; transfer-syntax=${transferSyntaxUID}` },
    });
    await response.arrayBuffer();
    if (response.status === 406 && transferSyntaxUID === JPEG_LOSSLESS_SV1) return;
    expect(response.status).toBe(200);
    const file = await transcoded(source, transferSyntaxUID);
    const dump = await run('dcmdump', ['-Un', '-q', '+P', '0002,0010', file]);
    expect(dump.stdout).toContain(`[${transferSyntaxUID}]`);
    expect(await comparePixels([[source.file, file]])).toEqual([{ shape: [512, 512], largest: 0 }]);
  });

  test.each([
    ['JPEG 2000', JPEG_2000_LOSSLESS],
    ['HTJ2K', HTJ2K_LOSSLESS],
  ])('colour of 16 bits a sample can be had as %s: pydicom sees the same', async (name, transferSyntaxUID) => {
    const { samples } = phantom(image({ SamplesPerPixel: 3, BitsAllocated: 16, Rows: 37, Columns: 101 }));
    const object = buildDicom({
      SOPInstanceUID: uid(name.length),
      StudyInstanceUID: uid(50_000),
      SeriesInstanceUID: uid(50_001),
      Rows: 37,
      Columns: 101,
      SamplesPerPixel: 3,
      PhotometricInterpretation: 'RGB',
      PlanarConfiguration: 0,
      BitsAllocated: 16,
      BitsStored: 16,
      HighBit: 15,
      PixelRepresentation: 0,
      PixelData: samples,
    });
    const [native, encoded] = [join(dir, 'wide.dcm'), join(dir, `wide-${transferSyntaxUID}.dcm`)];
    writeFileSync(native, object);
    expect(await stow(nephos.root, [Buffer.from(object)])).toMatchObject({ status: 200, failed: [] });
    const uids = { StudyInstanceUID: uid(50_000), SeriesInstanceUID: uid(50_001), SOPInstanceUID: uid(name.length) };
    const [bytes] = await getParts(
      instanceUrl(nephos.root, uids),
      `multipart/related; type="application/dicom"; transfer-syntax=${transferSyntaxUID}`,
    );
    writeFileSync(encoded, bytes!);
    expect(await comparePixels([[native, encoded]])).toEqual([{ shape: [37, 101, 3], largest: 0 }]);
  });

  test.each([
    ['explicit big endian', EXPLICIT_BIG],
    ['deflated', DEFLATED],
  ])('can be had as %s: dcmconv makes the same of it as of the original', async (_name, transferSyntaxUID) => {
    for (const object of made.filter(({ lossy }) => !lossy)) {
      const plain = async (file: string): Promise<string> => {
        const converted = join(dir, 'plain.dcm');
        await runOk('dcmconv', ['+te', '-g', '+e', '-p', file, converted]);
        const { stdout } = await run('dcmdump', ['-q', '+L', '+R', '4096', converted]);
        return stdout.replace(/^\(0002,.*$/gm, '').replace(/^#.*$/gm, '');
      };
      const original = await transcoded(object, EXPLICIT_LITTLE);
      expect(await plain(await transcoded(object, transferSyntaxUID)), object.how).toBe(await plain(original));
    }
  });

  test('have no more faults for dciodvfy after transcoding than before', async () => {
    const errors = async (file: string): Promise<string[]> => {
      const { stderr, stdout } = await run('dciodvfy', [file]);
      return `${stdout}${stderr}`
        .split('\n')
        .filter((line) => line.startsWith('Error'))
        .sort();
    };
    for (const object of made.filter(({ lossy }) => !lossy)) {
      // dciodvfy does not read deflated data sets: for that one the faults of what it was made of count.
      const before = new Set([...(await errors(object.file)), ...(await errors(source))]);
      for (const transferSyntaxUID of [EXPLICIT_LITTLE, EXPLICIT_BIG]) {
        const added = (await errors(await transcoded(object, transferSyntaxUID))).filter((line) => !before.has(line));
        expect(added, object.how).toEqual([]);
      }
    }
  });

  test('are rendered: the picture is what dcmj2pnm draws with the same window', async () => {
    const source = made.find(({ how }) => how === 'dcmcrle')!;
    const [png] = await getParts(`${instanceUrl(nephos.root, source)}/rendered?window=40,400,linear`, 'image/png');
    const ours = join(dir, 'ours.png');
    writeFileSync(ours, png!);
    const theirs = join(dir, 'theirs.png');
    await runOk('dcmj2pnm', ['+on', '+Ww', '40', '400', source.file, theirs]);
    const [difference] = await python<{ largest: number }[]>('compare-images.py', [ours, theirs]);
    expect(difference!.largest).toBeLessThanOrEqual(1);
  });
});
