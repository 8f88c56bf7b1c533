import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSignedBy } from '#core/gateway-signature.ts';
import type { GatewayConfiguration } from '#core/gateways.ts';
import { ConfigError } from '#embedded/config.ts';
import { type EdgeConfig, readEdgeConfig } from '../config.ts';
import { writeDurably } from '../durable-file.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a configuration from afar cannot change: where the gateway's state is, who may see it, and whom it believes. */
const LOCAL_MEMBERS = ['dataDir', 'tenant', 'http', 'viewers', 'heartbeat', 'remoteConfiguration'] as const;
const FILE = 'remote-configuration.json';

/** The configuration in force: the local one, and over it the signed one that was taken last. */
export interface EffectiveConfig {
  readonly config: EdgeConfig;
  /** of the signed one; null: the local one alone */
  readonly number: number | null;
  /** of the newest signed one that was ever taken here, whether it is in force or not: no older one is taken (0: none) */
  readonly newest: number;
  /** the signed one that lies here cannot be used (any more), and why */
  readonly refused?: { readonly number: number; readonly reason: string } | undefined;
}

/** @throws ConfigError where the local configuration is wrong; a signed one that is wrong is left out, and told of */
export function effectiveConfig(env: Environment): EffectiveConfig {
  const local = readEdgeConfig(env);
  const kept = readKept(local.dataDir);
  if (local.remoteConfiguration === undefined || kept === undefined)
    return { config: local, number: null, newest: kept?.number ?? 0 };
  try {
    return { config: withSigned(env, local, kept), number: kept.number, newest: kept.number };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const refused = { number: kept.number, reason: reasonOf(error) };
    return { config: local, number: null, newest: kept.number, refused };
  }
}

/**
 * The configuration that `given` makes of the local one.
 * @throws ConfigError where the signature is not that of the key which the local configuration trusts, or the document is wrong
 */
export function withSigned(env: Environment, local: EdgeConfig, given: GatewayConfiguration): EdgeConfig {
  const { remoteConfiguration, heartbeat } = local;
  if (remoteConfiguration === undefined || heartbeat === undefined)
    throw new ConfigError('this gateway takes no configuration from the archive');
  if (!verified(publicKeyOf(remoteConfiguration.publicKey), heartbeat.id, given))
    throw new ConfigError('the signature is wrong');
  let document: unknown;
  try {
    document = JSON.parse(given.document);
  } catch {
    throw new ConfigError('the document is not JSON');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw new ConfigError('the document is not a JSON object');
  const own = LOCAL_MEMBERS.find((name) => Object.hasOwn(document, name));
  if (own !== undefined) throw new ConfigError(`${own} can be set by the local configuration alone`);
  return readEdgeConfig(env, document as Record<string, unknown>);
}

function verified(publicKeyPem: string, id: string, given: GatewayConfiguration): boolean {
  try {
    return isSignedBy(publicKeyPem, id, given);
  } catch (error) {
    throw new ConfigError(`remoteConfiguration.publicKey: ${(error as Error).message}`);
  }
}

function publicKeyOf(text: string): string {
  if (text.includes('-----BEGIN')) return text;
  try {
    return readFileSync(text, 'utf8');
  } catch (error) {
    throw new ConfigError(`remoteConfiguration.publicKey: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function readKept(dataDir: string): GatewayConfiguration | undefined {
  try {
    return JSON.parse(readFileSync(join(dataDir, FILE), 'utf8')) as GatewayConfiguration;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ConfigError(`${join(dataDir, FILE)} cannot be read: ${(error as Error).message}`);
  }
}

/** The next start begins with it. */
export const keepSigned = (dataDir: string, given: GatewayConfiguration): Promise<void> =>
  writeDurably(join(dataDir, FILE), JSON.stringify(given));

/** One line, as a report has room for. */
export const reasonOf = (error: ConfigError): string => error.message.replace(/\s+/g, ' ').slice(0, 300);
