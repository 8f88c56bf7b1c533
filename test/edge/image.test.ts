import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { C_LIBRARY, V8_OPTIONS } from '#edge/process-memory.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const dockerfile = read('edge-gateway/Dockerfile');
const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> };
const lock = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, { cpu?: string[]; os?: string[]; version: string }>;
};

describe('the Dockerfile', () => {
  test('has the Node that the project is tested with', () => {
    expect(dockerfile).toContain(`FROM node:${devDependencies.node}-bookworm-slim AS build`);
  });

  test('ends without rights, with a health check, its state in a volume', () => {
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(last).toMatch(/^USER 65532:65532$/m);
    expect(last).toMatch(/^HEALTHCHECK .*CMD \[/m);
    expect(last).toMatch(/^VOLUME \/var\/lib\/nephos$/m);
    expect(dockerfile).not.toMatch(/:latest|\bADD\b|curl|wget/);
  });

  test('starts node with all that the gateway would start itself anew for', () => {
    const entry = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(dockerfile)![1]!) as string[];
    expect(entry.slice(1, -1)).toEqual(V8_OPTIONS);
    const environment = /^ENV (MALLOC.+)$/m
      .exec(dockerfile)![1]!
      .split(' ')
      .map((one) => one.split('='));
    expect(Object.fromEntries(environment)).toEqual(C_LIBRARY);
  });

  test('copies what its ignore file lets through, and nothing else', () => {
    const allowed = [...read('edge-gateway/Dockerfile.dockerignore').matchAll(/^!(.+)$/gm)].map((match) => match[1]!);
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1]!.split(' '));
    expect(copied.sort()).toEqual(allowed.sort());
  });
});

test.each(['x64', 'arm64'])('every native package of the image is locked for linux on %s', (cpu) => {
  for (const name of [`@lmdb/lmdb-linux-${cpu}`, `@esbuild/linux-${cpu}`]) {
    const locked = lock.packages[`node_modules/${name}`];
    expect(locked, name).toMatchObject({ cpu: [cpu], os: ['linux'] });
  }
});

describe('what is built for it', () => {
  let out: string;
  beforeAll(async () => {
    out = mkdtempSync(join(tmpdir(), 'nephos-image-'));
    await promisify(execFile)(process.execPath, ['edge-gateway/build.ts', out], { cwd: ROOT });
  });
  afterAll(() => rmSync(out, { recursive: true, force: true }));

  test('has an entry for the gateway, its health check and the thread of the pixel engine', () => {
    expect(readdirSync(out)).toEqual(expect.arrayContaining(['gateway.js', 'healthcheck.js', 'pixel-worker.js']));
    expect(readdirSync(out).filter((name) => name.endsWith('.ts'))).toEqual([]);
  });

  test('names no file of this machine, and has one native library and one wasm', () => {
    const files = readdirSync(out, { recursive: true, encoding: 'utf8' });
    expect(files.filter((name) => name.endsWith('.wasm'))).toHaveLength(1);
    expect(files.filter((name) => /lmdb.*\.node$/.test(name))).toHaveLength(1);
    for (const name of readdirSync(out).filter((one) => one.endsWith('.js')))
      expect(readFileSync(join(out, name), 'utf8')).not.toContain(ROOT);
  });

  test('carries the licences of what is in it', () => {
    for (const name of ['undici', 'dcmjs', 'ajv', 'lmdb', 'nephos'])
      expect(existsSync(join(out, 'licences', name)), name).toBe(true);
  });

  test('starts, and without a configuration says what is missing', async () => {
    const env = { PATH: process.env.PATH };
    const failed = await promisify(execFile)(process.execPath, [join(out, 'gateway.js')], { env }).then(
      () => undefined,
      (error: { code: number; stderr: string }) => error,
    );
    expect(failed).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no upstream'),
    });
  });
});
