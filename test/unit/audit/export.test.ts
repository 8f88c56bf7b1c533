import { describe, expect, test } from 'vitest';
import { AuditExport, type AuditMessage, type AuditRepository } from '#core/audit/export.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const source = { id: 'nephos.test', aeTitle: 'NEPHOS' };

/** A repository that can be away, or take a delivery and lose its answer. */
class Shelf implements AuditRepository {
  readonly subjects: string[] = [];
  readonly taken: AuditMessage[] = [];
  isAway = false;
  losesAnswers = 0;
  attempts = 0;
  async deliver(messages: readonly AuditMessage[]): Promise<void> {
    this.attempts++;
    if (this.isAway) throw new Error('away');
    this.taken.push(...messages);
    for (const { xml } of messages) this.subjects.push(/UserID="(reader-\d+)"/.exec(xml)?.[1] ?? '');
    if (this.losesAnswers-- > 0) throw new Error('the line broke behind it');
  }
}

function aClinic() {
  const services = memoryServices();
  const trail = new AuditTrail(services);
  let n = 0;
  const read = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++, n++)
      await trail.record(TENANT, {
        at: services.clock.now(),
        event: 'InstancesAccessed',
        action: 'R',
        outcome: 0,
        subject: `reader-${n}`,
        roles: [],
        door: 'http',
        studies: [uid(1)],
      });
  };
  const shelf = new Shelf();
  return { services, read, shelf, exporter: new AuditExport(services, shelf, source) };
}
const readers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => `reader-${from + i}`);

describe('the trail on its way to a repository', () => {
  test('is handed over whole and in order, and then only what is new', async () => {
    const { exporter, read, shelf } = aClinic();
    await read(1_203);
    expect(await exporter.run(TENANT)).toEqual({ sent: 1_203, lagMs: 0 });
    await read(2);
    expect(await exporter.run(TENANT)).toEqual({ sent: 2, lagMs: 0 });
    expect(await exporter.run(TENANT)).toEqual({ sent: 0, lagMs: 0 });
    expect(shelf.subjects).toEqual(readers(0, 1_205));
  });

  test('waits for days while the repository is away, is asked after ever more rarely, and loses nothing', async () => {
    const { services, exporter, read, shelf } = aClinic();
    shelf.isAway = true;
    for (let hour = 0; hour < 72; hour++) {
      await read(5);
      for (let minute = 0; minute < 60; minute++) {
        const { lagMs } = await exporter.run(TENANT);
        expect(lagMs).toBe((hour * 60 + minute) * 60_000);
        services.clock.advance(60_000);
      }
    }
    // Every minute at first, then every five.
    expect(shelf.attempts).toBeLessThan(72 * 60 * 0.25);
    expect(shelf.attempts).toBeGreaterThan(72 * 60 * 0.15);
    shelf.isAway = false;
    services.clock.advance(5 * 60_000);
    expect(await exporter.run(TENANT)).toEqual({ sent: 360, lagMs: 0 });
    expect(shelf.subjects).toEqual(readers(0, 360));
  });

  test('comes again where nobody knows whether it arrived', async () => {
    const { services, exporter, read, shelf } = aClinic();
    await read(3);
    shelf.losesAnswers = 1;
    expect(await exporter.run(TENANT)).toMatchObject({ sent: 0, error: new Error('the line broke behind it') });
    services.clock.advance(1_000);
    expect(await exporter.run(TENANT)).toEqual({ sent: 3, lagMs: 0 });
    expect(shelf.subjects).toEqual([...readers(0, 3), ...readers(0, 3)]);
  });

  test('is one process’s affair; another takes over from one that has died, where it was', async () => {
    const { services, exporter, read, shelf } = aClinic();
    await read(2);
    await exporter.run(TENANT);
    const other = new AuditExport(services, shelf, source);
    await read(2);
    expect(await other.run(TENANT)).toEqual({ sent: 0, lagMs: undefined });
    services.clock.advance(3 * 60_000);
    expect(await other.run(TENANT)).toEqual({ sent: 2, lagMs: 0 });
    expect(await exporter.run(TENANT)).toEqual({ sent: 0, lagMs: undefined });
    expect(shelf.subjects).toEqual(readers(0, 4));
  });

  test('passes at once to another process, where the first one ends in order', async () => {
    const { services, exporter, read, shelf } = aClinic();
    await read(2);
    await exporter.run(TENANT);
    await exporter.release(TENANT);
    await read(1);
    expect(await new AuditExport(services, shelf, source).run(TENANT)).toEqual({ sent: 1, lagMs: 0 });
    expect(shelf.subjects).toEqual(readers(0, 3));
  });

  test('of two that begin at once, one does it', async () => {
    const { services, read, shelf } = aClinic();
    await read(40);
    const both = [new AuditExport(services, shelf, source), new AuditExport(services, shelf, source)];
    const reports = await Promise.all(both.map((one) => one.run(TENANT)));
    expect(reports.map(({ lagMs }) => lagMs).sort()).toEqual([0, undefined]);
    expect(shelf.subjects).toEqual(readers(0, 40));
  });

  test('names the patient by ID, where the archive has the study, and never by name', async () => {
    const { services, exporter, read, shelf } = aClinic();
    await store(services, buildDicom());
    await read(1);
    await exporter.run(TENANT);
    expect(shelf.taken[0]!.xml).toContain('ParticipantObjectID="P-1"');
    expect(shelf.taken[0]!.xml).not.toMatch(/Doe|Jane/);
  });
});
