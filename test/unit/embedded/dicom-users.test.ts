import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identityPolicy } from '#embedded/dicom-users.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-users-'));
});
afterAll(() => rm(folder, { recursive: true }));

const noTokens = { verify: async () => undefined };

async function policyOf(users: unknown) {
  const path = join(folder, 'users.json');
  await writeFile(path, JSON.stringify(users));
  return identityPolicy({ identity: 'required', users: path }, noTokens, 'main')!;
}

test('a user of the file reaches the studies that it says, and no others', async () => {
  const reach = [{ sites: ['North'] }, { modalities: ['MG'] }];
  const policy = await policyOf([{ name: 'ws1', rights: ['query', 'retrieve'], reach }, { name: 'ws2' }]);
  const verify = (name: string) =>
    policy.verify({
      type: 1,
      responseRequested: false,
      primary: Buffer.from(name),
      secondary: new Uint8Array(),
    } as never);
  expect(await verify('ws1')).toMatchObject({ subject: 'ws1', roles: ['finder', 'retriever'], reach });
  expect(await verify('ws2')).not.toHaveProperty('reach');
});

test('rules that cannot be read stop the archive from starting, by the number of the user', async () => {
  await expect(policyOf([{ name: 'ws1' }, { name: 'ws2', reach: [{ site: 'North' }] }])).rejects.toThrow(
    /user 2 of .*: reach must be/,
  );
});
