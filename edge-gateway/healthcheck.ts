import { readEdgeConfig } from './config.ts';

/** The image's health check: 0 when the gateway's own /healthz answers 200. */
const TIMEOUT_MS = 4_000;
const ANY = new Set(['0.0.0.0', '::', '[::]']);

const { bind, port } = readEdgeConfig(process.env).http;
const host = ANY.has(bind) ? '127.0.0.1' : bind.includes(':') ? `[${bind}]` : bind;
try {
  const { status } = await fetch(`http://${host}:${port}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  process.exitCode = status === 200 ? 0 : 1;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
