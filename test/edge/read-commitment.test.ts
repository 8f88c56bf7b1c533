import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import { associate, contextOf, proposing } from '#dimse/scu.ts';
import { STORAGE_COMMITMENT_PUSH_MODEL } from '#dimse/sop-classes.ts';
import { evictCache } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { cStore, eventually, forwarded, key, putUpstream, type Site, startSite, TENANT } from './read-site.ts';

let site: Site;
let transaction = 0;
const slices = (study: number, count: number, more: object = {}): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    buildDicom({
      StudyInstanceUID: uid(study),
      SeriesInstanceUID: uid(study * 10),
      SOPInstanceUID: uid(study * 1000 + i + 1),
      InstanceNumber: i + 1,
      ...more,
    }),
  );
const sops = (study: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => uid(study * 1000 + i + 1));

/** Asks for commitment, as a modality that listens under the AE title WS, and hangs up. @returns the Transaction UID */
async function request(references: readonly string[], sopClass = CT_IMAGE_STORAGE): Promise<string> {
  const session = await associate(site.remote, {
    callingAETitle: 'WS',
    contexts: proposing([STORAGE_COMMITMENT_PUSH_MODEL, [EXPLICIT_LE]]),
  });
  const TransactionUID = uid(9_000_000 + ++transaction);
  const information: DataSet = {
    '00081195': key('UI', TransactionUID),
    '00081199': {
      vr: 'SQ',
      Value: references.map((sop) => ({ '00081150': key('UI', sopClass), '00081155': key('UI', sop) })),
    },
  };
  const context = contextOf(session, STORAGE_COMMITMENT_PUSH_MODEL);
  const { command } = await session.request(
    context,
    {
      CommandField: COMMAND.nAction,
      RequestedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
      RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
      ActionTypeID: 1,
    },
    encodeIdentifier(information, context.transferSyntax),
  );
  expect(command.Status).toBe(0);
  await session.release();
  return TransactionUID;
}

interface Report {
  readonly event: number;
  readonly committed: readonly string[];
  readonly failed: readonly (readonly [sop: string, reason: number])[];
}

function reportOf(TransactionUID: string): Report | undefined {
  for (const { event, information } of site.workstation.reports) {
    const dataSet = decodeIdentifier(information, EXPLICIT_LE);
    if (dataSet['00081195']?.Value?.[0] !== TransactionUID) continue;
    const items = (tag: string): DataSet[] => (dataSet[tag]?.Value ?? []) as DataSet[];
    return {
      event,
      committed: items('00081199').map((item) => item['00081155']!.Value![0] as string),
      failed: items('00081198').map((item) => [
        item['00081155']!.Value![0] as string,
        item['00081197']!.Value![0] as number,
      ]),
    };
  }
  return undefined;
}

async function answer(TransactionUID: string): Promise<Report> {
  await eventually('the request is answered', () => reportOf(TransactionUID) !== undefined, 40_000);
  return reportOf(TransactionUID)!;
}

beforeAll(async () => {
  site = await startSite({ commitment: { limitHours: 8 / 3_600, unknownSeconds: 2 } });
});
afterAll(() => site?.close());
beforeEach(async () => {
  site.upstream.refusesStores = false;
  await site.line.set('up');
});

test('is said when the archive has shown that it holds the instances', async () => {
  await cStore(site, slices(801, 5));
  const report = await answer(await request(sops(801, 5)));
  expect(report).toMatchObject({ event: 1, failed: [] });
  expect([...report.committed].sort()).toEqual(sops(801, 5).sort());
});

test('waits while the archive takes nothing, over a restart, and comes when it has', async () => {
  site.upstream.refusesStores = true;
  await cStore(site, slices(802, 3));
  const asked = await request(sops(802, 3));
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(reportOf(asked)).toBeUndefined();
  await site.restart();
  site.upstream.refusesStores = false;
  expect(await answer(asked)).toMatchObject({ event: 1, failed: [] });
});

test('after the limit, what has not arrived has failed', async () => {
  await cStore(site, slices(803, 1));
  await forwarded(site, uid(803));
  site.upstream.refusesStores = true;
  await cStore(site, slices(803, 2));
  const report = await answer(await request(sops(803, 2)));
  expect(report).toEqual({ event: 2, committed: [uid(803_001)], failed: [[uid(803_002), 0x0110]] });
});

test('what nobody has sent, and what is of another class, has failed', async () => {
  await cStore(site, slices(804, 1));
  await forwarded(site, uid(804));
  expect(await answer(await request([uid(804_999)]))).toEqual({
    event: 2,
    committed: [],
    failed: [[uid(804_999), 0x0112]],
  });
  expect(await answer(await request([uid(804_001)], '1.2.840.10008.5.1.4.1.1.4'))).toEqual({
    event: 2,
    committed: [],
    failed: [[uid(804_001), 0x0119]],
  });
});

test('other bytes upstream are no evidence', async () => {
  await putUpstream(site, slices(805, 1, { PatientID: 'SOMEBODY-ELSE' }));
  // An archive that keeps the first holds ours in quarantine and says conflict.
  await moveToTrash(site.upstream.archive.services, TENANT, [{ StudyInstanceUID: uid(805) }], {
    kind: 'rejected',
    reason: 'test',
    by: 'test',
  });
  await cStore(site, slices(805, 1));
  const report = await answer(await request(sops(805, 1)));
  expect(report).toMatchObject({ event: 2, committed: [] });
});

test('what was evicted is still committed', async () => {
  await cStore(site, slices(806, 2));
  await forwarded(site, uid(806));
  const { knowledge, usage } = readSideOf(site.gateway);
  const limits = { cacheBytes: 0, cacheAgeMs: 0 };
  await evictCache(site.gateway.services, TENANT, knowledge, usage, limits);
  expect(await answer(await request(sops(806, 2)))).toMatchObject({ event: 1, failed: [] });
});
