import { SERVICE } from './spec.ts';

/** The container's health check: 0 when the service's own /healthz answers 200. */
const TIMEOUT_MS = 4_000;

const port = process.env.NEPHOS_HTTP_PORT ?? SERVICE.port;
try {
  const { status } = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  process.exitCode = status === 200 ? 0 : 1;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
