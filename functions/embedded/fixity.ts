import { setTimeout as sleep } from 'node:timers/promises';
import { countDamaged } from '#core/archive/damage.ts';
import { checkFixity } from '#core/archive/fixity.ts';
import type { Services } from '#core/services.ts';
import type { Config } from './config.ts';
import { describeError, type Log } from './log.ts';
import { observeDamaged, observeVerified } from './metrics.ts';
import { tenantsOf } from './tenants.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** How often it is looked whether there is something to do (ms); also after the start, which has more urgent things to do. */
const LOOK_MS = 60_000;

/** Compares all objects with their SHA-256, again and again, slowly: in one of the server processes at a time, until `signal` aborts. */
export async function keepFixity(
  services: Services,
  config: Pick<Config, 'tenant' | 'dicom' | 'verify'>,
  log: Log,
  signal: AbortSignal,
  lookMs = LOOK_MS,
): Promise<void> {
  const { verify } = config;
  if (verify === 'off') return;
  const options = { everyMs: verify.days * DAY_MS, bytesPerSecond: verify.bytesPerSecond };
  for (;;) {
    await sleep(lookMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    try {
      let damaged = 0;
      for (const tenant of tenantsOf(config)) {
        await checkFixity(
          services,
          tenant,
          options,
          ({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sizeBytes }, problem) => {
            observeVerified(sizeBytes);
            const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
            if (problem !== undefined) log.error('object-damaged', { tenant, ...uids, problem });
          },
          signal,
        );
        damaged += await countDamaged(services, tenant);
      }
      observeDamaged(damaged);
    } catch (error) {
      log.error('fixity-failed', describeError(error));
    }
  }
}
