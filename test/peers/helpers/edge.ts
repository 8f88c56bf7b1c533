import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import program from '#package' with { type: 'json' };
import { projectRoot } from './nephos.ts';
import { type RunningServer, startServer } from './processes.ts';

export interface Edge extends RunningServer {
  readonly dicomPort: number;
  readonly httpPort: number;
  readonly dataDir: string;
}

/** Flags of node, and the program. */
const [, ...ARGS] = program.scripts.edge.split(' ');

/** The gateway as `npm run edge` runs it, on the ports of `config`; state, log and configuration stand in `dir`. */
export async function startEdge(
  dir: string,
  config: { readonly dicomPort: number; readonly httpPort: number } & Readonly<Record<string, unknown>>,
): Promise<Edge> {
  const { dicomPort, httpPort, ...more } = config;
  mkdirSync(dir, { recursive: true });
  const dataDir = join(dir, 'data');
  const file = join(dir, 'edge.json');
  writeFileSync(
    file,
    JSON.stringify({
      dataDir,
      dicom: { port: dicomPort },
      http: { port: httpPort },
      disk: { reserveBytes: 0 },
      ...more,
    }),
  );
  const server = await startServer({
    command: process.execPath,
    args: ARGS,
    cwd: projectRoot,
    env: { NEPHOS_EDGE_CONFIG: file },
    logFile: join(dir, 'edge.log'),
    readyUrl: `http://127.0.0.1:${httpPort}/healthz`,
  });
  return { ...server, dicomPort, httpPort, dataDir };
}
