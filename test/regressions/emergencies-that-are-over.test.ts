import { expect, test } from 'vitest';
import { beginEmergency, policyOf } from '#core/access/changes.ts';
import { type Emergency, POLICY_LIMITS, policyKeys } from '#core/access/policy.ts';
import { asItem } from '#core/ports/index-table.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const HOUR_MS = 60 * 60 * 1000;

test('however many have taken emergency access in the last weeks, nobody in need is refused it', async () => {
  const services = memoryServices();
  const now = services.clock.now();
  for (let n = 0; n < POLICY_LIMITS.emergencies; n++) {
    const id = `0${String(n).padStart(25, '0')}`;
    const over: Emergency = {
      id,
      subject: `doctor-${n % 7}`,
      StudyInstanceUID: uid(n),
      reasonCode: 'ETREAT',
      reason: 'unconscious',
      startedAt: now - 2 * HOUR_MS,
      until: now - HOUR_MS,
    };
    await services.index.write([{ kind: 'put', key: policyKeys.emergency(TENANT, id), item: asItem(over) }]);
  }
  const inNeed = { tenant: TENANT, subject: 'in.need', roles: ['radiologist' as const] };
  const asked = { StudyInstanceUID: uid(1), reasonCode: 'ETREAT', reason: 'unconscious' };
  const { id } = await beginEmergency(services, inNeed, asked);
  const { emergencies } = await policyOf(services, TENANT);
  expect(emergencies).toHaveLength(POLICY_LIMITS.emergencies);
  expect(emergencies.filter(({ subject }) => subject === 'in.need')).toMatchObject([{ id }]);
});
