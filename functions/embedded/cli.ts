import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { PacsError } from '#core/errors.ts';
import { isGatewayId } from '#core/gateways.ts';
import { type Archive, checkIndexIsOfNow, INDEX_FILE, openArchive } from './archive.ts';
import {
  type AuditOptions,
  describeReport,
  exportAudit,
  verifyExportedAudit,
  verifyOwnAudit,
} from './audit-command.ts';
import { clientsCommand, enrolmentCommand } from './clients-command.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import { deidentifyCommand } from './deidentify-command.ts';
import { hashPasscode } from './dicom-users.ts';
import { exportStudy } from './export-command.ts';
import { isOfFiles } from './file-errors.ts';
import { gatewayCommand } from './gateway-command.ts';
import { importFolders } from './import-command.ts';
import { keysCommand } from './keys-command.ts';
import { queryRetrieve } from './query-retrieve.ts';
import { backupCommand, rebuildCommand } from './rebuild-command.ts';
import { recordCommand } from './recorded-command.ts';
import { notedEnvironment } from './unread-variables.ts';
import { usersCommand } from './users-command.ts';

const USAGE = `nephos — the archive in this data folder (NEPHOS_DATA_DIR, default ./data)

  nephos import FOLDER...                store every DICOM file below the folders
  nephos export STUDY_UID --to FOLDER    write a study's objects, as received, one file each
  nephos verify                          read every object and compare it with its SHA-256
  nephos sweep                           put right what interruptions left
  nephos backup --to FILE                copy what no object tells: accounts, tokens, grants, links, worklist, … (see nephos backup --help)
  nephos rebuild                         make the index anew from the objects, with what else it holds (see nephos rebuild --help)
  nephos token                           a new administrator's token; the one before stops working
  nephos token --gateway ID              a new token of the edge gateway of that id
  nephos clients …                       programs that ask by themselves (see nephos clients --help)
  nephos enrol GATEWAY                   a one-time code for an edge gateway (see nephos enrol --help)
  nephos users …                         the people who sign in: list, add, link, roles, disable (see nephos users --help)
  nephos audit verify [FOLDER]           check the audit trail, or segments exported from one: --keys FOLDER, --expect HASH
  nephos audit export --to FOLDER        copy the sealed segments of the audit trail
  nephos gateway …                       keys and signed configurations for edge gateways (see nephos gateway --help)
  nephos keys …                          keys of encrypted objects: new, rotate, shred (see nephos keys --help)
  nephos passcode                        read a passcode from standard input, print it as NEPHOS_DICOM_USERS has it
  nephos deidentify …                    de-identified copies of files, without an archive (see nephos deidentify --help)
  nephos query-retrieve …                ask another PACS and get from it, by DIMSE (see nephos query-retrieve --help)

import, export, verify, sweep, backup, token, clients, enrol, users, audit and query-retrieve also work while the archive is running.
`;

type Command = (
  archive: Archive,
  config: Config,
  args: readonly string[],
  options: AuditOptions & { gateway?: string | undefined },
) => Promise<number>;

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const verify: Command = async ({ services }, config) => {
  const report = await verifyArchive(services, config.tenant, (done) => {
    if (done % 10_000 === 0) say(`${done} objects read`);
  });
  for (const { blobKey, problem } of report.damaged) say(`${problem}  ${blobKey}`);
  for (const blobKey of report.orphans) say(`orphan  ${blobKey}`);
  for (const { StudyInstanceUID, counted, recorded } of report.miscounted) {
    say(`miscounted  ${StudyInstanceUID}: ${counted} instances, ${recorded} recorded`);
  }
  say(
    `${report.intact} objects intact (${report.bytes} bytes), ${report.damaged.length} damaged, ${report.orphans.length} orphans`,
  );
  return report.damaged.length + report.miscounted.length > 0 ? 1 : 0;
};

const sweepNow: Command = async (archive, config) => {
  await checkIndexIsOfNow(archive, config, [config.tenant]);
  say(JSON.stringify(await sweep(archive.services, config.tenant)));
  return 0;
};

const token: Command = async ({ services, tokens }, config, _, { gateway }) => {
  if (gateway !== undefined && !isGatewayId(gateway))
    throw new ConfigError('a gateway’s id is [a-z0-9][a-z0-9-]{0,62}');
  const made = await (gateway === undefined
    ? tokens.renewBootstrap(config.tenant)
    : tokens.renewGateway(config.tenant, gateway));
  await recordCommand(services, config.tenant, {
    ...{ event: 'UserSecurityAttributes', action: 'U', transaction: 'RenewToken' },
    about: gateway ?? 'bootstrap',
  });
  say(made);
  return 0;
};

const audit: Command = async (archive, config, [act, folder], options) => {
  if (act === 'export') {
    if (options.to === undefined) throw new ConfigError('name a folder: --to FOLDER');
    await mkdir(options.to, { recursive: true });
    await recordCommand(archive.services, config.tenant, {
      ...{ event: 'AuditLogUsed', action: 'R', transaction: 'ExportAuditTrail' },
    });
    say(`${await exportAudit(archive, config, options.to)} segments written to ${options.to}`);
    return 0;
  }
  if (act !== 'verify') throw new ConfigError('audit verify or audit export');
  const report = await (folder === undefined
    ? verifyOwnAudit(archive, config, options)
    : verifyExportedAudit(folder, options));
  say(describeReport(report));
  return report.defect === undefined ? 0 : 1;
};

interface Named {
  readonly run: Command;
  /** words that may follow it */
  readonly most: number;
  readonly options: readonly string[];
  /** it begins an archive where there is none */
  readonly begins?: boolean;
}

const COMMANDS: Readonly<Record<string, Named>> = {
  import: {
    run: (archive, config, folders) => importFolders(archive, config, folders, say),
    most: Number.POSITIVE_INFINITY,
    options: [],
    begins: true,
  },
  export: {
    run: (archive, config, study, options) => exportStudy(archive, config, study, options, say),
    most: 1,
    options: ['to'],
  },
  verify: { run: verify, most: 0, options: [] },
  sweep: { run: sweepNow, most: 0, options: [] },
  token: { run: token, most: 0, options: ['gateway'], begins: true },
  audit: { run: audit, most: 2, options: ['to', 'keys', 'expect'] },
};

/** @throws ConfigError */
function ownConfig(): Config {
  const { env, unread } = notedEnvironment(process.env);
  const config = readConfig(env);
  for (const line of unread()) process.stderr.write(`${line}\n`);
  return config;
}

const openOwn = async (): Promise<[Archive, Config]> => {
  const config = ownConfig();
  return [await openArchive(config), config];
};

const isOfArguments = (error: unknown): error is Error =>
  error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');

/** What a person has to put right is said in a line. */
async function told(code: Promise<number>): Promise<number> {
  return code.catch((error: unknown) => {
    const isOwn = error instanceof ConfigError || error instanceof PacsError;
    if (!isOwn && !isOfFiles(error) && !isOfArguments(error)) throw error;
    // What node adds about arguments that begin with a dash helps nobody here.
    process.stderr.write(`${error.message.replace(/\. To specify a positional argument .*/s, '')}\n`);
    return 2;
  });
}

async function passcode(args: readonly string[]): Promise<number> {
  if (args.length > 0)
    throw new ConfigError('nephos passcode: the passcode comes by standard input, as arguments can be read by others');
  const given = readFileSync(0, 'utf8').replace(/\r?\n$/, '');
  if (given === '') throw new ConfigError('nephos passcode: there is none on standard input');
  say(await hashPasscode(given));
  return 0;
}

async function main(): Promise<number> {
  const rest = process.argv.slice(3);
  switch (process.argv[2]) {
    case 'gateway':
      return gatewayCommand(rest);
    case 'keys':
      return keysCommand(rest, process.env, say);
    case 'passcode':
      return passcode(rest);
    case 'rebuild':
      return rebuildCommand(rest, ownConfig(), say);
    case 'backup':
      return backupCommand(rest, ownConfig(), say);
    case 'clients':
      return clientsCommand(rest, openOwn, say);
    case 'enrol':
      return enrolmentCommand(rest, openOwn, say);
    case 'users':
      return usersCommand(rest, openOwn, say);
    case 'deidentify':
      return deidentifyCommand(rest, say);
    case 'query-retrieve':
      return queryRetrieve(rest, process.env);
    default:
      return ownCommand();
  }
}

async function ownCommand(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      to: { type: 'string' },
      gateway: { type: 'string' },
      keys: { type: 'string' },
      expect: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const [name, ...args] = positionals;
  if (name === undefined || name === 'help' || values.help) {
    process.stdout.write(USAGE);
    return name === undefined && !values.help ? 2 : 0;
  }
  const command = COMMANDS[name];
  if (!command) throw new ConfigError(`there is no command ${name}; nephos --help names them`);
  const odd = [...args.slice(command.most), ...Object.keys(values).filter((one) => !command.options.includes(one))];
  if (odd.length > 0) throw new ConfigError(`nephos ${name} knows nothing of ${odd.join(' ')}; see nephos --help`);
  const config = ownConfig();
  const isElsewhere = name === 'audit' && args.length > 1;
  if (!command.begins && !isElsewhere && !existsSync(join(config.dataDir, INDEX_FILE)))
    throw new ConfigError(`there is no index of an archive in ${config.dataDir} (NEPHOS_DATA_DIR)`);
  const archive = await openArchive(config);
  try {
    return await command.run(archive, config, args, values);
  } finally {
    await archive.close();
  }
}

// As the archive itself: what is imported, exported or backed up is its owner's.
process.umask(0o077);
process.exitCode = await told(main());
