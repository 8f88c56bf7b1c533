import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { imageDescription } from '#core/pixels/attributes.ts';
import { Codecs } from '#core/pixels/codecs.ts';
import { decodeFrame } from '#core/pixels/decode.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { renderableOf } from '#core/pixels/renderable.ts';
import { renderFrame } from '#core/pixels/rendering.ts';
import { transcodeInstance } from '#core/pixels/transcode.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { readFrame } from '#core/retrieve/frames.ts';
import type { Services } from '#core/services.ts';
import decodedCorpus from '#test/fixtures/pixels/decoded-corpus.json' with { type: 'json' };
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const ROOT = join(import.meta.dirname, '../../../../shared/testdata');
const pixels = new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS);
afterAll(() => pixels.close());

/** images of the corpus that are refused, and why */
const REFUSED: Readonly<Record<string, string>> = {};

/** files of one folder look alike: a series of 150 slices proves no more than these do */
const FILES_OF_A_FOLDER = 10;

function files(folder: string): string[] {
  const root = join(ROOT, folder);
  const counts = new Map<string, number>();
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => join(root, name))
    .filter((path) => statSync(path).isFile())
    .sort()
    .filter((path) => {
      const parent = join(path, '..');
      counts.set(parent, (counts.get(parent) ?? 0) + 1);
      return counts.get(parent)! <= FILES_OF_A_FOLDER || folder !== 'dicom';
    });
}

async function storedIn(services: Services, path: string): Promise<InstanceRecord | undefined> {
  const outcome = await store(services, readFileSync(path));
  if (outcome.kind !== 'stored') return undefined;
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = outcome.id;
  return findInstance(services, TENANT, StudyInstanceUID!, SeriesInstanceUID!, SOPInstanceUID!);
}

describe.skipIf(!existsSync(ROOT))('the corpus', () => {
  test('every image renders and becomes Explicit VR Little Endian', { timeout: 300_000 }, async () => {
    let images = 0;
    const failed: Record<string, string> = {};
    for (const path of files('dicom')) {
      const services = memoryServices({ pixels });
      const instance = await storedIn(services, path);
      if (instance === undefined || renderableOf(instance) !== 'image') continue;
      images++;
      const name = relative(join(ROOT, 'dicom'), path);
      try {
        const { bytes } = await renderFrame(services, instance, 1, { mediaType: 'image/jpeg' });
        if (bytes[0] !== 0xff || bytes[1] !== 0xd8) failed[name] = 'no JPEG';
        const chunks: Uint8Array[] = [];
        for await (const chunk of transcodeInstance(services, instance, '1.2.840.10008.1.2.1')) chunks.push(chunk);
        const plain = scanPart10(Buffer.concat(chunks), services.limits);
        if (plain.pixels?.frames !== instance.pixels!.frames) failed[name] = `${plain.pixels?.frames} frames`;
      } catch (error) {
        failed[name] = error instanceof PacsError ? `${error.code}: ${error.message}` : String(error);
      }
    }
    expect(images).toBeGreaterThan(200);
    expect(failed).toStrictEqual(REFUSED);
  });

  test('lossless frames are what pydicom, GDCM and pylibjpeg make of them', { timeout: 300_000 }, async () => {
    const codecs = new Codecs(codecModule());
    let compared = 0;
    for (const [name, frames] of Object.entries(decodedCorpus as Record<string, Record<string, string>>)) {
      const path = join(ROOT, 'dicom', name);
      const bytes = readFileSync(path);
      const scanned = scanPart10(bytes, DEFAULT_LIMITS);
      const services = memoryServices({ pixels });
      await services.blobs.put('clinic/object', bytes);
      const { pixels: layout, transferSyntaxUID } = scanned;
      const instance = standIn<InstanceRecord>({ blobKey: 'clinic/object', pixels: layout, transferSyntaxUID });
      for (const [frame, sha256] of Object.entries(frames)) {
        const codestream = await readFrame(services, instance, Number(frame));
        const { samples } = await decodeFrame(
          codecs,
          { codestream, transferSyntaxUID, image: imageDescription(scanned.dataSet) },
          2 ** 29,
        );
        expect(createHash('sha256').update(samples).digest('hex'), `${name}, frame ${frame}`).toBe(sha256);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(50);
  });

  test('broken objects are refused or drawn, and never anything else', { timeout: 300_000 }, async () => {
    const bugs: string[] = [];
    let tried = 0;
    for (const path of files('malformed')) {
      const services = memoryServices({ pixels });
      const instance = await storedIn(services, path).catch(() => undefined);
      if (instance === undefined || renderableOf(instance) !== 'image') continue;
      tried++;
      const attempts = [
        () => renderFrame(services, instance, 1, { mediaType: 'image/jpeg' }),
        async () => {
          for await (const _ of transcodeInstance(services, instance, '1.2.840.10008.1.2.1'));
        },
        async () => {
          for await (const _ of transcodeInstance(services, instance, '1.2.840.10008.1.2.4.201'));
        },
      ];
      for (const attempt of attempts) {
        await attempt().catch((error: unknown) => {
          const known = error instanceof PacsError && error.code !== 'INTERNAL';
          if (!known)
            bugs.push(`${relative(ROOT, path)}: ${error instanceof Error ? error.stack?.slice(0, 400) : error}`);
        });
      }
    }
    expect(tried).toBeGreaterThan(20);
    expect(bugs).toStrictEqual([]);
  });
});
