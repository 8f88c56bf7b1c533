import { expect, test, vi } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const image = (number: number): Uint8Array => buildDicom({ SOPInstanceUID: uid(number) });

/**
 * Before the bytes of a store that died are given up, the notes about replacements are read, and one may be taken back. The function `sweep` could do
 * neither: it failed at the first such store behind whose beginning something had been deleted, and again every ten minutes. The trash was no longer
 * emptied, and what else interruptions had left stayed as it was.
 */
test('the sweep may do in AWS what giving up a store takes', async () => {
  const memory = memoryServices({ policy: { conflict: 'replace' } });
  for (const number of [10, 11]) await store(memory, image(number));
  const { index } = memory;
  const write = index.write.bind(index);
  const killed = vi.spyOn(index, 'write').mockImplementation((operations, options) => {
    const replaces = operations.some((one) => one.kind === 'put' && one.key.partition.startsWith(`${TENANT}|trashed|`));
    return replaces ? new Promise(() => {}) : write(operations, options);
  });
  void store(memory, buildDicom({ SOPInstanceUID: uid(10), ImageComments: 'another' }));
  await vi.waitFor(async () =>
    expect(await Array.fromAsync(memory.blobs.list(`${TENANT}/_manifests/trash.`))).toHaveLength(1),
  );
  killed.mockRestore();
  await moveToTrash(
    memory,
    TENANT,
    [{ StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(11) }],
    {
      ...{ kind: 'deleted', reason: 'wrong', by: 'admin' },
    },
  );

  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANT }, false);
  const { services } = archiveOf('sweep', cloudArchive(config, memory, false));
  expect(await sweep(services, TENANT, 0)).toMatchObject({ abandoned: 1 });
});
