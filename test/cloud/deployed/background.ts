import { randomUUID } from 'node:crypto';
import { GetObjectTaggingCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { LANDING_BUCKET, LIFECYCLE_TAG } from '#adapters/aws/schema.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from '#test/hosts/client.ts';
import { misconfigure, startNow } from '../helpers/drills.ts';
import { ENGINE_IDENTITY } from '../helpers/engines.ts';
import { asker, type DeployedSuite, eventually, finder, jsonAsker } from './suite.ts';

/** What nobody waits for: the work of schedules and of queues. */
export function backgroundSuite(suite: DeployedSuite): void {
  const call = jsonAsker(suite);
  const json = finder(suite);
  const objectOf = (n: number, extra: object = {}) =>
    buildDicom({ StudyInstanceUID: uid(n), SeriesInstanceUID: uid(n + 1), SOPInstanceUID: uid(n + 2), ...extra });
  const store = async (...objects: Uint8Array[]): Promise<void> => {
    const answer = await asker(suite)('/dicomweb/studies', multipart(objects));
    expect(answer.status, answer.body.toString()).toBe(200);
  };
  const s3 = () =>
    new S3Client({ ...ENGINE_IDENTITY, endpoint: suite.deployed().engine.endpoint, forcePathStyle: true });
  const archive = () => suite.deployed().output('Storage', 'ArchiveBucket');
  const landing = () => suite.deployed().output('Storage', 'LandingBucket');
  const keysBelow = async (Bucket: string, Prefix: string): Promise<string[]> => {
    const client = s3();
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix }));
    client.destroy();
    return Contents.map(({ Key }) => Key!);
  };

  describe('what runs by the clock', () => {
    test('is started by its schedule: the trail is sealed though nobody asked for it', async () => {
      const seals = await eventually(async () => {
        const keys = await keysBelow(archive(), 'main/audit/');
        return keys.length > 0 ? keys : undefined;
      }, 240_000);
      expect(seals[0]).toMatch(/^main\/audit\/\d+\.ndjson$/);
    });

    test.each(['sweep', 'reconcile', 'tier', 'audit'])('%s runs to its end', async (name) => {
      await startNow(suite.deployed(), name);
    });

    test('ends a transaction that nobody committed, and empties the trash', async () => {
      const id = randomUUID();
      const [study, bytes] = [uid(7801), objectOf(7801)];
      await store(bytes);
      const putRight = await misconfigure(suite.deployed(), 'transactions', { NEPHOS_LIMIT_TRANSACTION_MS: '1' });
      const objects = [{ sizeBytes: bytes.length, sha256: '0'.repeat(64) }];
      expect((await call('PUT', `/api/transactions/${id}`, { objects })).status).toBe(201);
      await putRight();
      const prefix = `${LANDING_BUCKET.prefix}main/${id}/`;
      const client = s3();
      await client.send(new PutObjectCommand({ Bucket: landing(), Key: `${prefix}1/1`, Body: bytes }));
      client.destroy();
      const kept = await misconfigure(suite.deployed(), 'admin', { NEPHOS_LIMIT_TRASH_MS: '1' });
      expect((await call('DELETE', `/dicomweb/studies/${study}`)).status).toBeLessThan(300);
      await kept();
      expect(await keysBelow(archive(), `main/${study}/`)).not.toEqual([]);

      const { main } = await startNow(suite.deployed(), 'sweep');
      expect(main?.transactions).toBeGreaterThanOrEqual(1);
      expect(main?.purged).toBeGreaterThanOrEqual(1);
      expect(await keysBelow(landing(), prefix)).toEqual([]);
      expect(await keysBelow(archive(), `main/${study}/`)).toEqual([]);
    });

    test('gives the objects of idle studies the tag of the next tier', async () => {
      const study = uid(7811);
      await store(objectOf(7811));
      const policy = { NEPHOS_TIERS: `${LIFECYCLE_TAG.deep}:0`, NEPHOS_LIMIT_TIER_LEAST_BYTES: '1' };
      const putRight = await misconfigure(suite.deployed(), 'tier', policy);
      const { main } = await startNow(suite.deployed(), 'tier');
      await putRight();
      expect(main?.moved).toBeGreaterThanOrEqual(1);
      const [Key] = (await keysBelow(archive(), `main/${study}/`)).filter((key) => key.endsWith('.dcm'));
      const client = s3();
      const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket: archive(), Key }));
      client.destroy();
      expect(TagSet).toEqual([{ Key: LIFECYCLE_TAG.key, Value: LIFECYCLE_TAG.deep }]);
    });
  });

  describe('de-identified copies', () => {
    test('are made by the function behind the queue, and found under other UIDs and no name', async () => {
      const study = uid(7821);
      await store(objectOf(7821, { PatientName: 'Secret^Sandra', PatientID: 'S-1' }));
      const begun = await call('POST', '/api/deidentifications', {
        studies: [study],
        project: 'trial',
        profile: { dates: 'shift', cleanDescriptors: true },
      });
      expect(begun.status, JSON.stringify(begun.body)).toBe(202);
      const run = await eventually(async () => {
        const found = await json(`/api/deidentifications/${begun.body.id}`);
        return found.state === 'done' ? found : undefined;
      }, 180_000);
      expect(run.progress).toMatchObject([{ StudyInstanceUID: study, state: 'done' }]);
      const { studies } = await json('/api/deidentification-projects/trial/mapping');
      const copy = studies[0].copy;
      const [found] = await json(`/dicomweb/studies?StudyInstanceUID=${copy}`);
      expect(JSON.stringify(found)).not.toMatch(/Secret|S-1|Sandra/);
    });
  });
}
