import type { ConnectionOptions } from 'node:tls';
import { parseArgs } from 'node:util';
import { DEFAULT_TIMERS } from '#dimse/association.ts';
import type { Root } from '#dimse/remote-query.ts';
import type { RetrieveOptions } from '#dimse/remote-retrieve.ts';
import type { RemoteEntity } from '#dimse/scu.ts';
import type { QueryLevel } from '#dimse/services/query.ts';
import { ConfigError, readConfig } from './config.ts';
import { BCP_195, pem } from './dicom-destinations.ts';

export const USAGE = `nephos query-retrieve — ask another PACS, by DIMSE

  nephos query-retrieve echo AET@HOST:PORT
  nephos query-retrieve find AET@HOST:PORT [KEY=VALUE | KEY]...
  nephos query-retrieve move AET@HOST:PORT KEY=VALUE... --to AET        to an entity that the peer knows
  nephos query-retrieve move AET@HOST:PORT KEY=VALUE... --receive PORT  to ourselves; the peer must know us there
  nephos query-retrieve get  AET@HOST:PORT KEY=VALUE...

KEY is a keyword or a tag (PatientName, 00100010), of a sequence's item behind a dot. A KEY without a value is asked for.
What is retrieved is stored in the archive of this data folder (NEPHOS_DATA_DIR), which may be running, or below --out.

  --level patient|study|series|image   default study
  --root patient|study                 default study
  --limit N        find: cancel after N matches
  --json           find: DICOM JSON, one array
  --out FOLDER     get, move: one file for each object instead of the archive
  --bind ADDRESS   move --receive: where to listen (NEPHOS_BIND)
  --sender AET     move --receive: who sends, where that is not the peer's own AE title
  --aet AET        our AE title (NEPHOS_AE_TITLE)
  --timeout SECONDS  silence after which the peer is given up
  --tls            with --tls-ca FILE, --tls-cert FILE and --tls-key FILE, --tls-name NAME of the peer's certificate

exit code  0 all of it   1 nothing found, or not all of it arrived   2 wrong use   3 the peer cannot be reached, or refuses
`;

const OPTIONS = {
  level: { type: 'string', default: 'study' },
  root: { type: 'string', default: 'study' },
  limit: { type: 'string' },
  json: { type: 'boolean' },
  to: { type: 'string' },
  receive: { type: 'string' },
  out: { type: 'string' },
  bind: { type: 'string' },
  sender: { type: 'string' },
  aet: { type: 'string' },
  timeout: { type: 'string' },
  tls: { type: 'boolean' },
  'tls-ca': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-name': { type: 'string' },
  help: { type: 'boolean' },
} as const;

export type Values = ReturnType<typeof parse>['values'];
export const parse = (args: readonly string[]) =>
  parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });

/** What was asked for, checked. */
export interface Asked {
  readonly remote: RemoteEntity;
  readonly keys: readonly (readonly [string, string])[];
  readonly level: QueryLevel;
  readonly options: RetrieveOptions & { readonly root: Root };
  readonly values: Values;
  readonly env: NodeJS.ProcessEnv;
}

/** @throws ConfigError */
export function asked(
  peer: string,
  keys: readonly string[],
  values: Values,
  env: NodeJS.ProcessEnv,
  cancel: AbortSignal,
): Asked {
  const match = /^([^@]{1,16})@(\[[0-9A-Fa-f:.]+\]|[^@:\s]+):(\d{1,5})$/.exec(peer);
  if (peer === '') throw new ConfigError('name the peer: AET@HOST:PORT');
  if (match === null) throw new ConfigError(`${JSON.stringify(peer)} is not AET@HOST:PORT`);
  const [, aeTitle = '', host = '', port = ''] = match;
  const root = oneOf('--root', values.root, ['patient', 'study'] as const);
  const level = oneOf('--level', values.level, ['patient', 'study', 'series', 'image'] as const);
  if (root === 'study' && level === 'patient') throw new ConfigError('--level patient goes with --root patient');
  const tls = tlsOf(values);
  const artimMs = values.timeout === undefined ? DEFAULT_TIMERS.artimMs : whole('--timeout', values.timeout) * 1000;
  const idleMs = values.timeout === undefined ? DEFAULT_TIMERS.idleMs : artimMs;
  return {
    remote: { aeTitle, host: host.replace(/^\[|\]$/g, ''), port: portIn(peer, port), ...(tls && { tls }) },
    keys: keys.map((key) => {
      const at = key.indexOf('=');
      return at < 0 ? [key, ''] : [key.slice(0, at), key.slice(at + 1)];
    }),
    level: level.toUpperCase() as QueryLevel,
    options: {
      callingAETitle: values.aet ?? readConfig(env).dicom.aeTitle,
      root,
      cancel,
      timers: { artimMs, idleMs },
    },
    values,
    env,
  };
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw new ConfigError(`${name} is one of ${allowed.join(', ')}`);
  return found;
}

export function whole(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new ConfigError(`${name} is a whole number from 1`);
  return Number(text);
}

export function portIn(name: string, text: string): number {
  const port = whole(name, text);
  if (port > 65_535) throw new ConfigError(`${name}: a port is at most 65535`);
  return port;
}

function tlsOf(values: Values): ConnectionOptions | undefined {
  const { 'tls-ca': ca, 'tls-cert': cert, 'tls-key': key, 'tls-name': servername } = values;
  if (!values.tls) {
    if (ca ?? cert ?? key ?? servername) throw new ConfigError('the certificates go with --tls');
    return undefined;
  }
  if ((cert === undefined) !== (key === undefined)) throw new ConfigError('--tls-cert and --tls-key go together');
  return {
    ...BCP_195,
    ...(ca !== undefined && { ca: pem(ca) }),
    ...(cert !== undefined && { cert: pem(cert) }),
    ...(key !== undefined && { key: pem(key) }),
    ...(servername !== undefined && { servername }),
  };
}
