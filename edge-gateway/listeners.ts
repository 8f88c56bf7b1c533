import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TlsOptions, Server as TlsServer } from 'node:tls';
import { describeError } from '#core/errors.ts';
import { COMMAND } from '#dimse/command-set.ts';
import type { IdentityPolicy } from '#dimse/identity.ts';
import { createDimseServer, type DimseServer, type DimseServerOptions } from '#dimse/server.ts';
import { ConfigError } from '#embedded/config.ts';
import { tlsOptions } from '#embedded/dicom-host.ts';
import { observeAssociation, observeOperation } from '#embedded/metrics.ts';
import type { EdgeContext } from './context.ts';
import { identityPolicyOf } from './identity.ts';
import { EDGE_POLICY, edgeServices } from './services.ts';

/** How long associations may go on when the gateway is stopped (ms). */
const CLOSE_MS = 10_000;
/** the most a timer takes */
const NEVER_MS = 2 ** 31 - 1;
const COMMAND_NAMES = new Map(Object.entries(COMMAND).map(([name, field]) => [field as number, name]));

interface Listener {
  readonly bind: string;
  readonly wantedPort: number;
  readonly made: DimseServer;
  readonly port: number;
}

/**
 * The gateway's DIMSE ports, TCP and TLS. Who may do what is asked of the configuration at each association, so that a reload needs
 * no new socket; another address gets one, while the old one's associations go on to their end.
 */
export class Listeners {
  readonly #context: EdgeContext;
  #tcp: Listener | undefined;
  #tls: Listener | undefined;
  readonly #retired = new Set<DimseServer>();
  #identity: IdentityPolicy | undefined;

  constructor(context: EdgeContext) {
    this.#context = context;
  }

  get port(): number | undefined {
    return this.#tcp?.port;
  }

  get tlsPort(): number | undefined {
    return this.#tls?.port;
  }

  /** under way */
  get associations(): number {
    const all = [this.#tcp?.made, this.#tls?.made, ...this.#retired];
    return all.reduce((sum, made) => sum + (made?.associations() ?? 0), 0);
  }

  /** Listens as the configuration says now. @throws ConfigError where it cannot; what listened before goes on */
  async apply(): Promise<void> {
    const { bind, dicom } = this.#context.config;
    const identity = identityPolicyOf(this.#context);
    const tls = dicom.tls && tlsOptions(dicom.tls);
    const plain = await this.#listen(this.#tcp, bind, dicom.port, undefined);
    if (plain !== this.#tcp && this.#tcp?.bind === bind && this.#tcp.wantedPort === dicom.tls?.port) {
      // TLS is to have the port that this one leaves.
      this.#retire(this.#tcp);
      this.#tcp = plain;
    }
    let secure: Listener | undefined;
    try {
      secure = dicom.tls && (await this.#listen(this.#tls, bind, dicom.tls.port, tls));
      // A renewed certificate, and whether clients must show one, need no new socket.
      if (tls !== undefined && secure !== undefined && secure === this.#tls)
        renew(secure.made.server as TlsServer, tls);
    } catch (error) {
      if (plain !== this.#tcp) await plain.made.close(0);
      throw error;
    }
    this.#identity = identity;
    const before = [this.#tcp, this.#tls];
    this.#tcp = plain;
    this.#tls = secure;
    for (const one of before) if (one !== undefined && one !== plain && one !== secure) this.#retire(one);
  }

  async close(): Promise<void> {
    const open = [this.#tcp?.made, this.#tls?.made, ...this.#retired];
    await Promise.all(open.map((made) => made?.close(CLOSE_MS)));
  }

  /** The one that listens there already, or another. */
  async #listen(
    current: Listener | undefined,
    bind: string,
    wantedPort: number,
    tls: TlsOptions | undefined,
  ): Promise<Listener> {
    if (current?.bind === bind && current.wantedPort === wantedPort) return current;
    const made = createDimseServer(optionsOf(this.#context, () => this.#identity, tls));
    made.server.listen(wantedPort, bind);
    try {
      await once(made.server, 'listening');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new ConfigError(`cannot listen for DICOM on ${bind}:${wantedPort}: ${code}`);
    }
    return { bind, wantedPort, made, port: (made.server.address() as AddressInfo).port };
  }

  #retire({ made }: Listener): void {
    this.#retired.add(made);
    void made.close(NEVER_MS).finally(() => this.#retired.delete(made));
  }
}

/** What is asked of whoever connects from now on. `requestCert` and `rejectUnauthorized` are read by Node for each connection. */
function renew(server: TlsServer, tls: TlsOptions): void {
  server.setSecureContext(tls);
  const { requestCert = false, rejectUnauthorized = true } = tls;
  Object.assign(server, { requestCert, rejectUnauthorized });
}

/** The answers of the moment: the server asks for each when it needs it. */
function optionsOf(
  context: EdgeContext,
  identity: () => IdentityPolicy | undefined,
  tls: TlsOptions | undefined,
): DimseServerOptions {
  return {
    get identity() {
      return identity();
    },
    get aeTitle() {
      return context.config.aeTitle;
    },
    get checkCalledAETitle() {
      return context.config.dicom.checkCalledAETitle;
    },
    get allowed() {
      return context.config.allowed;
    },
    get maxAssociations() {
      return context.config.dicom.maxAssociations;
    },
    policy: EDGE_POLICY,
    services: edgeServices(context),
    tls,
    onDefect: (error) => context.log.error('operation-failed', describeError(error)),
    onOperation: ({ commandField, status, seconds }) => {
      const command = COMMAND_NAMES.get(commandField) ?? 'other';
      observeOperation({ command, status, seconds });
      context.log.debug('operation', { command, status, ms: Math.round(seconds * 1e6) / 1e3 });
    },
    onEnd: ({ callingAETitle, address, accepted, error, operations, received, sent, seconds }) => {
      const outcome = error?.kind ?? 'released';
      observeAssociation({ outcome, received, sent });
      const ms = Math.round(seconds * 1e3);
      context.log.info('association', { callingAETitle, address, accepted, outcome, operations, received, sent, ms });
    },
  };
}
