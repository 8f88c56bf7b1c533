import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { status, until } from './clinic.ts';
import {
  cGet,
  cMove,
  dataSetOf,
  key,
  localInstances,
  putUpstream,
  type Site,
  slices,
  startSite,
  TENANT,
} from './read-site.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
  const { config } = site.gateway;
  const itself = { ...config.moveDestinations[0]!, aeTitle: 'EDGE', port: site.gateway.listeners.port! };
  await site.gateway.reload({ ...config, moveDestinations: [...config.moveDestinations, itself] });
});
afterAll(() => site?.close());

const large = (n: number): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(72),
    SeriesInstanceUID: uid(720),
    SOPInstanceUID: uid(7200 + n),
    Rows: 2048,
    Columns: 2048,
    PixelData: new Uint8Array(randomBytes(8 * 1024 * 1024)),
  });

test.each([
  ['small objects', 71, slices(71, 12)],
  ['objects that are passed on as they come', 72, [large(0), large(1)]],
])(
  'C-MOVE of %s from upstream to the gateway itself: they are here, once, and nothing waits for itself',
  async (_, study, objects) => {
    await putUpstream(site, objects);
    const wanted = { '0020000D': key('UI', uid(study)) };
    for (let i = 0; i < 2; i++) {
      const report = await cMove(site, 'STUDY', wanted, { destination: 'EDGE' });
      expect(report).toMatchObject({ status: 0, completed: objects.length, failed: 0 });
    }
    expect(await localInstances(site, uid(study))).toHaveLength(objects.length);
    const { report, taken } = await cGet(site, wanted);
    expect(report).toMatchObject({ status: 0, completed: objects.length });
    const dataSets = new Set(objects.map((object) => dataSetOf(object).toString('base64')));
    for (const dataSet of taken.values()) expect(dataSets.has(dataSet.toString('base64'))).toBe(true);
    // What came by itself first, as from a modality, is known upstream: it stays one there, and nobody holds a second for a conflict.
    const [upstream] = site.gateway.upstreams;
    const { blobs, index } = site.upstream.archive.services;
    const asked = async () => {
      const { pending, held } = await status(site.gateway, upstream!.name);
      const untaken = await site.gateway.forwarder.untaken();
      const found: string[] = [];
      for await (const { key: name } of blobs.list(`${TENANT}/${uid(study)}/`))
        if (name.endsWith('.dcm')) found.push(name);
      const conflicts = (await index.query({ partition: `${TENANT}|held`, limit: 10 })).records.length;
      return { waiting: pending + untaken, held, objects: found.length, conflicts };
    };
    const settled = { waiting: 0, held: 0, objects: objects.length, conflicts: 0 };
    await until(asked, (now) => isDeepStrictEqual(now, settled));
  },
);
