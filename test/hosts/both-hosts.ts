import '#test/fixtures/quiet-powertools.ts';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { createApp } from '#embedded/app.ts';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { createLog } from '#embedded/log.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

/** The same rules through the embedded host and through the functions behind their authorizer. */
export interface Host {
  readonly origin: string;
  readonly tenant: string;
  readonly services: Services;
  /** the first administrator's token */
  readonly admin: string;
  /** what was logged so far */
  readonly log: () => string;
  close(): Promise<void>;
}

export async function embeddedHost(env: Readonly<Record<string, string>> = {}): Promise<Host> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nephos-host-'));
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_HTTP_PORT: '0', ...env });
  const archive = await openArchive(config);
  const lines: string[] = [];
  const { answer } = createApp({ archive, config, log: createLog('debug', (line) => lines.push(line)) });
  const server = createHttpHost({ answer, publicUrl: undefined }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const admin = (await archive.tokens.bootstrap(config.tenant))!;
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tenant: config.tenant,
    services: archive.services,
    admin,
    log: () => lines.join(''),
    async close() {
      server.close();
      server.closeAllConnections();
      await archive.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

export async function lambdaHost(env: Readonly<Record<string, string>> = {}): Promise<Host> {
  const read = readLambdaConfig({ NEPHOS_TENANTS: TENANT, ...env }, false);
  // Each function would remember for a second who reaches what.
  const config = { ...read, limits: { ...read.limits, accessPolicyMs: 0 } };
  const memory = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const archive = cloudArchive(config, memory, false);
  const front = await startLambdaFront(archive);
  const admin = (await new TokenStore(memory).bootstrap(TENANT))!;
  return {
    origin: front.origin,
    tenant: TENANT,
    services: archive.services,
    admin,
    log: () => '',
    async close() {
      await front.close();
      await memory.pixels.close();
    },
  };
}
