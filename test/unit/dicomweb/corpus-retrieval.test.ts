import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { instancesOfSeries, seriesOfStudy } from '#core/retrieve/find.ts';
import { retrieveBulkdata } from '#dicomweb/bulkdata.ts';
import { retrieveFrames } from '#dicomweb/retrieve-frames.ts';
import { retrieveInstance } from '#dicomweb/retrieve-instances.ts';
import { retrieveInstanceMetadata } from '#dicomweb/retrieve-metadata.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { ask, partsOf, ROOT } from './asking.ts';

const CORPUS = '../shared/testdata/dicom';

/** Real objects of every kind, where the machine has them. */
describe.skipIf(!existsSync(CORPUS))('every object of the corpus', () => {
  const files = existsSync(CORPUS)
    ? readdirSync(CORPUS, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && /\.(dcm|img)$|^[^.]+$/i.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name))
    : [];

  test('comes back byte for byte; its metadata, bulk data and frames can be had', async () => {
    const faults: string[] = [];
    let seen = 0;
    let bulks = 0;
    let frames = 0;
    for (const file of files) {
      const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
      const bytes = readFileSync(file);
      const outcome = await store(services, bytes);
      if (outcome.kind !== 'stored') continue;
      seen++;
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = outcome.id;
      const params = { study: StudyInstanceUID, series: SeriesInstanceUID, instance: SOPInstanceUID };
      const fault = (what: string, detail: unknown): void => void faults.push(`${file}: ${what}: ${detail}`);

      const whole = await ask(services, retrieveInstance, params, { accept: 'application/dicom; transfer-syntax=*' });
      if (!whole.body.equals(bytes)) fault('bytes differ', whole.status);

      const { body } = await ask(services, retrieveInstanceMetadata, params);
      for (const [, uri] of body.toString().matchAll(/"BulkDataURI":"([^"]+)"/g)) {
        const prefix = `${ROOT}/studies/${params.study}/series/${params.series}/instances/${params.instance}/bulkdata/`;
        if (!uri!.startsWith(prefix)) fault('reference elsewhere', uri);
        const bulk = await ask(
          services,
          retrieveBulkdata,
          { ...params, bulk: uri!.slice(prefix.length) },
          {
            accept: 'multipart/related; type="application/octet-stream"; transfer-syntax=*',
          },
        );
        if (bulk.status !== 200) fault('bulk data', `${bulk.status} ${bulk.body}`);
        else if ((await partsOf(bulk)).length === 0) fault('bulk data', 'no part');
        bulks++;
      }

      const [series] = await seriesOfStudy(services, TENANT, params.study);
      for await (const { pixels } of instancesOfSeries(services, TENANT, params.study, series!.SeriesInstanceUID)) {
        if (!pixels) continue;
        for (const number of new Set([1, pixels.frames])) {
          const answer = await ask(
            services,
            retrieveFrames,
            { ...params, frames: String(number) },
            {
              accept: 'multipart/related; type=application/octet-stream; transfer-syntax=*',
            },
          );
          if (answer.status !== 200) fault(`frame ${number}`, `${answer.status} ${answer.body}`);
          else if ((await partsOf(answer))[0]!.body.length === 0) fault(`frame ${number}`, 'empty');
          frames++;
        }
      }
    }
    expect(faults).toEqual([]);
    expect(seen).toBeGreaterThan(200);
    expect(bulks).toBeGreaterThan(100);
    expect(frames).toBeGreaterThan(100);
  });
});
