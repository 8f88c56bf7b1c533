import { PacsError } from '#core/errors.ts';
import type { Upstream } from '../upstream.ts';

/** Beside its DICOMweb root a Nephos archive has an API of its own (`/dicomweb` → `/api`); undefined for an upstream that cannot be one. */
export function apiRootOf({ config }: Upstream): string | undefined {
  const match = /^(.*)\/dicomweb\/?$/.exec(config.url);
  return match === null ? undefined : `${match[1]}/api`;
}

export interface ApiAnswer {
  readonly status: number;
  /** parsed, where it is JSON */
  readonly body: unknown;
  /** Retry-After, as it came */
  readonly retryAfter: string | undefined;
}

/** @throws PacsError BUSY, OUTCOME_UNKNOWN as the upstream's `request` */
export async function askApi(
  upstream: Upstream,
  request: {
    readonly method: 'GET' | 'PUT' | 'POST';
    readonly path: string;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  },
): Promise<ApiAnswer> {
  const root = apiRootOf(upstream);
  if (root === undefined) throw new PacsError('NOT_FOUND', 'the upstream has no API of ours');
  const { method, path, body, headers, signal } = request;
  const response = await upstream.request({
    method,
    path: root + path,
    headers: {
      accept: 'application/json',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal,
  });
  const text = await response.text();
  return { status: response.status, body: parsed(text), retryAfter: response.headers['retry-after'] };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
