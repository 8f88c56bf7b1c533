import { describe, expect, test } from 'vitest';
import type { AuditEvent } from '#core/audit/event.ts';
import type { AuditPolicy } from '#core/audit/trail.ts';
import { AuditTrail, type AuditTrailOptions, auditPartition } from '#core/audit/trail.ts';
import { verifyAudit } from '#core/audit/verify.ts';
import type { Limits } from '#core/limits.ts';
import type { Services } from '#core/services.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const look = (n: number): AuditEvent => ({
  at: n,
  event: 'InstancesAccessed',
  action: 'R',
  outcome: 0,
  subject: 'reader',
  roles: ['radiologist'],
  door: 'http',
  studies: [`1.2.${n}`],
});

const studiesOf = async ({ index }: Services): Promise<string[]> => {
  const { records } = await index.query({ partition: auditPartition(TENANT), log: true, limit: 1000 });
  return records.map(({ item }) => JSON.parse(item.line as string).studies[0]);
};

/** A trail of a process that lives on, on an index that writes nothing while its disk is `held`. */
function aTrail(
  policy: AuditPolicy = 'writes',
  limits: Partial<Limits> = {},
  options: AuditTrailOptions = { outlivesAnswers: true },
) {
  const services = memoryServices({ limits });
  const { write } = services.index;
  let release = (): void => {};
  let held: Promise<void> | undefined;
  const writes: number[] = [];
  services.index.write = async (operations, ...rest) => {
    await held;
    writes.push(operations.length);
    return Reflect.apply(write, services.index, [operations, ...rest]);
  };
  const hold = (): void => {
    held = new Promise((resolve) => {
      release = resolve;
    });
  };
  return { services, trail: new AuditTrail(services, policy, options), writes, hold, release: () => release() };
}

/** Whether it is settled when everything that could be done without the disk has been done. */
const isDone = async (work: Promise<unknown>): Promise<boolean> => {
  let done = false;
  const note = (): void => {
    done = true;
  };
  work.then(note, note);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  return done;
};

describe('where a process lives on, what only looks', () => {
  test('is answered while its entry is being written, and what comes meanwhile shares the next write, in its order', async () => {
    const { services, trail, writes, hold, release } = aTrail();
    hold();
    for (let n = 0; n < 30; n++) {
      if (n % 2 === 0) await trail.record(TENANT, look(n));
      else await trail.recordOnce(TENANT, `reader ${n}`, look(n));
      if (n === 0) await isDone(Promise.resolve());
    }
    expect(await studiesOf(services)).toEqual([]);
    release();
    await trail.written();
    expect(await studiesOf(services)).toEqual(Array.from({ length: 30 }, (_, n) => `1.2.${n}`));
    expect(writes).toEqual([1, 29]);
    expect(await verifyAudit(services, TENANT, { keys: new Map() })).toMatchObject({ entries: 30, defect: undefined });
  });

  test('waits for its own entry when as many wait as may, until there is room again', async () => {
    const { services, trail, hold, release } = aTrail('writes', { auditEntriesUnderWay: 3 });
    hold();
    for (let n = 0; n < 3; n++) expect(await isDone(trail.record(TENANT, look(n)))).toBe(true);
    const fourth = trail.recordOnce(TENANT, 'the fourth', look(3));
    expect(await isDone(fourth)).toBe(false);
    // The same again has nothing to be counted to yet, and no room either.
    const again = trail.recordOnce(TENANT, 'the fourth', look(3));
    expect(await isDone(again)).toBe(false);
    release();
    await Promise.all([fourth, again, trail.written()]);
    hold();
    expect(await isDone(trail.record(TENANT, look(4)))).toBe(true);
    release();
    await trail.flush(true);
    expect(await studiesOf(services)).toEqual(['1.2.0', '1.2.1', '1.2.2', '1.2.3', '1.2.4', '1.2.3']);
  });

  test('is in the trail when counts have been flushed, as a process does that ends', async () => {
    const { services, trail, hold, release } = aTrail();
    hold();
    for (let n = 0; n < 150; n++) await trail.recordOnce(TENANT, `${n}`, look(n));
    await trail.recordOnce(TENANT, '0', look(0));
    const flushed = trail.flush(true);
    expect(await isDone(flushed)).toBe(false);
    release();
    await flushed;
    expect(await studiesOf(services)).toHaveLength(151);
  });

  test('fails no request when its entry cannot be written; changes are refused from then on', async () => {
    const { services, trail } = aTrail();
    services.index.write = () => Promise.reject(new Error('no space left'));
    await trail.record(TENANT, look(0));
    await trail.written();
    expect(() => trail.admit(true)).toThrow('audit trail');
    trail.admit(false);
  });
});

describe('until its entry is durable waits', () => {
  const CHANGES: readonly [string, Partial<AuditEvent>][] = [
    ['a change', { event: 'InstancesTransferred', action: 'C' }],
    ['a correction', { event: 'InstancesAccessed', action: 'U' }],
    ['a deletion', { event: 'StudyDeleted', action: 'D' }],
    ['an access that is refused', { outcome: 4, error: 'FORBIDDEN' }],
    ['an access that failed', { outcome: 8, error: 'INTERNAL' }],
    ['a sign-in', { event: 'Login', action: 'E' }],
    ['an export', { event: 'DataExport', action: 'R' }],
    ['breaking the glass', { event: 'EmergencyOverrideStarted', action: 'E' }],
    ['reading the trail', { event: 'AuditLogUsed', action: 'R' }],
  ];
  const waits = async ({ trail, hold, release }: ReturnType<typeof aTrail>, event: AuditEvent): Promise<void> => {
    hold();
    const acts = [
      trail.record(TENANT, event),
      trail.recordOnce(TENANT, 'once', event),
      // The same again, while the first is being written.
      trail.recordOnce(TENANT, 'once', event),
    ];
    for (const act of acts) expect(await isDone(act)).toBe(false);
    release();
    await Promise.all(acts);
  };

  test.each(CHANGES)('%s', async (_, change) => {
    await waits(aTrail(), { ...look(1), ...change });
  });

  test('everything, where the policy is `all`', async () => {
    await waits(aTrail('all'), look(1));
  });

  test('everything, where the process may be frozen when it has answered', async () => {
    await waits(aTrail('writes', {}, {}), look(1));
  });
});
