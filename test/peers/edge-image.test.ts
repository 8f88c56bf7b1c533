import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { freePort } from '#test/fixtures/free-port.ts';
import type { SystemParts } from '../../scripts/sbom-parts.ts';
import { projectRoot } from './helpers/nephos.ts';
import { peersDir } from './helpers/orthanc.ts';
import { run, runOk } from './helpers/programs.ts';

/** The first of three, one after the other, that nobody listens on: of the archive, and of the gateway for DICOM and HTTP. */
async function threePorts(): Promise<number> {
  for (let found = [await freePort()]; ; ) {
    const next = await freePort();
    found = next === found.at(-1)! + 1 ? [...found, next] : [next];
    if (found.length === 3) return found[0]!;
  }
}

describe('the image of the edge gateway', () => {
  test('hadolint finds nothing in its Dockerfile', async () => {
    const dockerfile = join(projectRoot, 'edge-gateway/Dockerfile');
    expect(await run(join(peersDir, 'hadolint/bin/hadolint'), [dockerfile])).toMatchObject({ code: 0, stdout: '' });
  });

  // The first run after a change of the lock file installs the packages anew; the layer is kept then.
  test(
    'is built by its own steps, is small, runs without rights on a read-only root, and forwards',
    {
      timeout: 600_000,
    },
    () => checkImage(''),
  );

  // Under QEMU, minutes long: NEPHOS_IMAGE_ARM64=1, once `scripts/install-peers arm64` has been run.
  test.runIf(process.env.NEPHOS_IMAGE_ARM64)('and so is that for arm64', { timeout: 1_800_000 }, () =>
    checkImage('NEPHOS_IMAGE_ARCH=arm64'),
  );

  async function checkImage(variables: string): Promise<void> {
    const ports = await threePorts();
    const said = await runOk(
      'bash',
      ['-c', `export NEPHOS_IMAGE_PORTS=${ports} ${variables}; exec ${join(projectRoot, 'scripts/check-image')}`],
      { timeoutMs: 1_800_000 },
    );
    for (const line of [
      'health check: well',
      'runs as 65532:65532 without capabilities',
      'C-ECHO, C-STORE, forwarded',
      'ends in good order',
    ])
      expect(said).toContain(line);
    const system = JSON.parse(/beside packages of npm: (\{.*\})/.exec(said)![1]!) as SystemParts;
    expect(system).toMatchObject({ node: expect.stringMatching(/^v24\./), distribution: 'debian-12' });
    expect(system.packages.map(({ name }) => name)).toEqual(['libc6', 'libgcc-s1', 'libstdc++6']);
    for (const { version } of system.packages) expect(version).toMatch(/^\d/);
    expect(Number(/well: (\d+) bytes/.exec(said)![1])).toBeLessThan(200e6);
  }
});
