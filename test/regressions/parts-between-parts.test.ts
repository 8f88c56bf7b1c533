import { expect, test } from 'vitest';
import { placeOfPart } from '#core/archive/transaction-parts.ts';
import type { TransactionRecord } from '#core/archive/transaction-records.ts';
import { anArchive } from '#test/unit/share-links/receiver.ts';

const ID = 'b3c1f0de-0000-4000-8000-000000000009';
const SHA256 = 'a'.repeat(64);

test.each([1.5, 1.000_000_1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, -1])(
  'a store transaction takes as many parts as were announced, and none between them: %d',
  (part) => {
    const objects = [{ sizeBytes: 3_000, sha256: SHA256, partBytes: 1_000 }];
    const record = { id: ID, by: 'x', createdAt: 0, expiresAt: 1, objects } satisfies TransactionRecord;
    expect(() => placeOfPart('main', record, 1, part)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => placeOfPart('main', record, part, 1)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  },
);

test('what is no part at all is the client’s fault, not ours', async () => {
  const { ask, staff } = await anArchive();
  const path = `/api/transactions/${ID}`;
  const objects = [{ sizeBytes: 3_000, sha256: SHA256 }];
  expect((await ask('PUT', path, { as: staff(), body: { objects } })).status).toBe(201);
  for (const part of [null, 1, 'x', [], { part: '1' }])
    expect((await ask('POST', `${path}/parts`, { as: staff(), body: { object: 1, parts: [part] } })).status).toBe(400);
  const between = { object: 1, parts: [{ part: 1.5, sha256: SHA256 }] };
  expect((await ask('POST', `${path}/parts`, { as: staff(), body: between })).status).toBe(404);
});
