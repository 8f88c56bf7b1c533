import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '#test/fixtures/free-port.ts';
import { type RunningServer, startServer } from './processes.ts';

export const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));

/** Node 24 of the dev dependencies, also where the suite itself runs under an older one. */
const node =
  Number(process.versions.node.split('.')[0]) >= 24
    ? process.execPath
    : join(projectRoot, 'node_modules/node/bin/node');

export interface Nephos extends RunningServer {
  /** http://127.0.0.1:port */
  readonly origin: string;
  /** The DICOMweb root, without a slash at the end. */
  readonly root: string;
  readonly port: number;
  readonly dataDir: string;
  /** Everything of the data directory goes too, unless it was given. */
  stop(graceMs?: number): Promise<void>;
}

export interface NephosOptions {
  /** `off` unless said otherwise */
  readonly auth?: 'on' | 'off';
  readonly env?: NodeJS.ProcessEnv;
  /** An existing data directory, kept when the server stops; a new temporary one without it. */
  readonly dataDir?: string;
  readonly port?: number;
  /** Flags for node itself, as --cpu-prof. */
  readonly nodeArgs?: readonly string[];
}

/** The embedded server as `npm start` runs it, less the building of the page, on a port of its own. */
export async function startNephos(options: NephosOptions = {}): Promise<Nephos> {
  const ownsData = options.dataDir === undefined;
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'nephos-peers-')));
  const port = options.port ?? (await freePort());
  const origin = `http://127.0.0.1:${port}`;
  const server = await startServer({
    command: node,
    args: [...(options.nodeArgs ?? []), 'functions/embedded/main.ts'],
    cwd: projectRoot,
    env: {
      NEPHOS_HTTP_PORT: String(port),
      NEPHOS_DICOM_PORT: '0',
      NEPHOS_DATA_DIR: dataDir,
      NEPHOS_AUTH: options.auth ?? 'off',
      ...options.env,
    },
    logFile: join(dataDir, 'server.log'),
    readyUrl: `${origin}/healthz`,
    // The first of its servers answers before the others listen: were it killed then, nobody would for a moment.
    readyText: 'Nephos is running',
  });
  return {
    ...server,
    origin,
    root: `${origin}/dicomweb`,
    port,
    dataDir,
    stop: async (graceMs) => {
      await server.stop(graceMs);
      if (ownsData) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
