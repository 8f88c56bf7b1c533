import { expect, test } from 'vitest';
import { searchInstances } from '#dicomweb/search.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

/** `54000100` looks like an integer: it stood before `00080005`, where JSON.stringify puts such names (PS3.18 F.2.2: ascending order). */
test('attributes of search results stand in the order of their tags', async () => {
  const services = memoryServices();
  const object = buildDicom({
    WaveformSequence: [{ NumberOfWaveformChannels: 1, '54001004': 16 }],
    SharedFunctionalGroupsSequence: [{ '00289110': [{ PixelSpacing: '1\\1' }] }],
  });
  expect(await store(services, object)).toMatchObject({ kind: 'stored' });
  for (const query of ['includefield=all', 'includefield=WaveformSequence,52009229']) {
    const { body } = await ask(services, searchInstances, {}, { query });
    const tags = [...body.toString().matchAll(/"([0-9A-F]{8})":\{"vr"/g)].map(([, tag]) => tag!);
    const outer = tags.filter((tag) => Object.keys(JSON.parse(body.toString())[0]).includes(tag));
    expect(outer).toEqual(outer.toSorted());
    expect(outer).toEqual(expect.arrayContaining(['00080005', '52009229', '54000100']));
  }
});
