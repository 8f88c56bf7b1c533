import type { GatewayConfiguration } from '#core/gateways.ts';
import { ConfigError } from '#embedded/config.ts';
import type { EdgeContext } from '../context.ts';
import { Activity } from './activity.ts';
import { Rates } from './rates.ts';

/** What the services, the workers and the status page share; one for each gateway. */
export interface StatusSide {
  readonly startedAt: number;
  readonly activity: Activity;
  readonly rates: Rates;
  /** under way */
  associations: () => number;
  /** of the signed configuration in force, and of one that was not taken */
  configuration: { number: number | null; refused?: { readonly number: number; readonly reason: string } | undefined };
  /** number of the newest signed configuration that was ever taken (0: none) */
  newestConfiguration: number;
  /** goes on under what a signed configuration makes of the local one. @throws ConfigError, and nothing has changed */
  reload: (given: GatewayConfiguration) => Promise<void>;
  /** where the status page is served; undefined: not yet */
  httpPort: number | undefined;
  /** how the last report to the archive went; undefined: none has been sent */
  report: { readonly at: number; readonly error: string | undefined } | undefined;
}

const sides = new WeakMap<object, StatusSide>();

export function statusSideOf({ services, clock }: EdgeContext): StatusSide {
  const known = sides.get(services);
  if (known !== undefined) return known;
  const side: StatusSide = {
    startedAt: clock.now(),
    activity: new Activity(clock),
    rates: new Rates(clock),
    associations: () => 0,
    configuration: { number: null },
    newestConfiguration: 0,
    reload: async () => {
      throw new ConfigError('this gateway takes no configuration from the archive');
    },
    httpPort: undefined,
    report: undefined,
  };
  sides.set(services, side);
  return side;
}
