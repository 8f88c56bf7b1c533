import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { associate, proposing } from '#dimse/scu.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { identity } from '#test/fixtures/audit-repository.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { nephos } from './process.ts';

const ROOT = join(import.meta.dirname, '../..');
const PASSCODE = 'passcode-of-ct1-7f3a9b';
const WRONG_PASSCODE = 'wrong-passcode-51c02e';
/** Too long to stand somewhere by chance, in what is random. */
const NAME = 'Quintessenza';
const WRONG_TOKEN = 'nephos_0wrongtokenwrongtokenwrongtokenwrongtoken';

let dir: string;
let child: ChildProcess | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-secrets-'));
});
afterEach(async () => {
  if (child?.pid !== undefined && child.exitCode === null) {
    const ended = once(child, 'close');
    process.kill(-child.pid, 'SIGKILL');
    await ended;
  }
  await rm(dir, { recursive: true, force: true });
});

/** What any user of the machine can read of the archive's processes. */
function processList(group: number): string {
  const lines: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // Behind the name: state, parent, process group.
      const [, , processGroup] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
      if (Number(processGroup) === group)
        lines.push(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
    } catch {
      // It has ended meanwhile.
    }
  }
  return lines.join('\n');
}

test('keys, tokens, passcodes and what is in a query stand in no log, answer, metric or list of processes', async () => {
  const data = join(dir, 'data');
  const masterFile = join(dir, 'master.key');
  expect((await nephos(data, 'keys', 'new', '--to', masterFile)).code).toBe(0);
  const [tls, ours, theirs] = await Promise.all(['localhost', 'nephos', 'repository'].map(identity));
  const hashed = await import('#embedded/dicom-users.ts').then(({ hashPasscode }) => hashPasscode(PASSCODE));
  const files = {
    'tls.pem': tls!.cert,
    'tls.key': tls!.key,
    'audit.pem': ours!.cert,
    'audit.key': ours!.key,
    'audit-ca.pem': theirs!.cert,
    'users.json': JSON.stringify([{ name: 'ct1', passcode: hashed }]),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  let log = '';
  child = spawn(process.execPath, ['functions/embedded/main.ts'], {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...bareEnvironment,
      NEPHOS_DATA_DIR: data,
      NEPHOS_WORKERS: '1',
      NEPHOS_HTTP_PORT: '0',
      NEPHOS_DICOM_PORT: '0',
      NEPHOS_LOG: 'debug',
      NEPHOS_ENCRYPTION_KEY_FILE: masterFile,
      NEPHOS_TLS_CERT: join(dir, 'tls.pem'),
      NEPHOS_TLS_KEY: join(dir, 'tls.key'),
      NEPHOS_DICOM_USERS: join(dir, 'users.json'),
      NEPHOS_DICOM_IDENTITY: 'required',
      NEPHOS_AUDIT_REPOSITORY: '127.0.0.1:1',
      NEPHOS_AUDIT_REPOSITORY_CA: join(dir, 'audit-ca.pem'),
      NEPHOS_AUDIT_REPOSITORY_CERT: join(dir, 'audit.pem'),
      NEPHOS_AUDIT_REPOSITORY_KEY: join(dir, 'audit.key'),
    },
  });
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await expect.poll(() => said, { timeout: 120_000 }).toMatch(/DICOM [^\n]*:\d+\n.*\n\n/s);
  const origin = /Open (https:\/\/\S+)\//.exec(said)![1]!;
  const dicomPort = Number(/NEPHOS@127\.0\.0\.1:(\d+)/.exec(said)![1]);
  // It, or a link that it stands in, is shown at the first start, once and to the person at the keyboard: stderr, never the log.
  const shown = /nephos_[\w-]{40,}/.exec(said)?.[0];
  const token = shown ?? (await nephosToken(data));

  const { Agent, fetch } = await import('undici');
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const bodies: string[] = [];
  const ask = async (
    path: string,
    init: { method?: string; headers?: Record<string, string>; body?: Uint8Array | string } = {},
  ) => {
    const answer = await fetch(origin + path, { ...init, dispatcher });
    bodies.push(JSON.stringify([...answer.headers].filter(([name]) => name !== 'set-cookie')), await answer.text());
    return answer;
  };
  const bearer = { authorization: `Bearer ${token}` };
  await ask('/dicomweb/studies', { ...multipart([buildDicom()]), headers: { ...multipart([]).headers, ...bearer } });
  const json = { 'content-type': 'application/json' };
  const session = await ask('/api/session', { method: 'POST', headers: json, body: JSON.stringify({ token }) });
  const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? '';
  await ask('/api/session', { method: 'POST', headers: json, body: JSON.stringify({ token: WRONG_TOKEN }) });
  await ask('/api/session', { method: 'POST', headers: json, body: `{"token":"${WRONG_TOKEN}` });
  await ask(`/dicomweb/studies?access_token=${token}&PatientName=${NAME}`, { headers: bearer });
  await ask(`/dicomweb/studies/${uid(1)}/metadata`, { headers: { cookie } });
  await ask(`/nowhere/${token}?x=${token}`);
  await ask('/dicomweb/studies', { headers: { authorization: `Bearer ${WRONG_TOKEN}` } });
  for (const secondary of [PASSCODE, WRONG_PASSCODE]) {
    const user = { type: 2, responseRequested: true, primary: Buffer.from('ct1'), secondary: Buffer.from(secondary) };
    const options = {
      callingAETitle: 'CT1',
      contexts: proposing([VERIFICATION, [EXPLICIT_LE]]),
      user: { identity: user },
    };
    const opened = await associate({ aeTitle: 'NEPHOS', host: '127.0.0.1', port: dicomPort }, options).catch(
      () => undefined,
    );
    await opened?.release();
  }
  await ask('/metrics', { headers: bearer });
  await ask('/api/audit', { headers: bearer });
  // The repository is tried every five seconds; of each request a line is written when it is over.
  await expect.poll(() => log, { timeout: 60_000 }).toMatch(/audit-repository/);
  await expect.poll(() => log, { timeout: 60_000 }).toMatch(/"transaction":"GetAudit"/);
  await expect.poll(() => log.match(/"event":"association"/g), { timeout: 60_000 }).toHaveLength(2);

  const secrets: Record<string, string> = {
    token,
    'the session': cookie.split('=')[1]!,
    'a wrong token': WRONG_TOKEN,
    'a passcode': PASSCODE,
    'a wrong passcode': WRONG_PASSCODE,
    'the hash of a passcode': hashed,
    'a name in a query': NAME,
    'the key of objects': (await readFile(masterFile, 'utf8')).trim().split(/\s+/).at(-1)!,
    'the key of the trail': (await readFile(join(data, 'audit-key.pem'), 'utf8')).split('\n')[1]!,
    'the key of HTTPS': tls!.key.split('\n')[2]!,
    'the key for the repository': ours!.key.split('\n')[2]!,
  };
  for (const [what, secret] of Object.entries(secrets)) expect(secret.length, what).toBeGreaterThan(2);
  const list = processList(child.pid!);
  expect(list.split('\n').length).toBeGreaterThanOrEqual(2);
  const places: Record<string, string> = { 'the log': log, answers: bodies.join('\n'), 'the list of processes': list };
  for (const [where, text] of Object.entries(places))
    for (const [what, secret] of Object.entries(secrets)) {
      // The study's own metadata name the patient, to whoever may read them.
      if (where === 'answers' && what === 'a name in a query') continue;
      expect(text.includes(secret), `${what} in ${where}`).toBe(false);
    }
  expect(log).toContain('"transaction":"SearchStudies"');
  expect(log).toContain('audit-repository');
}, 600_000);

async function nephosToken(data: string): Promise<string> {
  const { output } = await nephos(data, 'token');
  return /nephos_[\w-]{40,}/.exec(output)![0];
}
