import { readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { ConfigError } from './config.ts';

/** PEM files: the chain, and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** Time for both files to be replaced before they are read again (ms). */
const SETTLE_MS = 1_000;

/** @throws ConfigError when the files cannot be read or do not belong together */
export function readCertificate({ cert, key }: CertificateFiles): SecureContextOptions {
  try {
    const context = { cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.2' as const };
    createSecureContext(context);
    return context;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`${cert}, ${key}: ${code ?? message}`);
  }
}

/**
 * Calls `renewed` when the files have been replaced, as ACME clients do every few weeks. Files that cannot be used are reported, and the
 * certificate stays what it was.
 * @returns a function that ends it
 */
export function watchCertificate(
  files: CertificateFiles,
  renewed: (context: SecureContextOptions) => void,
  onError: (error: unknown) => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const names = new Set([basename(files.cert), basename(files.key)]);
  const reread = (): void => {
    try {
      renewed(readCertificate(files));
    } catch (error) {
      onError(error);
    }
  };
  // The folders: a file that is replaced by renaming another over it is no longer the one that was watched.
  const watchers = [...new Set([dirname(files.cert), dirname(files.key)])].map((folder) =>
    watch(folder, { persistent: false }, (_, name) => {
      if (name !== null && !names.has(name)) return;
      clearTimeout(timer);
      timer = setTimeout(reread, SETTLE_MS);
      timer.unref();
    }),
  );
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
