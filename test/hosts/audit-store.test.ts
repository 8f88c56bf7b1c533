import '#test/fixtures/quiet-powertools.ts';
import type { APIGatewayProxyResult } from 'aws-lambda';
import { describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { createArchiveApp } from '#api/app.ts';
import { auditPartition } from '#core/audit/trail.ts';
import { PacsError } from '#core/errors.ts';
import type { WriteOperation, WriteOutcome } from '#core/ports/index-table.ts';
import { TokenStore } from '#core/tokens.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { invocable, lambdaContext, proxyEvent, routeTo } from '#test/fixtures/lambda-runtime.ts';
import { chunked, memoryServices, noPixels, TENANT } from '#test/fixtures/services.ts';
import { multipart } from './client.ts';

/** An index whose trail can be lost while the rest goes on. */
class LosingTrail extends MemoryIndexTable {
  isLost = false;
  override async write(operations: readonly WriteOperation[]): Promise<WriteOutcome> {
    if (this.isLost && operations.some((one) => one.kind === 'append' && one.partition === auditPartition(TENANT)))
      throw new PacsError('BUSY', 'the table does not answer');
    return super.write(operations);
  }
}

interface Told {
  readonly index: LosingTrail;
  readonly advance: (ms: number) => void;
  /** status of the answer */
  ask(method: string, path: string, body?: { headers: Record<string, string>; body: Uint8Array }): Promise<number>;
}

type AuditPolicy = 'writes' | 'all' | 'off';

function embedded(audit: AuditPolicy): Told {
  const index = new LosingTrail();
  const services = memoryServices({ policy: { audit }, ports: { index } });
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    everybody: { tenant: TENANT, subject: 'ct1', roles: ['admin'] },
    corsOrigins: [],
    tenant: TENANT,
    onFailure: () => {},
  });
  return {
    index,
    advance: (ms) => services.clock.advance(ms),
    async ask(method, path, given) {
      const answered = await app.answer({
        method,
        path,
        query: new URLSearchParams(),
        headers: given?.headers ?? {},
        body: chunked(given?.body ?? new Uint8Array()),
        origin: 'http://pacs.test',
      });
      return answered!.response.status;
    },
  };
}

function cloud(audit: AuditPolicy): Told {
  const index = new LosingTrail();
  const services = memoryServices({ ports: { index } });
  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANT, NEPHOS_AUDIT: audit }, false);
  const archive = cloudArchive(config, { ...services, index, pixels: noPixels }, false);
  return {
    index,
    advance: (ms) => services.clock.advance(ms),
    async ask(method, path, given) {
      const { name } = routeTo(method, path);
      const handler = invocable<unknown>(httpFunction(name, () => archive));
      const authorizer = { tenant: TENANT, subject: 'ct1', roles: 'admin' };
      const url = new URL(path, 'https://pacs.test');
      const event = proxyEvent({ method, url, headers: given?.headers ?? {}, body: given?.body, authorizer });
      return ((await handler(event, lambdaContext())) as APIGatewayProxyResult).statusCode;
    },
  };
}

const slice = (n: number) => multipart([buildDicom({ SOPInstanceUID: uid(n), InstanceNumber: n })]);
const STUDY = `/dicomweb/studies/${uid(1)}`;
const OBJECT = `${STUDY}/series/${uid(2)}/instances/${uid(3)}`;

describe.each([
  ['embedded', embedded],
  ['Lambda', cloud],
] as const)('%s: while the audit trail cannot be written', (_, host) => {
  test('by default changes stop and reading goes on; all is well again by itself', async () => {
    const { index, advance, ask } = host('writes');
    expect(await ask('POST', '/dicomweb/studies', slice(3))).toBe(200);
    index.isLost = true;
    advance(120_000);
    // The first that fails is what finds it out: stored, and not said to be.
    expect(await ask('POST', '/dicomweb/studies', slice(4))).toBe(503);
    expect(await ask('POST', '/dicomweb/studies', slice(5))).toBe(503);
    expect(await ask('DELETE', STUDY)).toBe(503);
    expect(await ask('GET', '/dicomweb/studies')).toBe(200);
    expect(await ask('GET', OBJECT)).toBe(200);
    index.isLost = false;
    advance(120_000);
    expect(await ask('POST', '/dicomweb/studies', slice(5))).toBe(200);
    expect(await ask('DELETE', STUDY)).toBeLessThan(300);
  });

  test('where everything must be recorded, reading stops too', async () => {
    const { index, advance, ask } = host('all');
    await ask('POST', '/dicomweb/studies', slice(3));
    index.isLost = true;
    advance(120_000);
    expect(await ask('GET', OBJECT)).toBe(503);
    expect(await ask('GET', '/dicomweb/studies')).toBe(503);
    index.isLost = false;
    advance(120_000);
    expect(await ask('GET', OBJECT)).toBe(200);
  });

  test('where nothing shall stop, nothing stops', async () => {
    const { index, advance, ask } = host('off');
    index.isLost = true;
    advance(120_000);
    expect(await ask('POST', '/dicomweb/studies', slice(3))).toBe(200);
    expect(await ask('GET', OBJECT)).toBe(200);
  });
});
