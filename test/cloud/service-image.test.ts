import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { freePort } from '#test/fixtures/free-port.ts';
import { projectRoot } from '#test/peers/helpers/nephos.ts';
import { peersDir } from '#test/peers/helpers/orthanc.ts';
import { run, runOk } from '#test/peers/helpers/programs.ts';
import { startDynamoDb, startMiniStack } from './helpers/engines.ts';
import { prepareService } from './helpers/service-environment.ts';

const hadolint = join(peersDir, 'hadolint/bin/hadolint');
const canBuild = existsSync(join(peersDir, 'image-base/.complete')) && process.getuid?.() === 0;

describe("the image of the cloud's service", () => {
  test.runIf(existsSync(hadolint))('hadolint finds nothing in its Dockerfile', async () => {
    const dockerfile = join(projectRoot, 'functions/fargate/Dockerfile');
    expect(await run(hadolint, [dockerfile])).toMatchObject({ code: 0, stdout: '' });
  });

  // What `scripts/install-peers` brings for the gateway's image; the layer of `npm ci` is the same, and kept.
  test.runIf(canBuild)(
    'is built by its own steps, is small, runs without rights on a root that nothing can be written to, and keeps what it is sent',
    { timeout: 1_200_000 },
    async () => {
      const [database, stack] = await Promise.all([startDynamoDb(), startMiniStack()]);
      try {
        const { env, token } = await prepareService(database, stack);
        const said = await runOk(join(projectRoot, 'scripts/check-image'), ['--service'], {
          env: { ...env, NEPHOS_IMAGE_TOKEN: token, NEPHOS_IMAGE_PORTS: String(await freePort()) },
          timeoutMs: 1_000_000,
        });
        for (const line of [
          'health check: well',
          'runs as 65532:65532 without capabilities; nothing can be written',
          'STOW-RS, WADO-RS, byte for byte',
          'ends in good order',
        ])
          expect(said).toContain(line);
        expect(Number(/well: (\d+) bytes/.exec(said)![1])).toBeLessThan(200e6);
      } finally {
        await Promise.all([database.stop(), stack.stop()]);
      }
    },
  );
});
