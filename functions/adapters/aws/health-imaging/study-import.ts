import {
  GetDICOMImportJobCommand,
  GetImageSetCommand,
  GetImageSetMetadataCommand,
  StartDICOMImportJobCommand,
} from '@aws-sdk/client-medical-imaging';
import { CopyObjectCommand } from '@aws-sdk/client-s3';
import type { InstanceRecord, Tenant } from '#core/archive/records.ts';
import { seriesOfBlob } from '#core/archive/tiering.ts';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import type { PlacementReport } from '#core/ports/frame-placement.ts';
import { asItem, asRecord, type Item, recordsIn, type WriteOperation } from '#core/ports/index-table.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import { retrying } from '../retry.ts';
import { LANDING_BUCKET } from '../schema.ts';
import { gathered, ImageSetDocument } from './image-set-document.ts';
import { type ImportedSet, parseFailures, parseManifest, s3Place } from './manifest.ts';
import { DEFAULT_IMAGING_LIMITS, type HealthImagingOptions, type ImagingLimits } from './options.ts';
import {
  type ImportRecord,
  type PlacedRecord,
  packFrameIds,
  placementKeys,
  RECORDS_PAGE,
} from './placement-records.ts';

/** of one import record: UIDs and keys of its instances must fit one item of the index */
const INSTANCES_PER_RECORD = 1_000;
const COPIES_AT_ONCE = 16;
const WRITES_AT_ONCE = 20;
const MEMBERS_AT_ONCE = 100;
/** jobs of one study that fail one after another before it is left to the BlobStore */
const FAILED_JOBS = 3;
/** frames whose ids fit one item of the index */
const FRAME_LIMIT = 20_000;
/** metadata of an image set, far beyond what HealthImaging lets one have: a worker holds it as text (bytes) */
const IMAGE_SET_BYTES = 256 * 1024 * 1024;

/**
 * Has studies imported (docs/health-imaging.md). Objects that are current are copied to a prefix of their own, for an import takes in
 * whatever lies under its prefix; the job is watched by asking, since its events come on best effort; what it made of them is read from
 * its manifest and the image sets, and noted by instance.
 */
export class StudyImport {
  readonly #options: HealthImagingOptions;
  readonly #limits: ImagingLimits;

  constructor(options: HealthImagingOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_IMAGING_LIMITS, ...options.limits };
  }

  /** As FramePlacement. */
  async place(tenant: Tenant, study: string): Promise<PlacementReport> {
    const { index } = this.#options;
    // Before anything else is read: who begins on what he read knows by it whether another has begun meanwhile.
    let begun = await index.get(placementKeys.begun(tenant, study));
    const imports = await index.query({ partition: placementKeys.imports(tenant, study), limit: 1_000 });
    let open = 0;
    let failed = 0;
    const underWay = new Set<string>();
    for (const { sort, item } of imports.records) {
      const record = asRecord<ImportRecord>(item);
      const state = await this.#advance(tenant, study, sort, record);
      if (state === 'done') failed = 0;
      else if (state === 'failed') failed++;
      if (state === 'done' || state === 'failed') continue;
      open++;
      for (const { sop, version } of record.instances) underWay.add(`${sop}|${version}`);
    }
    const placed = await this.#placements(tenant, study);
    const missing: InstanceRecord[] = [];
    for await (const instance of instancesOfStudy({ index }, tenant, study)) {
      if (instance.pixels === undefined || underWay.has(`${instance.SOPInstanceUID}|${instance.version}`)) continue;
      if (placed.get(instance.SOPInstanceUID)?.instanceVersion !== instance.version) missing.push(instance);
    }
    if (failed >= FAILED_JOBS) {
      await this.#note(
        tenant,
        study,
        missing.map(({ SOPInstanceUID, version }) => [SOPInstanceUID, refusal(version, 'JobFailed')]),
      );
      missing.length = 0;
    }
    for (const batch of await this.#batches(tenant, study, missing)) {
      open++;
      begun = await this.#begin(tenant, study, batch, begun);
      if (begun === undefined) break;
    }
    return reportOf(open, await this.#placements(tenant, study));
  }

  async #placements(tenant: Tenant, study: string): Promise<Map<string, PlacedRecord>> {
    const found = new Map<string, PlacedRecord>();
    const partition = placementKeys.placements(tenant, study);
    for await (const { sort, item } of recordsIn(this.#options.index, { partition, limit: RECORDS_PAGE }))
      found.set(sort, asRecord<PlacedRecord>(item));
    return found;
  }

  /** Cuts what is to be placed to the quotas of jobs; what is over them alone is refused. */
  async #batches(tenant: Tenant, study: string, instances: readonly InstanceRecord[]): Promise<InstanceRecord[][]> {
    const { filesPerJob, bytesPerJob, fileBytes } = this.#limits;
    const batches: InstanceRecord[][] = [];
    let bytes = 0;
    for (const instance of instances) {
      if (instance.sizeBytes > fileBytes || (instance.pixels?.frames ?? 0) > FRAME_LIMIT) {
        await this.#note(tenant, study, [[instance.SOPInstanceUID, refusal(instance.version, 'TooLarge')]]);
        continue;
      }
      const last = batches.at(-1);
      const fits =
        last !== undefined &&
        last.length < Math.min(filesPerJob, INSTANCES_PER_RECORD) &&
        bytes + instance.sizeBytes <= bytesPerJob;
      if (fits) last.push(instance);
      else {
        batches.push([instance]);
        bytes = 0;
      }
      bytes += instance.sizeBytes;
    }
    return batches;
  }

  /**
   * A message may be delivered twice, and what is imported twice is billed twice:
   *
   *   A  begun v1 ── nothing placed ── write { begun v2 if v1, import a } ── won
   *   B  begun v1 ── nothing placed ─────────── write { begun v2 if v1, import b } ── lost: A's import is under way
   *
   * @returns the record as it stands now; undefined: another has begun
   */
  async #begin(
    tenant: Tenant,
    study: string,
    batch: readonly InstanceRecord[],
    begun: Item | undefined,
  ): Promise<Item | undefined> {
    const { index, clock } = this.#options;
    const id = newVersion(clock);
    const record: ImportRecord = {
      version: 1,
      state: 'staged',
      instances: batch.map(({ SOPInstanceUID: sop, version, blobKey }) => ({ sop, version, blobKey })),
      startedAt: clock.now(),
    };
    const version = begun === undefined ? undefined : Number(begun.version);
    const next = { version: (version ?? 0) + 1 };
    const outcome = await index.write([
      { kind: 'put', key: placementKeys.import(tenant, study, id), item: asItem(record), if: 'absent' },
      {
        kind: 'put',
        key: placementKeys.begun(tenant, study),
        item: next,
        if: version === undefined ? 'absent' : { version },
      },
    ]);
    if (!outcome.committed) return undefined;
    await this.#advance(tenant, study, id, record);
    return next;
  }

  /** The next step of one import, and its state afterwards. */
  async #advance(tenant: Tenant, study: string, batch: string, record: ImportRecord): Promise<ImportRecord['state']> {
    if (record.state === 'done' || record.state === 'failed') return record.state;
    if (record.state === 'staged') {
      await this.#stage(tenant, study, batch, record);
      const jobId = await this.#startJob(tenant, study, batch);
      await this.#settle(tenant, study, batch, record, { state: 'importing', jobId });
      return 'importing';
    }
    const { client, datastoreId, clock } = this.#options;
    const command = new GetDICOMImportJobCommand({ datastoreId, jobId: record.jobId });
    const { jobProperties } = await this.#call(() => client.send(command));
    const status = jobProperties?.jobStatus;
    const overdue = clock.now() - record.startedAt > this.#limits.jobMs;
    if (status !== 'COMPLETED' && status !== 'FAILED' && !overdue) return 'importing';
    if (status === 'COMPLETED') await this.#take(tenant, study, batch, record, jobProperties?.outputS3Uri ?? '');
    // A job fails as a whole for a role or a quota: its instances are not refused, and are placed anew with the next call.
    const state = status === 'COMPLETED' ? 'done' : 'failed';
    await this.#settle(tenant, study, batch, record, { state });
    await this.#unstage(tenant, study, batch);
    return state;
  }

  async #stage(tenant: Tenant, study: string, batch: string, { instances }: ImportRecord): Promise<void> {
    const { s3, archiveBucket, landingBucket } = this.#options;
    for (let at = 0; at < instances.length; at += COPIES_AT_ONCE) {
      await Promise.all(
        instances.slice(at, at + COPIES_AT_ONCE).map(({ sop, blobKey }) => {
          const command = new CopyObjectCommand({
            Bucket: landingBucket,
            Key: `${stagingPrefix(tenant, study, batch)}in/${sop}.dcm`,
            CopySource: `${archiveBucket}/${blobKey}`,
            // Tags are for lifecycle rules of the archive; to copy them takes rights that nothing else needs.
            TaggingDirective: 'REPLACE',
          });
          return this.#call(() => s3.send(command));
        }),
      );
    }
  }

  /** The batch names the request: asked twice, HealthImaging starts one job. @throws PacsError BUSY over its quotas */
  async #startJob(tenant: Tenant, study: string, batch: string): Promise<string> {
    const { client, datastoreId, dataAccessRoleArn, landingBucket } = this.#options;
    const place = `s3://${landingBucket}/${stagingPrefix(tenant, study, batch)}`;
    const command = new StartDICOMImportJobCommand({
      datastoreId,
      dataAccessRoleArn,
      jobName: batch,
      clientToken: batch,
      inputS3Uri: `${place}in/`,
      outputS3Uri: `${place}out/`,
    });
    try {
      const { jobId } = await this.#call(() => client.send(command));
      return jobId ?? '';
    } catch (error) {
      const { name } = error as { name?: string };
      if (name !== 'ServiceQuotaExceededException' && name !== 'ConflictException') throw error;
      throw new PacsError('BUSY', 'HealthImaging takes no more imports now', { cause: error });
    }
  }

  /** What a job has made of its files: a place for the frames of each, or the reason why it has none. */
  async #take(tenant: Tenant, study: string, batch: string, record: ImportRecord, outputS3Uri: string): Promise<void> {
    const { landing, index } = this.#options;
    const output = s3Place(outputS3Uri).key;
    const read = async (key: string): Promise<string> => Buffer.from(await landing.readBytes(key)).toString();
    const manifest = parseManifest(await read(`${output}job-output-manifest.json`));
    const left = new Map(record.instances.map((instance) => [instance.sop, instance]));
    for (const imported of manifest.imageSets) {
      const notes: [string, PlacedRecord][] = [];
      const operations: WriteOperation[] = [];
      const bySeries = new Map<string, [sop: string, version: string][]>();
      const { versionId, places } = await this.#imageSet(imported);
      for (const [sop, place] of places) {
        const instance = left.get(sop);
        if (instance === undefined) continue;
        const { version: instanceVersion, blobKey } = instance;
        left.delete(sop);
        const key = placementKeys.member(tenant, study, place.imageSetId, sop, instanceVersion);
        operations.push({ kind: 'put', key, item: asItem({ blobKey }) });
        const series = seriesOfBlob(blobKey)?.series ?? '';
        bySeries.set(series, [...(bySeries.get(series) ?? []), [sop, instanceVersion]]);
        notes.push([sop, place.frames ? { ...place, instanceVersion } : refusal(instanceVersion, 'NoFrames')]);
      }
      for (const [series, instances] of bySeries) {
        const key = placementKeys.set(tenant, study, series, imported.imageSetId, versionId, batch);
        operations.push({ kind: 'put', key, item: asItem({ instances }) });
      }
      // What stands in it is known before anybody reads from it, so that it can be removed whatever becomes of us.
      for (let at = 0; at < operations.length; at += MEMBERS_AT_ONCE)
        await index.write(operations.slice(at, at + MEMBERS_AT_ONCE));
      await this.#note(tenant, study, notes);
    }
    if (left.size === 0) return;
    const reasons = new Map<string, string>();
    if (manifest.failures !== undefined) {
      for await (const { key } of landing.list(s3Place(manifest.failures).key))
        for (const { inputFile, reason } of parseFailures(await read(key))) reasons.set(sopOf(inputFile), reason);
    }
    await this.#note(
      tenant,
      study,
      [...left].map(([sop, { version }]) => [sop, refusal(version, reasons.get(sop) ?? 'NotImported')]),
    );
  }

  /** An image set in the version that a job has left: later ones may hold what others have made of it. */
  async #imageSet({ imageSetId, version, isPrimary }: ImportedSet): Promise<{
    readonly versionId: string;
    readonly places: readonly [sop: string, place: Placed][];
  }> {
    const { client, datastoreId } = this.#options;
    const said =
      version === undefined || isPrimary === undefined
        ? await this.#call(() => client.send(new GetImageSetCommand({ datastoreId, imageSetId })))
        : undefined;
    const versionId = version ?? said?.versionId ?? '';
    const command = new GetImageSetMetadataCommand({ datastoreId, imageSetId, ...(versionId && { versionId }) });
    const bytes = await this.#call(async () => {
      const { imageSetMetadataBlob } = await client.send(command);
      return gathered(imageSetMetadataBlob as AsyncIterable<Uint8Array> | undefined, IMAGE_SET_BYTES);
    });
    const document = await ImageSetDocument.from(bytes, IMAGE_SET_BYTES);
    const nonPrimary = (isPrimary ?? said?.isPrimary) === false;
    const places = [...document.frames()].map(({ SOPInstanceUID, transferSyntaxUID, frameIds }): [string, Placed] => [
      SOPInstanceUID,
      { imageSetId, transferSyntaxUID, frames: packFrameIds(frameIds), ...(nonPrimary && { nonPrimary }) },
    ]);
    return { versionId, places };
  }

  async #note(tenant: Tenant, study: string, notes: readonly [string, PlacedRecord][]): Promise<void> {
    for (let at = 0; at < notes.length; at += WRITES_AT_ONCE) {
      await Promise.all(
        notes.slice(at, at + WRITES_AT_ONCE).map(([sop, record]) => {
          const key = placementKeys.placed(tenant, study, sop);
          return this.#options.index.write([{ kind: 'put', key, item: asItem(record) }]);
        }),
      );
    }
  }

  /** Two who advance the same import do the same; the record takes one of them. */
  async #settle(
    tenant: Tenant,
    study: string,
    batch: string,
    record: ImportRecord,
    change: Partial<ImportRecord>,
  ): Promise<void> {
    const item = asItem({ ...record, ...change, version: record.version + 1 });
    const key = placementKeys.import(tenant, study, batch);
    await this.#options.index.write([{ kind: 'put', key, item, if: { version: record.version } }]);
  }

  async #unstage(tenant: Tenant, study: string, batch: string): Promise<void> {
    const { landing } = this.#options;
    for await (const { key } of landing.list(`${stagingPrefix(tenant, study, batch)}in/`)) await landing.delete(key);
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    const { clock, retry } = this.#options;
    return retrying({ clock, policy: retry, changes: false }, call);
  }
}

type Placed = Omit<PlacedRecord, 'instanceVersion' | 'imageSetId'> & { readonly imageSetId: string };

const stagingPrefix = (tenant: Tenant, study: string, batch: string): string =>
  `${LANDING_BUCKET.imagingPrefix}${tenant}/${study}/${batch}/`;

/** `…/{SOP}.dcm` */
const sopOf = (inputFile: string): string => inputFile.slice(inputFile.lastIndexOf('/') + 1).replace(/\.dcm$/, '');

const refusal = (instanceVersion: string, refused: string): PlacedRecord => ({ instanceVersion, refused });

function reportOf(open: number, placements: ReadonlyMap<string, PlacedRecord>): PlacementReport {
  const refused: Record<string, number> = {};
  let placed = 0;
  for (const record of placements.values()) {
    if (record.frames !== undefined) placed++;
    else if (record.refused !== undefined) refused[record.refused] = (refused[record.refused] ?? 0) + 1;
  }
  return { state: open === 0 ? 'placed' : 'placing', placed, refused };
}
