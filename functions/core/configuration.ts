import { PLACEMENT_MODALITIES } from './archive/place.ts';
import type { TierStep } from './archive/tier-policy.ts';
import type { AuditPolicy } from './audit/trail.ts';
import type { PriceSource } from './costs/pricing.ts';
import { DEFAULT_LIMITS, type Limits, limitVariable } from './limits.ts';
import { type AllowedDestinations, isNetworkText, parseHost } from './routing/allowed.ts';
import type { ConflictPolicy, Policy } from './services.ts';

/** Names and texts, as a host's environment has them; core does not read it by itself. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The configuration is wrong: the message is all a person needs. */
export class ConfigError extends Error {}

/** form of a tenant's name */
export const TENANT = /^[a-z0-9][a-z0-9-]{0,31}$/;

/** @throws ConfigError */
export function oneOf<T extends string>(env: Environment, name: string, allowed: readonly T[], fallback: T): T {
  const value = env[name] ?? fallback;
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new ConfigError(`${name} must be one of ${allowed.join(', ')}`);
  return found;
}

/** @throws ConfigError */
export function whole(env: Environment, name: string, fallback: number, least: number, most: number): number {
  const text = env[name];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new ConfigError(`${name} must be a whole number from ${least} to ${most}`);
  }
  return value;
}

/** The parts of a text between commas. */
export const listOf = (text = ''): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** Limits that the environment sets. @throws ConfigError */
export function readLimits(env: Environment): Partial<Limits> {
  const limits: Record<string, number> = {};
  for (const [name, fallback] of Object.entries(DEFAULT_LIMITS)) {
    const variable = limitVariable(name);
    if (env[variable] !== undefined) limits[name] = whole(env, variable, fallback, 1, Number.MAX_SAFE_INTEGER);
  }
  return limits;
}

const ROUTING_HOSTS = 'NEPHOS_ROUTING_HOSTS';
const ROUTING_NETWORKS = 'NEPHOS_ROUTING_NETWORKS';

/** @throws ConfigError */
function readAllowedDestinations(env: Environment): AllowedDestinations {
  const networks = listOf(env[ROUTING_NETWORKS]);
  if (!networks.every(isNetworkText))
    throw new ConfigError(`${ROUTING_NETWORKS} must be addresses or networks (10.0.0.0/8), separated by commas`);
  const hosts = listOf(env[ROUTING_HOSTS]).map((text) => {
    const host = parseHost(text);
    if (host === undefined)
      throw new ConfigError(`${ROUTING_HOSTS}: ${JSON.stringify(text)} is not [http://][*.]host[:port]`);
    return host;
  });
  return { hosts, networks };
}

/** @throws ConfigError */
export const readPolicy = (env: Environment): Policy => ({
  conflict: oneOf<ConflictPolicy>(env, 'NEPHOS_CONFLICT_POLICY', ['keepFirst', 'version', 'replace'], 'keepFirst'),
  sanitizePreamble: oneOf(env, 'NEPHOS_SANITIZE_PREAMBLE', ['on', 'off'], 'off') === 'on',
  missingUIDs: oneOf<Policy['missingUIDs']>(env, 'NEPHOS_MISSING_UIDS', ['refuse', 'derive'], 'refuse'),
  audit: oneOf<AuditPolicy>(env, 'NEPHOS_AUDIT', ['writes', 'all', 'off'], 'writes'),
  tiers: [],
  procedureStepListeners: [],
  placementModalities: PLACEMENT_MODALITIES,
  metadataFrom: 'archive',
  rejectsAhead: true,
  prices: readDiskPrice(env),
  routing: readAllowedDestinations(env),
});

/** What a terabyte (10^12 bytes) of one's own disk costs a month, as `12.50 EUR`. @throws ConfigError */
function readDiskPrice(env: Environment): PriceSource {
  const text = env.NEPHOS_DISK_PRICE;
  if (text === undefined) return { kind: 'none' };
  const [, amount, currency] = /^(\d{1,9}(?:\.\d{1,6})?) ([A-Z]{3})$/.exec(text) ?? [];
  if (amount === undefined || currency === undefined)
    throw new ConfigError('NEPHOS_DISK_PRICE must be an amount and a currency (ISO 4217), as 12.50 EUR');
  return { kind: 'disk', currency, perTerabyteMonth: Number(amount) };
}

/** Steps of the form `tier:idleDays` or `tier:idleDays:studyAgeDays`, warmest first. @throws ConfigError that names the variable */
export function readTierSteps(env: Environment, name: string): TierStep[] {
  return listOf(env[name]).map((text) => {
    const [, tier = '', idleDays = '', studyAgeDays = '0'] =
      /^([a-z0-9-]{1,64}):(\d{1,5})(?::(\d{1,5}))?$/.exec(text) ?? [];
    if (tier === '')
      throw new ConfigError(`${name} must be steps of the form tier:idleDays or tier:idleDays:studyAgeDays`);
    return { tier, idleDays: Number(idleDays), studyAgeDays: Number(studyAgeDays) };
  });
}
