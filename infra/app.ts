import { App } from 'aws-cdk-lib';
import { Deployment } from './build.ts';
import { readSettings } from './read-settings.ts';
import { SettingsError } from './settings.ts';

// Set within `npm exec -c`; the `npx` by which CDK finds esbuild would stumble over it.
delete process.env.npm_config_call;

/** What `cdk` runs: reads the context key `nephos` and builds the stacks. */
try {
  const app = new App();
  new Deployment(app, readSettings(app.node.tryGetContext('nephos'), process.env));
  app.synth();
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
