import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server under test and all processes that it started, in a process group of its own. */
export interface RunningServer {
  readonly child: ChildProcess;
  readonly logFile: string;
  /** @returns the pids of the server and all its descendants that live now. */
  pids(): number[];
  /** CPU used by the server and its descendants so far, dead ones included, in ms (kernel ticks of 10 ms). */
  cpuMs(): number;
  /** Sum of the peaks of resident memory of the living processes, in bytes. */
  peakRssBytes(): number;
  /** The largest of those peaks: the process that handled it. */
  largestPeakRssBytes(): number;
  /** Start the peak anew from what is resident now. */
  resetPeakRss(): void;
  /** SIGTERM, and SIGKILL when the server is not gone after `graceMs`. */
  stop(graceMs?: number): Promise<void>;
  /** SIGKILL to the whole group; resolves when all are gone. */
  kill9(): Promise<void>;
}

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly logFile: string;
  /** The server counts as started when a GET of this answers with any status below 500. */
  readonly readyUrl: string;
  /** ... and when it has printed this besides. */
  readonly readyText?: string;
  readonly readyTimeoutMs?: number;
}

/** @throws Error with the end of the log when the server exits or does not answer in time. */
export async function startServer(command: ServerCommand): Promise<RunningServer> {
  const log = openSync(command.logFile, 'a');
  const { size: logBefore } = fstatSync(log);
  const hasPrinted = (text: string): boolean => readFileSync(command.logFile).includes(text, logBefore);
  const child = spawn(command.command, command.args, {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', log, log],
    // A group of its own, so that one kill reaches the workers too.
    detached: true,
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const group = child.pid;
  if (group === undefined) {
    await exited;
    throw new Error(`cannot start ${command.command}`);
  }
  let gone = false;
  void exited.then(() => {
    gone = true;
  });
  const signalGroup = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-group, signal);
    } catch {
      // The group is gone already.
    }
  };
  // Nobody is left behind when the test process itself goes.
  const onExit = (): void => signalGroup('SIGKILL');
  process.once('exit', onExit);
  const server: RunningServer = {
    child,
    logFile: command.logFile,
    pids: () => processTree(group),
    cpuMs: () => processTree(group).reduce((sum, pid) => sum + cpuMsOf(pid), 0),
    peakRssBytes: () => processTree(group).reduce((sum, pid) => sum + peakRssOf(pid), 0),
    largestPeakRssBytes: () => Math.max(...processTree(group).map(peakRssOf)),
    resetPeakRss: () => {
      for (const pid of processTree(group)) {
        try {
          writeFileSync(`/proc/${pid}/clear_refs`, '5');
        } catch {
          // Not ours to reset; the peak then counts from the start.
        }
      }
    },
    stop: async (graceMs = 60_000) => {
      signalGroup('SIGTERM');
      const patience = new AbortController();
      await Promise.race([exited, sleep(graceMs, undefined, { signal: patience.signal }).catch(() => undefined)]);
      patience.abort();
      await server.kill9();
    },
    kill9: async () => {
      signalGroup('SIGKILL');
      await exited;
      while (groupLives(group)) await sleep(5);
      process.removeListener('exit', onExit);
    },
  };
  const deadline = Date.now() + (command.readyTimeoutMs ?? 120_000);
  const isReady = async (): Promise<boolean> =>
    (await answers(command.readyUrl)) && (command.readyText === undefined || hasPrinted(command.readyText));
  while (!(await isReady())) {
    if (gone || Date.now() > deadline) {
      const fate = gone ? `exited (${child.exitCode ?? child.signalCode})` : 'did not answer';
      await server.kill9();
      const tail = readFileSync(command.logFile, 'utf8').slice(-2000);
      throw new Error(`${command.command} ${fate} at ${command.readyUrl}\n${tail}`);
    }
    await sleep(20);
  }
  return server;
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request(url, { agent: false, timeout: 2000 }, (response) => {
      response.resume();
      resolve((response.statusCode ?? 500) < 500);
    });
    probe.on('error', () => resolve(false));
    probe.on('timeout', () => probe.destroy());
    probe.end();
  });
}

interface ProcessStat {
  readonly parent: number;
  readonly group: number;
  readonly state: string;
  readonly ticks: number;
}

/** Fields of proc(5) /proc/pid/stat, after the command name, which may itself hold blanks and brackets. */
function statOf(pid: number): ProcessStat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // utime, stime and those of waited-for children: fields 14 to 17.
    const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
    return { state: fields[0]!, parent: Number(fields[1]), group: Number(fields[2]), ticks };
  } catch {
    return undefined;
  }
}

const allPids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

function processTree(root: number): number[] {
  const stats = new Map(allPids().map((pid) => [pid, statOf(pid)]));
  const tree = new Set([root]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const [pid, stat] of stats) {
      if (stat !== undefined && !tree.has(pid) && (tree.has(stat.parent) || stat.group === root)) {
        tree.add(pid);
        grown = true;
      }
    }
  }
  return [...tree].filter((pid) => stats.get(pid) !== undefined);
}

const groupLives = (group: number): boolean =>
  allPids().some((pid) => {
    const stat = statOf(pid);
    return stat !== undefined && stat.group === group && stat.state !== 'Z';
  });

const cpuMsOf = (pid: number): number => (statOf(pid)?.ticks ?? 0) * 10;

function peakRssOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Waits until somebody listens on the port of this machine, for a few minutes at most. */
export async function listening(port: number): Promise<void> {
  for (let i = 0; i < 8_000; i++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    await sleep(25);
  }
  throw new Error(`nobody listens on ${port}`);
}
