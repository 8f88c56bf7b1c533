import { readFileSync } from 'node:fs';
import { errno } from './fs-errors.ts';

/** Names a process as no other one of this machine is named, before or after a restart of it: ids of processes are used again. */
const nameOf = (pid: number, start: string): string => `${bootOf()}-${pid}-${start}`;
const NAME = /^[0-9a-f]*-([0-9]+)-([0-9]*)$/;

/** The name of this one. */
export const thisProcess = (): string => nameOf(process.pid, startOf(process.pid) ?? '');

/** @param name as `thisProcess` gave it, to this or another process */
export function isAlive(name: string): boolean {
  const [, pid, start] = NAME.exec(name) ?? [];
  return pid !== undefined && nameOf(Number(pid), start ?? '') === name && isRunningSince(Number(pid), start ?? '');
}

/**
 * Whether the process lives that had this id when it began at `start` (`startOf`). Where the system does not say when it began, as while no file
 * handle is left to ask with, it is taken for that one: what belongs to a living process must not be taken for a dead one's.
 */
export function isRunningSince(pid: number, start: string): boolean {
  const now = startOf(pid);
  return now !== undefined && (now === '' || start === '' || now === start);
}

/** When a process started, in the system's own terms; '' where it does not say. Undefined: it is gone, or dead and only not buried yet. */
export function startOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return isRunning(pid) ? '' : undefined;
  }
  // The command, in parentheses, may hold anything; the state follows it, and field 22 is the 20th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : (fields[19] ?? '');
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errno(error) === 'EPERM';
  }
}

let boot: string | undefined;

/** Which start of the machine this is; '' where the system does not say. */
function bootOf(): string {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
        .replaceAll(/[^0-9a-f]/g, '')
        .slice(0, 12);
    } catch {
      boot = '';
    }
  }
  return boot;
}
