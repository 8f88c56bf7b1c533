import { expect, test } from 'vitest';
import type { AuditEvent } from '#core/audit/event.ts';
import { AuditTrail, auditPartition } from '#core/audit/trail.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

/** What was refused because its entry could not be written was counted when it was done again: to an entry that there was not. */
test('an act that was refused for want of its entry has one when it is done again within the minute', async () => {
  const services = memoryServices();
  const trail = new AuditTrail(services);
  const sending: AuditEvent = {
    at: services.clock.now(),
    event: 'InstancesTransferred',
    action: 'C',
    outcome: 0,
    subject: 'ct1',
    roles: ['modality'],
    door: 'dicom',
    studies: ['1.2.3'],
  };
  const { write } = services.index;
  services.index.write = () => Promise.reject(new Error('no space left'));
  await expect(trail.recordOnce(TENANT, 'ct1 1.2.3', sending)).rejects.toMatchObject({ code: 'BUSY' });
  services.index.write = write;
  await trail.recordOnce(TENANT, 'ct1 1.2.3', sending);
  const { records } = await services.index.query({ partition: auditPartition(TENANT), log: true, limit: 10 });
  expect(records.map(({ item }) => JSON.parse(item.line as string))).toMatchObject([{ subject: 'ct1', n: 0 }]);
});
