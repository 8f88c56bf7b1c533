import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import { merkleRoot } from '#core/audit/entry.ts';
import type { AuditEvent } from '#core/audit/event.ts';
import { type AuditSigner, cursorBefore, restoreAudit, sealAudit, segmentPrefix } from '#core/audit/seal.ts';
import { AuditTrail, auditPartition } from '#core/audit/trail.ts';
import { verifyAudit, verifySegments } from '#core/audit/verify.ts';
import type { Services } from '#core/services.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signer: AuditSigner = {
  keyId: 'the-clinics',
  sign: async (bytes) => signBytes(null, bytes, privateKey),
};
const keys = { keys: new Map([['the-clinics', publicKey]]) };

const opening = (n: number, at: number): AuditEvent => ({
  at,
  event: 'InstancesAccessed',
  action: 'R',
  outcome: 0,
  subject: `reader-${n % 3}`,
  roles: ['radiologist'],
  door: 'http',
  transaction: 'RetrieveStudyMetadata',
  studies: [`1.2.${n}`],
});

/** A trail of 25 entries by two processes, sealed in segments of ten, five left unsealed. */
async function aTrail() {
  const services = memoryServices({ limits: { auditSegmentEntries: 10 } });
  const trails = [new AuditTrail(services), new AuditTrail(services)];
  for (let n = 0; n < 25; n++) {
    services.clock.advance(1000);
    await trails[n % 2]!.record(TENANT, opening(n, services.clock.now()));
    if (n === 9 || n === 19) await sealAudit(services, TENANT, signer);
  }
  const segments: string[] = [];
  for await (const { key } of services.blobs.list(segmentPrefix(TENANT)))
    segments.push(Buffer.from(await services.blobs.readBytes(key)).toString());
  return { services, segments };
}

const linesOf = async (services: Services): Promise<string[]> => {
  const { records } = await services.index.query({ partition: auditPartition(TENANT), log: true, limit: 1000 });
  return records.map(({ item }) => item.line as string);
};

/** The segment with its lines changed, the seal as it was. */
const edited = (segment: string, edit: (lines: string[]) => void): string => {
  const lines = segment.trimEnd().split('\n');
  const seal = lines.pop()!;
  edit(lines);
  return `${[...lines, seal].join('\n')}\n`;
};

describe('a trail', () => {
  test('holds every act in order and proves whole, sealed or not yet', async () => {
    const { services, segments } = await aTrail();
    expect((await linesOf(services)).map((line) => JSON.parse(line).studies[0])).toEqual(
      Array.from({ length: 25 }, (_, n) => `1.2.${n}`),
    );
    expect(segments).toHaveLength(2);
    const report = await verifyAudit(services, TENANT, keys);
    expect(report).toMatchObject({ segments: 2, entries: 25, defect: undefined });
    expect(await verifySegments(segments, keys)).toMatchObject({ segments: 2, entries: 20, head: report.head });
  });

  test('holds no more of many acts at once than there were, each in one atomic write at most', async () => {
    const services = memoryServices();
    const trail = new AuditTrail(services);
    const written = vi.spyOn(services.index, 'write');
    await Promise.all(Array.from({ length: 250 }, (_, n) => trail.record(TENANT, opening(n, n))));
    expect(await linesOf(services)).toHaveLength(250);
    expect(written.mock.calls.length).toBeLessThanOrEqual(3);
    expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ entries: 250, defect: undefined });
  });

  test('counts a thousand frames of one study as one access, recorded before the first is shown', async () => {
    const services = memoryServices();
    const trail = new AuditTrail(services);
    const look = () => trail.recordOnce(TENANT, 'reader|1.2', { ...opening(1, services.clock.now()), instances: 1 });
    await look();
    expect(await linesOf(services)).toHaveLength(1);
    for (let i = 0; i < 999; i++) await look();
    await trail.flush();
    expect(await linesOf(services)).toHaveLength(1);
    services.clock.advance(services.limits.auditRepeatMs);
    await trail.flush();
    const counted = (await linesOf(services)).map((line) => JSON.parse(line));
    expect(counted).toHaveLength(2);
    expect(counted[1]).toMatchObject({ subject: 'reader-1', repeated: 999, instances: 999 });
    await look();
    expect(await linesOf(services)).toHaveLength(3);
  });

  test('is found by time through its seals', async () => {
    const { services } = await aTrail();
    const lines = (await linesOf(services)).map((line) => JSON.parse(line));
    const cursor = await cursorBefore(services, TENANT, lines[14].at);
    const { records } = await services.index.query({
      partition: auditPartition(TENANT),
      log: true,
      after: cursor,
      limit: 1,
    });
    expect(JSON.parse(records[0]!.item.line as string).studies).toEqual(['1.2.10']);
    expect(await cursorBefore(services, TENANT, 0)).toBe('');
  });

  test('two sealers make one segment, and one that died between segment and head is continued', async () => {
    const services = memoryServices();
    const trail = new AuditTrail(services);
    for (let n = 0; n < 4; n++) await trail.record(TENANT, opening(n, n));
    const both = await Promise.all([sealAudit(services, TENANT, signer), sealAudit(services, TENANT, signer)]);
    expect(both[0]?.root).toBe(both[1]?.root);
    const { write } = services.index;
    await trail.record(TENANT, opening(4, 4));
    services.index.write = async () => {
      throw new Error('killed');
    };
    await expect(sealAudit(services, TENANT, signer)).rejects.toThrow('killed');
    services.index.write = write;
    await trail.record(TENANT, opening(5, 5));
    await sealAudit(services, TENANT, signer);
    await sealAudit(services, TENANT, signer);
    expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 3, entries: 6, defect: undefined });
  });
});

test('an index made anew goes on with the trail of the blobs', async () => {
  const { services } = await aTrail();
  const anew = memoryServices({ limits: { auditSegmentEntries: 10 }, ports: { blobs: services.blobs } });
  expect(await restoreAudit(anew, TENANT)).toBe(2);
  expect(await linesOf(anew)).toEqual((await linesOf(services)).slice(0, 20));
  await new AuditTrail(anew).record(TENANT, opening(25, 0));
  await sealAudit(anew, TENANT, signer);
  expect(await verifyAudit(anew, TENANT, keys)).toMatchObject({ segments: 3, entries: 21, defect: undefined });
});

describe('an attacker who', () => {
  const cases: readonly [string, (segments: string[]) => string[], object][] = [
    [
      'edits an entry',
      ([a, b]) => [edited(a!, (lines) => (lines[3] = lines[3]!.replace('reader-0', 'reader-9'))), b!],
      { kind: 'altered', segment: 0, entry: 3 },
    ],
    [
      'deletes an entry',
      ([a, b]) => [a!, edited(b!, (lines) => lines.splice(5, 1))],
      { kind: 'missing', segment: 1, entry: 5 },
    ],
    [
      'inserts an entry',
      ([a, b]) => [edited(a!, (lines) => lines.splice(2, 0, lines[7]!)), b!],
      { kind: 'inserted', segment: 0, entry: 2 },
    ],
    [
      'appends an entry',
      ([a, b]) => [edited(a!, (lines) => lines.push(lines[7]!)), b!],
      { kind: 'inserted', segment: 0, entry: 10 },
    ],
    [
      'reorders entries',
      ([a, b]) => [edited(a!, (lines) => ([lines[4], lines[6]] = [lines[6]!, lines[4]!])), b!],
      { kind: 'reordered', segment: 0, entry: 4 },
    ],
    ['deletes a segment', ([, b]) => [b!], { kind: 'segmentMissing', segment: 0 }],
    ['repeats a segment', ([a, b]) => [a!, a!, b!], { kind: 'segmentAltered', segment: 1 }],
    [
      'changes a seal',
      ([a, b]) => [a!.replace('\\"entries\\":10', '\\"entries\\":9'), b!],
      { kind: 'badSignature', segment: 0 },
    ],
    [
      'signs with a key of his own',
      ([a, b]) => [a!.replace('the-clinics', 'attackers'), b!],
      { kind: 'unknownKey', segment: 0 },
    ],
    ['empties a segment', ([a]) => [a!, ''], { kind: 'segmentAltered', segment: 1 }],
  ];
  test.each(cases)('%s is found, and where', async (_, attack, defect) => {
    const { segments } = await aTrail();
    expect((await verifySegments(attack(segments), keys)).defect).toMatchObject(defect);
  });

  test('edits an entry and the list of hashes with it is found by the strand', async () => {
    const { segments } = await aTrail();
    const lines = segments[0]!.trimEnd().split('\n');
    lines[4] = lines[4]!.replace('"outcome":0', '"outcome":4');
    const { createHash } = await import('node:crypto');
    const sealLine = JSON.parse(lines[10]!);
    sealLine.leaves[4] = createHash('sha256').update(lines[4]!).digest('hex');
    lines[10] = JSON.stringify(sealLine);
    // Entry 6 is the next one by the same process: it no longer follows.
    expect((await verifySegments([`${lines.join('\n')}\n`, segments[1]!], keys)).defect).toMatchObject({
      kind: 'altered',
      segment: 0,
      entry: 6,
    });
  });

  test('cuts off the end is found by the head, kept in the index or elsewhere', async () => {
    const { services, segments } = await aTrail();
    const { head } = await verifySegments(segments, keys);
    expect((await verifySegments(segments.slice(0, 1), { ...keys, expectedHead: head })).defect).toMatchObject({
      kind: 'truncated',
    });
    await services.blobs.delete(`${segmentPrefix(TENANT)}0000000001.ndjson`);
    expect((await verifyAudit(services, TENANT, keys)).defect).toMatchObject({ kind: 'truncated', segment: 1 });
  });

  /** What the index says about the trail, changed under the archive's feet. */
  const tampered = (services: Services, change: (line: string) => string | undefined): Services => {
    const query: Services['index']['query'] = async (asked) => {
      const page = await services.index.query(asked);
      const records = page.records.flatMap((record) => {
        if (asked.partition !== auditPartition(TENANT)) return [record];
        const line = change(record.item.line as string);
        return line === undefined ? [] : [{ ...record, item: { line } }];
      });
      return { ...page, records };
    };
    const { index } = services;
    return { ...services, index: { ...index, get: index.get.bind(index), query } as Services['index'] };
  };

  test('changes the index alone is found, before and after the seal', async () => {
    for (const at of [4, 22]) {
      const { services } = await aTrail();
      const line = (await linesOf(services))[at]!;
      const changed = tampered(services, (one) => (one === line ? one.replace('"outcome":0', '"outcome":8') : one));
      // An unsealed entry is betrayed by the next one of its strand.
      const defect = at < 20 ? { segment: 0, entry: 4 } : { segment: 2, entry: 4 };
      expect((await verifyAudit(changed, TENANT, keys)).defect).toMatchObject({ kind: 'altered', ...defect });
    }
  });

  test('takes an unsealed entry out is found', async () => {
    const { services } = await aTrail();
    const line = (await linesOf(services))[21]!;
    const changed = tampered(services, (one) => (one === line ? undefined : one));
    expect((await verifyAudit(changed, TENANT, keys)).defect).toMatchObject({ kind: 'missing', segment: 2 });
  });
});

describe('when the trail cannot be written', () => {
  const failing = (services: Services) => {
    const { write } = services.index;
    const broken = { value: true };
    Object.assign(services.index, {
      write: (...args: Parameters<typeof write>) =>
        broken.value ? Promise.reject(new Error('no space left')) : Reflect.apply(write, services.index, args),
    });
    return broken;
  };
  const storing: AuditEvent = { ...opening(1, 0), event: 'InstancesTransferred', action: 'C' };

  test('writes stop, reads go on, and all comes back by itself', async () => {
    const services = memoryServices();
    const broken = failing(services);
    const trail = new AuditTrail(services);
    trail.admit(true);
    await expect(trail.record(TENANT, storing)).rejects.toMatchObject({ code: 'BUSY' });
    expect(() => trail.admit(true)).toThrow('audit trail');
    trail.admit(false);
    await trail.record(TENANT, opening(1, 0));
    broken.value = false;
    services.clock.advance(services.limits.auditProbeMs);
    trail.admit(true);
    await trail.record(TENANT, storing);
    trail.admit(true);
    expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ entries: 1, defect: undefined });
  });

  test('nothing goes on where the policy wants all recorded, everything where it is off', async () => {
    const services = memoryServices();
    failing(services);
    const strict = new AuditTrail(services, 'all');
    await expect(strict.record(TENANT, opening(1, 0))).rejects.toMatchObject({ code: 'BUSY' });
    expect(() => strict.admit(false)).toThrow('audit trail');
    const lax = new AuditTrail(services, 'off');
    await lax.record(TENANT, storing);
    lax.admit(true);
  });
});

test('the root is that of RFC 9162', () => {
  // The tree of RFC 6962's test vectors: leaves '', 00, 10, 2021, 3031, 40414243, 5051…57, 6061…6f (here by their own hashes).
  expect(merkleRoot([])).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  expect(merkleRoot([''])).toBe('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  expect(merkleRoot(leaves)).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
  expect(merkleRoot(leaves.slice(0, 7))).toBe('ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c');
});
