import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningServer, startServer } from './processes.ts';

export const peersDir = process.env.NEPHOS_PEERS_DIR ?? '/var/tmp/nephos-peers';
const debian13 = join(peersDir, 'orthanc12');
const libraries = 'usr/lib/x86_64-linux-gnu';
const PATIENCE_SECONDS = 200;

export type OrthancVersion = '1.12' | '1.10';

export interface Orthanc extends RunningServer {
  /** http://127.0.0.1:port, Orthanc's own REST API */
  readonly origin: string;
  /** its DICOMweb root */
  readonly root: string;
}

export interface OrthancOptions {
  readonly version: OrthancVersion;
  readonly httpPort: number;
  readonly dicomPort: number;
  /** Configuration, logs and database stand here. */
  readonly dir: string;
  /** DICOMweb servers that it can act as a client of: name → root URL. */
  readonly servers?: Readonly<Record<string, string>>;
  readonly settings?: Readonly<Record<string, unknown>>;
}

/**
 * Orthanc with DICOMweb, no login, sync writes (its default, and what Nephos promises), 16 HTTP threads, a 512 MB storage
 * cache, metadata in full and no Nagle delay: the settings that make it fastest without a weaker promise.
 */
export function startOrthanc(options: OrthancOptions): Promise<Orthanc> {
  const database = join(options.dir, 'db');
  mkdirSync(database, { recursive: true });
  const configFile = join(options.dir, 'orthanc.json');
  const twelve = options.version === '1.12';
  const servers = Object.entries(options.servers ?? {}).map(([name, url]) => [
    name,
    { Url: `${url}/`, HasDelete: true },
  ]);
  const settings = {
    Name: `Orthanc ${options.version}`,
    StorageDirectory: database,
    IndexDirectory: database,
    HttpPort: options.httpPort,
    DicomPort: options.dicomPort,
    RemoteAccessAllowed: false,
    AuthenticationEnabled: false,
    HttpThreadsCount: 16,
    DicomThreadsCount: 8,
    // What it gives others, and us, before it gives them up: ten seconds and more of itself, which a busy machine may take.
    DicomScuTimeout: PATIENCE_SECONDS,
    DicomScpTimeout: PATIENCE_SECONDS,
    HttpTimeout: PATIENCE_SECONDS,
    HttpRequestTimeout: PATIENCE_SECONDS,
    SaveJobs: false,
    StorageCompression: false,
    HttpCompressionEnabled: false,
    KeepAlive: true,
    TcpNoDelay: true,
    SyncStorageArea: true,
    MaximumStorageCacheSize: 512,
    BuiltinDecoderTranscoderOrder: 'Before',
    Plugins: twelve
      ? ['libOrthancDicomWeb.so.1.20', 'libOrthancGdcm.so.1.8'].map((name) => join(debian13, 'usr/lib/orthanc', name))
      : ['/usr/share/orthanc/plugins/libOrthancDicomWeb.so'],
    DicomWeb: {
      Enable: true,
      Root: '/dicom-web/',
      EnableWado: true,
      StudiesMetadata: 'Full',
      SeriesMetadata: 'Full',
      Servers: Object.fromEntries(servers),
    },
    ...options.settings,
  };
  writeFileSync(configFile, JSON.stringify(settings, null, 2));
  const origin = `http://127.0.0.1:${options.httpPort}`;
  // Debian 13's program runs by its own loader and libraries, so neither chroot nor root is needed.
  const program = twelve
    ? {
        command: join(debian13, 'lib64/ld-linux-x86-64.so.2'),
        args: ['--library-path', join(debian13, libraries), join(debian13, 'usr/sbin/Orthanc'), configFile],
        env: { DCMDICTPATH: join(debian13, 'usr/share/dcmtk/dicom.dic'), TCP_NODELAY: '1' },
      }
    : { command: '/usr/sbin/Orthanc', args: [configFile], env: { TCP_NODELAY: '1' } };
  return startServer({
    ...program,
    cwd: options.dir,
    logFile: join(options.dir, 'orthanc.log'),
    readyUrl: `${origin}/system`,
  }).then((server) => ({ ...server, origin, root: `${origin}/dicom-web` }));
}
