import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashPasscode, identityPolicy } from '#embedded/dicom-users.ts';

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

test('wrong passcodes make their sender wait ever longer, by name and address, and nobody else', async () => {
  const path = join(folder, 'guessed.json');
  const passcode = await hashPasscode('right');
  await writeFile(
    path,
    JSON.stringify([
      { name: 'ct1', passcode },
      { name: 'ct2', passcode },
    ]),
  );
  let now = 0;
  const policy = identityPolicy({ identity: 'required', users: path }, noTokens, 'main', () => now)!;
  const verify = async (name: string, secondary: string, from = '10.0.0.1'): Promise<boolean> => {
    const primary = Buffer.from(name);
    const identity = { type: 2, responseRequested: false, primary, secondary: Buffer.from(secondary) } as never;
    return (await policy.verify(identity, from)) !== undefined;
  };
  for (let n = 0; n < 5; n++) expect(await verify('ct1', `guess ${n}`)).toBe(false);
  expect(await verify('ct1', 'right')).toBe(false);
  expect(await verify('ct1', 'right', '10.0.0.2')).toBe(true);
  expect(await verify('ct2', 'right')).toBe(true);
  now += 1_000;
  expect(await verify('ct1', 'guess')).toBe(false);
  now += 1_999;
  expect(await verify('ct1', 'right')).toBe(false);
  now += 1;
  expect(await verify('ct1', 'right')).toBe(true);
  for (let n = 0; n < 4; n++) expect(await verify('ct1', `guess ${n}`)).toBe(false);
  expect(await verify('ct1', 'right')).toBe(true);
});

test('a modality that asks many times at once is let in each time', async () => {
  const path = join(folder, 'busy.json');
  await writeFile(path, JSON.stringify([{ name: 'ct1', passcode: await hashPasscode('right') }]));
  const policy = identityPolicy({ identity: 'required', users: path }, noTokens, 'main')!;
  const identity = { type: 2, responseRequested: false, primary: Buffer.from('ct1'), secondary: Buffer.from('right') };
  const all = await Promise.all(Array.from({ length: 12 }, () => policy.verify(identity as never, '10.0.0.1')));
  expect(all.every((principal) => principal !== undefined)).toBe(true);
});
