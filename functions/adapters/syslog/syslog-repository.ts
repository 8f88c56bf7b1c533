import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { syslogFrame, syslogLine } from '#core/audit/dicom-message.ts';
import type { AuditMessage, AuditRepository } from '#core/audit/export.ts';

/** What is in PEM files, or a secret: read for each connection, so that renewed certificates are taken as they come. */
export interface SyslogCertificates {
  /** who may have signed the repository's certificate; absent: whom Node trusts */
  readonly ca?: string | Buffer | undefined;
  /** ours, where the repository asks for one */
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
}

export interface SyslogOptions {
  readonly host: string;
  readonly port: number;
  readonly certificates: () => SyslogCertificates | Promise<SyslogCertificates>;
  /** HOSTNAME of the lines */
  readonly hostName: string;
  /** a connection on which nothing moves for this long has failed (ms) */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
/** A repository looks at our certificate when we think that we are connected, and hangs up on whom it does not know: at least this long is waited (ms). */
const SETTLE_MS = 300;
/** and as long as the handshake took, so many times */
const SETTLE_HANDSHAKES = 3;
/** in so many steps: while this process stands still no more than one of them passes, and what has come meanwhile is read in the next */
const SETTLE_STEPS = 10;

/**
 * An Audit Record Repository behind syslog over TLS (RFC 5425, the secure transport of IHE ITI-20), TLS 1.2 or later.
 *
 * The protocol has no answer that a message was taken. So each delivery is a connection of its own, ended by us: a repository that has read
 * all closes its side in order; one that died, was cut off or hung up before leaves a reset, or ends first, and the delivery has failed.
 */
export class SyslogRepository implements AuditRepository {
  readonly #options: SyslogOptions;
  #socket: TLSSocket | undefined;

  constructor(options: SyslogOptions) {
    this.#options = options;
  }

  async deliver(messages: readonly AuditMessage[]): Promise<void> {
    const { host, port, certificates, hostName, timeoutMs = TIMEOUT_MS } = this.#options;
    const { ca, cert, key } = await certificates();
    const socket = connect({
      host,
      port,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(isIP(host) === 0 && { servername: host }),
      minVersion: 'TLSv1.2',
    });
    this.#socket = socket;
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('the repository does not move')));
    const taken = endedInOrder(socket);
    // Looked at below, when all is written; a failure before that must not pass for one that nobody waits for.
    taken.catch(() => {});
    const startedAt = performance.now();
    await Promise.race([once(socket, 'secureConnect'), taken]);
    const settleMs = Math.max(SETTLE_MS, SETTLE_HANDSHAKES * (performance.now() - startedAt));
    for (let step = 0; step < SETTLE_STEPS; step++) await Promise.race([sleep(settleMs / SETTLE_STEPS), taken]);
    for (const { at, xml } of messages) {
      const frame = syslogFrame(syslogLine(xml, at, hostName, process.pid));
      if (!socket.write(frame)) await Promise.race([once(socket, 'drain'), taken]);
    }
    socket.end();
    await taken;
  }

  /** A delivery that is under way fails at once. */
  close(): void {
    this.#socket?.destroy(new Error('the archive stops'));
  }
}

/** Resolves when both sides have ended, we first. */
function endedInOrder(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    let isEnded = false;
    socket.on('error', reject);
    socket.on('end', () => {
      isEnded = socket.writableEnded;
      if (!isEnded) socket.destroy(new Error('the repository has ended the connection'));
    });
    socket.on('close', () => {
      if (isEnded) resolve();
      else reject(new Error('the connection to the repository has broken'));
    });
    // A repository has nothing to say; unread, its end would not be seen.
    socket.resume();
  });
}

const once = (socket: TLSSocket, event: string): Promise<void> => new Promise((resolve) => socket.once(event, resolve));
