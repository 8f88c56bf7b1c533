import cluster from 'node:cluster';
import { ConfigError, readConfig } from './config.ts';
import { isOfFiles } from './file-errors.ts';
import { notedEnvironment } from './unread-variables.ts';

// What is written here is of patients: whoever else has an account on the machine reads none of it.
process.umask(0o077);

/** `npm start`: the whole archive on one machine. The primary watches over one server process per core. */
try {
  const { env, unread } = notedEnvironment(process.env);
  const config = readConfig(env);
  if (cluster.isPrimary) for (const line of unread()) process.stderr.write(`${line}\n`);
  // Each process loads what it runs, and no more: most of the time that a start takes goes into loading.
  if (cluster.isPrimary) await (await import('./primary.ts')).runPrimary(config);
  else await (await import('./server.ts')).runServer(config);
} catch (error) {
  if (!(error instanceof ConfigError) && !isOfFiles(error)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
