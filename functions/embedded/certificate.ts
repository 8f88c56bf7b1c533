import { readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { createSecureContext, type TlsOptions } from 'node:tls';
import { ConfigError } from './config.ts';

/** PEM files: the chain, and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  /** clients may show a certificate that it signed */
  readonly clientCa?: string | undefined;
}

/** Time for both files to be replaced before they are read again (ms). */
const SETTLE_MS = 1_000;

/**
 * With `clientCa` clients are asked for a certificate; who has none, or another's, may still come in by a token.
 * @throws ConfigError when the files cannot be read or do not belong together
 */
export function readCertificate({ cert, key, clientCa }: CertificateFiles): TlsOptions {
  try {
    const context = {
      cert: readFileSync(cert),
      key: readFileSync(key),
      minVersion: 'TLSv1.2' as const,
      ...(clientCa !== undefined && { ca: readFileSync(clientCa), requestCert: true, rejectUnauthorized: false }),
    };
    createSecureContext(context);
    return context;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`${filesOf({ cert, key, clientCa }).join(', ')}: ${code ?? message}`);
  }
}

const filesOf = ({ cert, key, clientCa }: CertificateFiles): string[] => [cert, key, clientCa ?? []].flat();

/**
 * Calls `renewed` when the files have been replaced, as ACME clients do every few weeks. Files that cannot be used are reported, and the
 * certificate stays what it was.
 * @returns a function that ends it
 */
export function watchCertificate(
  files: CertificateFiles,
  renewed: (context: TlsOptions) => void,
  onError: (error: unknown) => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const names = new Set(filesOf(files).map((file) => basename(file)));
  const reread = (): void => {
    try {
      renewed(readCertificate(files));
    } catch (error) {
      onError(error);
    }
  };
  // The folders: a file that is replaced by renaming another over it is no longer the one that was watched.
  const watchers = [...new Set(filesOf(files).map((file) => dirname(file)))].map((folder) =>
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
