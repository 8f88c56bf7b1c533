import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigError } from '#embedded/config.ts';
import type { EdgeConfig, TlsFiles } from './config.ts';
import { tlsStampOf } from './upstream.ts';

/** Files of certificates are compared with what is in use this often (ms). */
const LOOK_MS = 2_000;

/** All PEM files that the configuration names. */
const filesOf = ({ dicom, upstreams, moveDestinations }: EdgeConfig): TlsFiles[] =>
  [dicom.tls, ...upstreams.map(({ tls }) => tls), ...moveDestinations.map(({ tls }) => tls)].flatMap(
    (tls) => tls ?? [],
  );

/** Undefined while one of them cannot be read: it is being replaced, or gone, and what is in use stays so. */
function certificateStamp(config: EdgeConfig): string | undefined {
  try {
    return filesOf(config).map(tlsStampOf).join(' ');
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/**
 * Calls `renewed` when a certificate, key or authority has been replaced: by renaming, by mounting, by writing over it. Looked at twice, so
 * that a certificate and its key are taken together.
 */
export async function watchCertificates(
  config: () => EdgeConfig,
  renewed: () => Promise<void>,
  signal: AbortSignal,
  lookMs = LOOK_MS,
): Promise<void> {
  let inUse = certificateStamp(config());
  let before = inUse;
  let of = config();
  while (!signal.aborted) {
    await sleep(lookMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    // Another configuration has been loaded with the files as they were then: what has been replaced since must not pass for it.
    if (config() !== of) {
      of = config();
      before = certificateStamp(of);
      inUse = undefined;
      continue;
    }
    const now = certificateStamp(of);
    if (now !== undefined && now !== inUse && now === before) {
      inUse = now;
      await renewed();
      of = config();
    }
    before = now;
  }
}
