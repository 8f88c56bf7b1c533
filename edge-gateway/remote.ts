import type { RemoteEntity } from '#dimse/scu.ts';
import { BCP_195 } from '#embedded/dicom-destinations.ts';
import type { MoveDestination } from './config.ts';
import { tlsOptions } from './upstream.ts';

/** An application entity of the configuration, to be called. @throws ConfigError when a file cannot be read */
export const remoteOf = ({ aeTitle, host, port, tls }: MoveDestination): RemoteEntity => ({
  aeTitle,
  host,
  port,
  ...(tls !== undefined && { tls: { ...tlsOptions(tls), ...BCP_195 } }),
});
