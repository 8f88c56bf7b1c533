import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Rsyslog {
  /** the lines that it has kept, each whole: MSGID, a blank, and the message */
  lines(): Promise<string[]>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface RsyslogOptions {
  readonly dir: string;
  readonly port: number;
  /** PEM files */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** common name that clients must show */
  readonly client: string;
}

/** rsyslog as an Audit Record Repository: syslog over TLS (RFC 5425), clients by certificate, what comes in a file. */
export async function startRsyslog({ dir, port, ca, cert, key, client }: RsyslogOptions): Promise<Rsyslog> {
  await mkdir(join(dir, 'work'), { recursive: true });
  const kept = join(dir, 'kept.log');
  const config = join(dir, 'rsyslog.conf');
  await writeFile(
    config,
    `global(workDirectory="${join(dir, 'work')}" maxMessageSize="256k"
       defaultNetstreamDriverCAFile="${ca}" defaultNetstreamDriverCertFile="${cert}" defaultNetstreamDriverKeyFile="${key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" PermittedPeer="${client}")
input(type="imtcp" port="${port}" address="127.0.0.1" SupportOctetCountedFraming="on")
template(name="kept" type="string" string="%msgid% %msg%\\n")
action(type="omfile" file="${kept}" template="kept" flushOnTXEnd="on" asyncWriting="off")
`,
  );
  const child: ChildProcess = spawn('/usr/sbin/rsyslogd', ['-n', '-f', config, '-i', join(dir, 'pid')], {
    stdio: 'pipe',
  });
  let said = '';
  child.stderr!.on('data', (chunk) => {
    said += chunk;
  });
  const exited = once(child, 'exit');
  for (let i = 0; !(await answers(port)); i++) {
    if (child.exitCode !== null || i > 2_400) throw new Error(`rsyslog does not start: ${said}`);
    await sleep(50);
  }
  return {
    // The last is whole when there is something behind it, if only nothing.
    lines: async () => (existsSync(kept) ? (await readFile(kept, 'utf8')).split('\n').slice(0, -1) : []),
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      await exited;
    },
  };
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
