import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SyslogRepository } from '#adapters/syslog/syslog-repository.ts';
import type { AuditMessage } from '#core/audit/export.ts';
import { FakeRepository, type Identity, identity } from '#test/fixtures/audit-repository.ts';

const messages = (count: number, bytes = 10): AuditMessage[] =>
  Array.from({ length: count }, (_, n) => ({
    at: Date.UTC(2026, 10, 22) + n,
    xml: `<AuditMessage n="${n}">ü${'x'.repeat(bytes)}</AuditMessage>`,
  }));

let ours: Identity;
let theirs: Identity;
let stranger: Identity;
beforeAll(async () => {
  [ours, theirs, stranger] = (await Promise.all(['nephos', 'repository', 'stranger'].map(identity))) as [
    Identity,
    Identity,
    Identity,
  ];
});

let repository: FakeRepository;
let port: number;
beforeEach(async () => {
  repository = new FakeRepository(theirs, ours);
  port = await repository.listen();
});
afterEach(() => repository.close());

const syslog = (
  certificates: { ca?: string; cert?: string; key?: string } = { ca: theirs.cert, ...ours },
  timeoutMs = 60_000,
) =>
  new SyslogRepository({
    host: '127.0.0.1',
    port,
    certificates: () => certificates,
    hostName: 'pacs',
    timeoutMs,
  });

describe('a repository behind syslog over TLS', () => {
  test('is given every message in order, octets counted, by a client it knows', async () => {
    await syslog().deliver(messages(3));
    await syslog().deliver(messages(2));
    expect(repository.lines).toHaveLength(5);
    expect(repository.lines[1]).toBe(
      `<85>1 2026-11-22T00:00:00.001Z pacs nephos ${process.pid} DICOM+RFC3881 - \uFEFF<AuditMessage n="1">ü${'x'.repeat(10)}</AuditMessage>`,
    );
    expect(repository.clients).toEqual(['nephos', 'nephos']);
  });

  test('is given many large messages as fast as it reads', async () => {
    await syslog().deliver(messages(500, 30_000));
    expect(repository.lines).toHaveLength(500);
    expect(repository.lines.every((line) => line.length > 30_000)).toBe(true);
  });

  test('has not taken what it died over, however little was missing', async () => {
    repository.diesAfterBytes = 100;
    await expect(syslog().deliver(messages(3))).rejects.toThrow();
    repository.diesAfterBytes = 2_000_000;
    await expect(syslog().deliver(messages(500, 30_000))).rejects.toThrow();
    expect(repository.lines).toEqual([]);
  });

  test('that never reads is given up', async () => {
    repository.isStuck = true;
    await expect(syslog(undefined, 1_000).deliver(messages(500, 30_000))).rejects.toThrow(/does not move/);
  });

  test('that is not there', async () => {
    await repository.close();
    await expect(syslog().deliver(messages(1))).rejects.toThrow(/ECONNREFUSED/);
  });

  test('is told nothing where its certificate is not one of those we trust', async () => {
    await expect(syslog({ ...ours, ca: stranger.cert }).deliver(messages(1))).rejects.toThrow();
    await expect(syslog({ ...ours }).deliver(messages(1))).rejects.toThrow(/self-signed/);
    expect(repository.clients).toEqual([]);
  });

  test('turns away a client without its certificate, and one with a foreign one: nothing counts as taken', async () => {
    await expect(syslog({ ca: theirs.cert }).deliver(messages(1))).rejects.toThrow();
    await expect(syslog({ ca: theirs.cert, ...stranger }).deliver(messages(1))).rejects.toThrow();
    expect(repository.lines).toEqual([]);
  });
});
