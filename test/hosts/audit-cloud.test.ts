import { standIn } from '#test/fixtures/stand-in.ts';
import '#test/fixtures/quiet-powertools.ts';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { GetPublicKeyCommand, type KMSClient, type SignCommand } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KmsAuditSigner } from '#adapters/aws/kms-audit-signer.ts';
import { segmentPrefix } from '#core/audit/seal.ts';
import { keepTrail } from '#lambda/audit-work.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { embeddedHost, type Host, lambdaHost } from './both-hosts.ts';

/**
 * The trail of the cloud as an auditor has it: copied from the bucket (`aws s3 sync s3://BUCKET/TENANT/audit FOLDER`), with the public key
 * from KMS, on a machine that knows nothing else. And the same search and export of it on both hosts.
 */
let dir: string;
let hosts: Readonly<Record<'embedded' | 'cloud', Host>>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-audit-cloud-'));
  hosts = {
    embedded: await embeddedHost({ NEPHOS_AUTH: 'on' }),
    cloud: await lambdaHost({ NEPHOS_LIMIT_AUDIT_SEGMENT_ENTRIES: '10' }),
  };
});
afterAll(async () => {
  for (const host of Object.values(hosts ?? {})) await host.close();
  await rm(dir, { recursive: true, force: true });
});

const ask = (host: Host, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(host.origin + path, { ...init, headers: { authorization: `Bearer ${host.admin}`, ...init.headers } });

describe.each(['embedded', 'cloud'] as const)('the trail, by the API of the %s host', (name) => {
  test('is searched and exported as entries, DICOM audit messages and FHIR AuditEvents', async () => {
    const host = hosts[name];
    for (const patient of ['A', 'B'])
      expect((await ask(host, `/dicomweb/studies?PatientID=${patient}`)).status).toBe(200);
    expect((await fetch(`${host.origin}/dicomweb/studies`)).status).toBe(401);
    const made = await ask(host, '/api/tokens', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'one', subject: 'ai.lung', roles: ['viewer'], expiresInDays: 1 }),
    });
    expect(made.status).toBe(201);
    const { entries } = (await (await ask(host, '/api/audit?limit=1000')).json()) as { entries: { event: string }[] };
    expect(entries.map(({ event }) => event)).toEqual(expect.arrayContaining(['Query', 'SecurityConfiguration']));
    const queries = (await (await ask(host, '/api/audit?event=Query&subject=admin')).json()) as typeof made & {
      entries: { event: string; subject: string }[];
    };
    expect(queries.entries.length).toBeGreaterThan(0);
    expect(queries.entries.every(({ event, subject }) => event === 'Query' && subject === 'admin')).toBe(true);
    const dicom = await ask(host, '/api/audit?format=dicom&event=Query');
    const messages = (await dicom.text()).trimEnd().split('\n');
    expect(messages.every((line) => line.includes('<AuditMessage>') && line.includes('csd-code="110112"'))).toBe(true);
    const fhir = (await (await ask(host, '/api/audit?format=fhir&event=Query')).json()) as {
      entry: { resource: { resourceType: string } }[];
    };
    expect(fhir.entry.length).toBe(messages.length);
    expect(fhir.entry.every(({ resource }) => resource.resourceType === 'AuditEvent')).toBe(true);
    expect((await ask(host, '/api/audit?event=AuditLogUsed')).status).toBe(200);
  });
});

describe('nephos audit verify, of the bucket’s copy', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kms = standIn<KMSClient>({
    send: async (command: GetPublicKeyCommand | SignCommand) =>
      command instanceof GetPublicKeyCommand
        ? { PublicKey: publicKey.export({ type: 'spki', format: 'der' }) }
        : { Signature: sign('sha256', command.input.Message!, privateKey) },
  });
  let folder: string;
  let keys: string;

  const verify = (...args: string[]): Promise<{ code: number; output: string }> =>
    new Promise((resolve) => {
      const options = { env: { ...bareEnvironment, NEPHOS_DATA_DIR: join(dir, 'nothing') } };
      const all = ['functions/embedded/cli.ts', 'audit', 'verify', folder, '--keys', keys, ...args];
      execFile(process.execPath, all, options, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr }),
      );
    });
  const pem = (key: KeyObject): string => String(key.export({ type: 'spki', format: 'pem' }));

  beforeAll(async () => {
    const { services, tenant } = hosts.cloud;
    for (let n = 0; n < 35; n++)
      await services.audit.record(tenant, {
        ...{ at: services.clock.now() + n, event: 'Query', action: 'E', outcome: 0, subject: `reader-${n}` },
        ...{ roles: [], door: 'http' },
      });
    const signer = await KmsAuditSigner.open(kms, 'arn:aws:kms:eu-west-1:123456789012:key/7e5c');
    await keepTrail(services, { signer, exporter: undefined }, tenant, () => false);
    [folder, keys] = [join(dir, 'copy'), join(dir, 'keys')];
    for (const path of [folder, keys]) await mkdir(path);
    for await (const { key } of services.blobs.list(segmentPrefix(tenant)))
      await writeFile(join(folder, basename(key)), await services.blobs.readBytes(key));
    // As openssl writes what `aws kms get-public-key` gives.
    await writeFile(join(keys, 'audit.pem'), pem(publicKey));
  });

  test('finds it whole, with nothing but the copy and the public key', async () => {
    const { code, output } = await verify();
    expect(output).toMatch(/^the trail of \S+ is whole: \d+ entries, \d sealed segments; newest seal [0-9a-f]{64}\n$/);
    expect(code).toBe(0);
    const newest = /[0-9a-f]{64}/.exec(output)![0];
    expect((await verify('--expect', newest)).code).toBe(0);
  });

  test.each<[string, (names: string[], at: (name: string) => string) => Promise<void>, RegExp]>([
    [
      'an entry that was altered',
      async ([, second], at) => {
        const text = await readFile(at(second!), 'utf8');
        await writeFile(at(second!), text.replace(/"reader-(\d+)"/, '"nobody-$1"'));
      },
      /^altered: segment 1, entry \d+/,
    ],
    [
      'an entry that was taken out',
      async ([, second], at) => {
        const lines = (await readFile(at(second!), 'utf8')).split('\n');
        lines.splice(4, 1);
        await writeFile(at(second!), lines.join('\n'));
      },
      /^missing: segment 1, entry 4;/,
    ],
    [
      'entries that changed places',
      async ([, second], at) => {
        const lines = (await readFile(at(second!), 'utf8')).split('\n');
        [lines[2], lines[5]] = [lines[5]!, lines[2]!];
        await writeFile(at(second!), lines.join('\n'));
      },
      /^reordered: segment 1, entry 2;/,
    ],
    ['a segment that is missing', async ([, second], at) => rm(at(second!)), /^segmentMissing: segment 1/],
    [
      'segments that changed places',
      async ([first, second], at) => {
        await rename(at(first!), at('x'));
        await rename(at(second!), at(first!));
        await rename(at('x'), at(second!));
      },
      /: segment [01]/,
    ],
    ['a segment that is empty', async ([, second], at) => writeFile(at(second!), ''), /: segment 1/],
  ])('names %s', async (_, tamper, found) => {
    const whole = folder;
    folder = await mkdtemp(join(dir, 'tampered-'));
    try {
      const names = (await readdir(whole)).sort();
      for (const name of names) await writeFile(join(folder, name), await readFile(join(whole, name)));
      await tamper(names, (name) => join(folder, name));
      const { code, output } = await verify();
      expect(output).toMatch(found);
      expect(code).toBe(1);
    } finally {
      folder = whole;
    }
  });

  test('names a tail that was cut off, to whoever knows the newest seal; and a key that is another', async () => {
    const newest = /[0-9a-f]{64}/.exec((await verify()).output)![0];
    const last = join(folder, (await readdir(folder)).sort().at(-1)!);
    await rename(last, `${last}.away`);
    expect(await verify('--expect', newest)).toMatchObject({ code: 1 });
    await rename(`${last}.away`, last);
    await writeFile(join(keys, 'audit.pem'), pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey));
    const other = await verify();
    expect(other.code).toBe(1);
    expect(other.output).toMatch(/segment 0/);
  });
});
