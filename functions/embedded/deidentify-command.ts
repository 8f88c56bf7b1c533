import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { WorkerPixelEngine } from '#adapters/local/worker-pixel-engine.ts';
import { ConfigError } from '#core/configuration.ts';
import { REFUSALS, type Refusal } from '#core/deidentify/judge.ts';
import { deidentifyObject, type Engine, type Outcome, type SourceObject } from '#core/deidentify/object.ts';
import { DATE_POLICIES, PROFILE_FLAGS, readProfile } from '#core/deidentify/profile.ts';
import { isProjectName } from '#core/deidentify/projects.ts';
import { PROJECT_KEY_BYTES, Pseudonyms } from '#core/deidentify/pseudonyms.ts';
import { asPacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';

const hyphenated = (name: string): string => name.replace(/[A-Z]+/g, (letters) => `-${letters.toLowerCase()}`);

const USAGE = `nephos deidentify — de-identified copies of DICOM files (PS3.15 Annex E), without an archive

  nephos deidentify FILE|FOLDER... --out FOLDER [options]

  --key FILE        the secret of the project, made where there is none: with it the same patients have the same pseudonyms
                    next time. Without it nobody, you included, can make them again. Keep it as you keep patients' names.
  --project NAME    what the copies are made for (default: export)
  --dates WHAT      ${DATE_POLICIES.join(', ')} (default: remove); shift: by a number of days that is the patient's own
  --profile FILE    the options as JSON, with rules for pixels (docs/deidentification.md)
${PROFILE_FLAGS.map((name) => `  --${hyphenated(name)}`).join('\n')}

Files are written as FOLDER/{study}/{series}/{instance}.dcm, under their new UIDs. What cannot be shown to be clean is refused, and
said. What is not promised: docs/deidentification.md.
`;

/** @returns the process's exit code: 1 when something was refused or could not be read */
export async function deidentifyCommand(args: readonly string[], say: (text: string) => void): Promise<number> {
  const flags = Object.fromEntries(PROFILE_FLAGS.map((name) => [hyphenated(name), { type: 'boolean' as const }]));
  const { positionals, values } = parse(args, flags);
  const {
    out,
    key,
    project = 'export',
    dates,
    profile: profileFile,
    help,
  } = values as Record<string, string | undefined>;
  if (help !== undefined || positionals.length === 0 || out === undefined) {
    say(USAGE);
    return help !== undefined ? 0 : 2;
  }
  if (!isProjectName(project)) throw new ConfigError('--project must be [a-z0-9][a-z0-9-]{0,62}');
  const chosen = Object.fromEntries(
    PROFILE_FLAGS.flatMap((name) => (hyphenated(name) in values ? [[name, true]] : [])),
  );
  const given = profileFile === undefined ? {} : ((await readJsonFile(profileFile)) as object);
  const profile = readProfile({ ...given, ...(dates !== undefined && { dates }), ...chosen });
  const pixels = new WorkerPixelEngine({ limits: DEFAULT_LIMITS });
  const pseudonyms = new Pseudonyms(key === undefined ? randomBytes(PROJECT_KEY_BYTES) : await projectKey(key));
  const engine: Engine = { limits: DEFAULT_LIMITS, pixels, profile, pseudonyms, project };
  const counts = { written: 0, repeated: 0, refused: 0, failed: 0 };
  const written = new Set<string>();
  try {
    for (const path of positionals)
      for await (const file of filesBelow(path)) {
        const { kind, why } = await copyFile(file, out, engine, written);
        counts[kind]++;
        if (why !== undefined) say(`${kind}  ${file}: ${why}`);
      }
  } finally {
    await pixels.close();
  }
  say(
    `${counts.written} written to ${out}, ${counts.repeated} repeated, ${counts.refused} refused, ${counts.failed} failed`,
  );
  return counts.refused + counts.failed > 0 ? 1 : 0;
}

function parse(args: readonly string[], flags: Record<string, { type: 'boolean' }>) {
  const text = { type: 'string' as const };
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { out: text, key: text, project: text, dates: text, profile: text, help: { type: 'boolean' }, ...flags },
    });
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

async function readJsonFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path}: ${(error as NodeJS.ErrnoException).code ?? 'no JSON'}`);
  }
}

/** The secret of a file, in hex; a new one, which only its owner can read, where there is no file. */
async function projectKey(path: string): Promise<Uint8Array> {
  const known = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new ConfigError(`${path}: ${error.code}`);
  });
  if (known === undefined) {
    const key = randomBytes(PROJECT_KEY_BYTES);
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(`${key.toString('hex')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    return key;
  }
  const key = Buffer.from(known.trim(), 'hex');
  if (key.length !== PROJECT_KEY_BYTES || known.trim().length !== 2 * PROJECT_KEY_BYTES)
    throw new ConfigError(`${path} is no key of ${PROJECT_KEY_BYTES} bytes in hex`);
  return key;
}

async function* filesBelow(path: string): AsyncGenerator<string> {
  if (!(await stat(path)).isDirectory()) {
    yield path;
    return;
  }
  for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) yield* filesBelow(child);
    else if (entry.isFile() && entry.name !== 'DICOMDIR') yield child;
  }
}

const fileObject = (path: string): SourceObject => ({
  blobKey: path,
  blobs: {
    read: (key, { offset, length } = { offset: 0 }) =>
      createReadStream(key, {
        start: offset,
        highWaterMark: 1024 * 1024,
        ...(length !== undefined && { end: offset + length - 1 }),
      }),
    async readBytes(key, { offset, length = 0 } = { offset: 0 }) {
      const file = await open(key);
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    },
  },
});

interface Copied {
  readonly kind: 'written' | 'repeated' | 'refused' | 'failed';
  readonly why?: string;
}

const describe = (reasons: readonly Refusal[]): string => reasons.map((reason) => REFUSALS[reason]).join('; ');

async function copyFile(path: string, out: string, engine: Engine, written: Set<string>): Promise<Copied> {
  try {
    const outcome: Outcome = await deidentifyObject(fileObject(path), engine);
    if (outcome.kind === 'refused') return { kind: 'refused', why: describe(outcome.reasons) };
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = outcome.to;
    const target = join(out, StudyInstanceUID, SeriesInstanceUID, `${SOPInstanceUID}.dcm`);
    if (written.has(target)) return { kind: 'repeated', why: 'a file before it has the same SOPInstanceUID' };
    await mkdir(dirname(target), { recursive: true });
    await write(outcome.bytes, target);
    written.add(target);
    return { kind: 'written' };
  } catch (thrown) {
    const error = asPacsError(thrown);
    const refusal = error.details.refusal as Refusal | undefined;
    if (refusal !== undefined) return { kind: 'refused', why: describe([refusal]) };
    return { kind: 'failed', why: `${error.code} ${error.message}` };
  }
}

/** Under another name until it is whole: what was refused halfway leaves nothing. */
async function write(bytes: AsyncIterable<Uint8Array>, target: string): Promise<void> {
  const part = `${target}.part`;
  try {
    const file = await open(part, 'w');
    try {
      for await (const chunk of bytes) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(part, target);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}
