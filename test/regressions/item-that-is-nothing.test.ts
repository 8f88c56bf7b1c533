import { expect, test } from 'vitest';
import { scheduled } from '#test/fixtures/worklist.ts';
import { anArchive } from '#test/unit/share-links/receiver.ts';

test('an order whose sequence holds null for an item is refused as malformed', async () => {
  const { ask, staff } = await anArchive();
  const given = { ...scheduled(), '00400100': { vr: 'SQ', Value: [null] } };
  expect((await ask('POST', '/api/worklist', { as: staff(), body: given })).status).toBe(400);
});
