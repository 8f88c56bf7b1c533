import type { Services } from '../services.ts';
import { type DeliveryJob, type DeliveryReport, deliverStudy } from './deliver.ts';
import { releaseDeliveries, resumeDeliveries } from './deliveries.ts';
import { ROUTE } from './enqueue.ts';
import { takeInRoutes } from './intake.ts';

/** Has what was stored taken in by the rules, where this archive routes at all. */
export async function askForIntake({ policy, jobs }: Pick<Services, 'policy' | 'jobs'>, tenant: string): Promise<void> {
  if (policy.routing.hosts.length > 0) await jobs.enqueue(ROUTE, { tenant });
}

/** A job of the queue `route`: takes in what was stored, or sends a study. */
export async function workRoute(
  services: Services,
  payload: Readonly<Record<string, unknown>>,
): Promise<DeliveryReport | undefined> {
  const { tenant, study, destination } = payload as Partial<Record<keyof DeliveryJob, string>>;
  if (tenant === undefined) return undefined;
  if (study !== undefined && destination !== undefined) return deliverStudy(services, { tenant, study, destination });
  if (await takeInRoutes(services, tenant)) await services.jobs.enqueue(ROUTE, { tenant });
  return undefined;
}

/**
 * For the sweeper: takes in what nobody was asked to, and goes on with deliveries whose sender died.
 * @param alone no other process can be sending: whoever had a delivery is dead
 */
export async function sweepRoutes(services: Services, tenant: string, alone: boolean): Promise<void> {
  if (services.policy.routing.hosts.length === 0) return;
  await askForIntake(services, tenant);
  if (alone) await releaseDeliveries(services, tenant);
  await resumeDeliveries(services, tenant);
}
