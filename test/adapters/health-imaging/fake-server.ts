import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as sdk from '@aws-sdk/client-medical-imaging';
import type { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { imageSetMetadata, metadataOfObject } from './image-set-metadata.ts';
import { addToSets, type ImageSet, type Imported, newId } from './image-sets.ts';

/**
 * HealthImaging as far as placements use it, for no engine has it. Routes, members and what is required come from the SDK's own model:
 * a request or an answer that the model does not know fails the test.
 */

/** [kind, namespace, name, traits, member names, …] of a structure; [9, namespace, name, traits, input, output] of an operation. */
type Schema = readonly unknown[];
interface HttpTrait {
  readonly http: readonly [method: string, path: string, status: number];
}

const TYPES = readFileSync(
  join(
    createRequire(import.meta.url).resolve('@aws-sdk/client-medical-imaging'),
    '../../dist-types/models/models_0.d.ts',
  ),
  'utf8',
);

/** Members that the SDK's types do not allow to be left out. */
function requiredMembers(structure: string): string[] {
  const body = new RegExp(`export interface ${structure} \\{([\\s\\S]*?)\\n\\}`).exec(TYPES)?.[1];
  if (body === undefined) throw new Error(`the model has no ${structure}`);
  return [...body.matchAll(/^ {4}(\w+): /gm)].map((match) => match[1]!);
}

const model = sdk as unknown as Record<string, Schema>;
const membersOf = (structure: string): readonly string[] => model[`${structure}$`]![4] as string[];

/** Parameters of a query by the member that they are of: `version` is versionId. */
function queryOf(structure: string, parameters: URLSearchParams): Record<string, string> {
  const traits = model[`${structure}$`]![5] as readonly (readonly [unknown, { httpQuery?: string }?])[];
  const member = (name: string): string => {
    const at = traits.findIndex((one) => Array.isArray(one) && one[1]?.httpQuery === name);
    return membersOf(structure)[at] ?? name;
  };
  return Object.fromEntries([...parameters].map(([name, value]) => [member(name), value]));
}

const OPERATIONS = [
  'StartDICOMImportJob',
  'GetDICOMImportJob',
  'GetImageSet',
  'GetImageSetMetadata',
  'GetImageFrame',
  'DeleteImageSet',
].map((name) => {
  const [method, path] = (model[`${name}$`]![3] as HttpTrait).http;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
  return { name, method, names, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '([^/]+)')}$`) };
});

/** What the API reference says of ids. */
const ID = /^[0-9a-z]{32}$/;

interface Job {
  readonly request: Record<string, string>;
  status: sdk.JobStatus;
}

export class FakeHealthImaging {
  readonly datastoreId = newId();
  /** what requests were against the model; empty when all was well */
  readonly violations: string[] = [];
  readonly calls = new Map<string, number>();
  readonly jobs = new Map<string, Job>();
  readonly imageSets = new Map<string, ImageSet>();
  readonly frames = new Map<string, Buffer>();
  /** SOP Instance UIDs that an import refuses, and why */
  readonly refuses = new Map<string, string>();
  /** answers of the next calls instead of their own: [name of the error, status] */
  readonly errors: [string, number][] = [];
  /** how many of all calls fail, some of them after they were carried out, and by what chance */
  storm: { readonly rate: number; readonly random: () => number } | undefined;
  jobsFail = false;
  /** what becomes of the metadata of image sets on their way out */
  rewrite = (json: string): string => json;
  conflicting = false;
  jobsAtOnce = 100;
  readonly #landing: MemoryBlobStore;
  readonly #tokens = new Map<string, string>();
  readonly #server: Server;

  constructor(landing: MemoryBlobStore) {
    this.#landing = landing;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    // It ends no connection on which the next request may be on its way: only what a test lets fail fails.
    this.#server.keepAliveTimeout = 0;
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://fake');
    const operation = OPERATIONS.find(({ method, pattern }) => method === request.method && pattern.test(pathname));
    if (!operation) {
      this.violations.push(`no operation for ${request.method} ${pathname}`);
      return this.#fail(response, 'ValidationException', 400);
    }
    const { name, names, pattern } = operation;
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
    const [error] = this.errors.splice(0, 1);
    if (error) return this.#fail(response, ...error);
    const text = Buffer.concat(chunks).toString();
    const labels = Object.fromEntries(names.map((label, i) => [label, pattern.exec(pathname)![i + 1]!]));
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    // the frame's information is the payload of its request
    const input: Record<string, unknown> = {
      ...labels,
      ...queryOf(`${name}Request`, searchParams),
      ...(name === 'GetImageFrame' ? { imageFrameInformation: body } : body),
    };
    this.#checkAgainst(`${name}Request`, input);
    for (const label of names) if (!ID.test(labels[label]!)) this.violations.push(`${name}: ${label} is no id`);
    if (this.storm && this.storm.random() < this.storm.rate) {
      const kind = Math.floor(this.storm.random() * 3);
      if (kind === 0) return this.#fail(response, 'ThrottlingException', 429);
      if (kind === 1) return this.#fail(response, 'InternalServerException', 500);
      // Carried out, and the answer lost on its way.
      const unheard = Object.assign(Object.create(response), {
        writeHead: () => unheard,
        end: () => response.destroy(),
      });
      await this[name as 'GetImageSet'](input as Record<string, string>, unheard);
      return;
    }
    if (labels.datastoreId !== this.datastoreId) return this.#fail(response, 'ResourceNotFoundException', 404);
    await this[name as 'GetImageSet'](input as Record<string, string>, response);
  }

  #checkAgainst(structure: string, value: Record<string, unknown>): void {
    const known = membersOf(structure);
    for (const member of Object.keys(value))
      if (!known.includes(member)) this.violations.push(`${structure} has no ${member}`);
    for (const member of requiredMembers(structure))
      if (value[member] === undefined) this.violations.push(`${structure} lacks ${member}`);
  }

  #fail(response: ServerResponse, name: string, status: number): void {
    if (!(name in sdk)) this.violations.push(`the model has no ${name}`);
    response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-errortype': name });
    response.end(JSON.stringify({ message: name }));
  }

  #send(response: ServerResponse, structure: string, value: Record<string, unknown>): void {
    this.#checkAgainst(structure, value);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  }

  async StartDICOMImportJob(input: Record<string, string>, response: ServerResponse): Promise<void> {
    const running = [...this.jobs.values()].filter(({ status }) => status !== 'COMPLETED' && status !== 'FAILED');
    const known = this.#tokens.get(input.clientToken!);
    if (known === undefined && running.length >= this.jobsAtOnce)
      return this.#fail(response, 'ServiceQuotaExceededException', 402);
    const jobId = known ?? newId();
    if (known === undefined) {
      this.#tokens.set(input.clientToken!, jobId);
      this.jobs.set(jobId, { request: input, status: 'SUBMITTED' });
    }
    this.#send(response, 'StartDICOMImportJobResponse', {
      datastoreId: this.datastoreId,
      jobId,
      jobStatus: 'SUBMITTED',
      submittedAt: 1_700_000_000,
    });
  }

  /** Each look finds the job one step further. */
  async GetDICOMImportJob({ jobId }: Record<string, string>, response: ServerResponse): Promise<void> {
    const job = this.jobs.get(jobId!);
    if (!job) return this.#fail(response, 'ResourceNotFoundException', 404);
    const outputS3Uri = `${job.request.outputS3Uri}${this.datastoreId}-DicomImport-${jobId}/`;
    if (job.status === 'SUBMITTED') job.status = 'IN_PROGRESS';
    else if (job.status === 'IN_PROGRESS') {
      job.status = this.jobsFail ? 'FAILED' : 'COMPLETED';
      if (!this.jobsFail) await this.#import(job.request.inputS3Uri!, outputS3Uri);
    }
    const jobProperties = {
      jobId,
      jobName: job.request.jobName,
      jobStatus: job.status,
      datastoreId: this.datastoreId,
      dataAccessRoleArn: job.request.dataAccessRoleArn,
      inputS3Uri: job.request.inputS3Uri,
      outputS3Uri,
    };
    this.#checkAgainst('DICOMImportJobProperties', jobProperties);
    this.#send(response, 'GetDICOMImportJobResponse', { jobProperties });
  }

  async GetImageSet({ imageSetId }: Record<string, string>, response: ServerResponse): Promise<void> {
    const set = this.imageSets.get(imageSetId!);
    if (!set) return this.#fail(response, 'ResourceNotFoundException', 404);
    const { datastoreId } = this;
    const { isPrimary, state } = set;
    const deleting = state === 'LOCKED';
    this.#send(response, 'GetImageSetResponse', {
      datastoreId,
      imageSetId,
      versionId: String(set.versions.length),
      imageSetState: state,
      ...(deleting && { imageSetWorkflowStatus: 'DELETING' }),
      isPrimary,
    });
    // The next look finds it gone.
    if (deleting) this.imageSets.delete(imageSetId!);
  }

  /** Goes on in the background: the set is locked until it is gone. */
  async DeleteImageSet({ imageSetId }: Record<string, string>, response: ServerResponse): Promise<void> {
    const set = this.imageSets.get(imageSetId!);
    if (!set) return this.#fail(response, 'ResourceNotFoundException', 404);
    if (set.state !== 'ACTIVE') return this.#fail(response, 'ConflictException', 409);
    set.state = 'LOCKED';
    this.#send(response, 'DeleteImageSetResponse', {
      datastoreId: this.datastoreId,
      imageSetId,
      imageSetState: 'LOCKED',
      imageSetWorkflowStatus: 'DELETING',
    });
  }

  async GetImageSetMetadata(
    { imageSetId, versionId }: Record<string, string>,
    response: ServerResponse,
  ): Promise<void> {
    const set = this.imageSets.get(imageSetId!);
    const instances = set?.versions[Number(versionId ?? set.versions.length) - 1];
    if (!set || !instances) return this.#fail(response, 'ResourceNotFoundException', 404);
    const ids = { DatastoreID: this.datastoreId, ImageSetID: imageSetId! };
    const all = [...instances].map(([sop, { metadata, frames }]) => [sop, metadata, frames] as const);
    const metadata = imageSetMetadata(ids, set.common, all);
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.end(gzipSync(this.rewrite(JSON.stringify(metadata))));
  }

  async GetImageFrame(input: Record<string, string>, response: ServerResponse): Promise<void> {
    const { imageFrameId } = input.imageFrameInformation as unknown as { imageFrameId: string };
    const set = this.imageSets.get(input.imageSetId!);
    const belongs = [...(set?.instances.values() ?? [])].some((ids) => ids.includes(imageFrameId));
    if (!belongs) return this.#fail(response, 'ResourceNotFoundException', 404);
    response.writeHead(200, { 'content-type': 'image/jph' });
    response.end(this.frames.get(imageFrameId));
  }

  async #import(inputS3Uri: string, outputS3Uri: string): Promise<void> {
    const keyOf = (uri: string): string => uri.replace(/^s3:\/\/[^/]+\//, '');
    const imported: { readonly sop: string; readonly object: Imported }[] = [];
    const failures: string[] = [];
    for await (const { key } of this.#landing.list(keyOf(inputS3Uri))) {
      const bytes = await this.#landing.readBytes(key);
      const metadata = metadataOfObject(bytes);
      const sop = String(metadata.instance.SOPInstanceUID);
      const reason = this.refuses.get(sop);
      if (reason !== undefined) {
        failures.push(JSON.stringify({ inputFile: key, exception: { exceptionType: reason, message: 'hidden' } }));
        continue;
      }
      const { pixels } = scanPart10(bytes, DEFAULT_LIMITS);
      const frames = Array.from({ length: pixels?.frames ?? 0 }, (_, i) => {
        const ID = newId();
        const content = Buffer.from(`HTJ2K of ${sop} frame ${i + 1}`);
        this.frames.set(ID, content);
        const { Columns: Width, Rows: Height } = metadata.instance;
        const PixelDataChecksumFromBaseToFullResolution = [{ Width, Height, Checksum: content.length }];
        return {
          ID,
          PixelDataChecksumFromBaseToFullResolution,
          MinPixelValue: 0,
          MaxPixelValue: 1,
          FrameSizeInBytes: content.length,
        };
      });
      imported.push({ sop, object: { metadata, frames } });
    }
    const changed = addToSets(this.imageSets, imported, this.conflicting);
    const out = keyOf(outputS3Uri);
    const jobSummary = {
      numberOfScannedFiles: imported.length + failures.length,
      numberOfImportedFiles: imported.length,
      numberOfFilesWithCustomerError: failures.length,
      numberOfGeneratedImageSets: changed.size,
      imageSetsSummary: [...changed].map(([imageSetId, count]) => {
        const { isPrimary, versions } = this.imageSets.get(imageSetId)!;
        return { imageSetId, imageSetVersion: versions.length, isPrimary, numberOfMatchedSOPInstances: count };
      }),
      successOutputS3Uri: `${outputS3Uri}SUCCESS/`,
      failureOutputS3Uri: `${outputS3Uri}FAILURE/`,
    };
    if (failures.length > 0) await this.#landing.put(`${out}FAILURE/failure.ndjson`, Buffer.from(failures.join('\n')));
    await this.#landing.put(`${out}job-output-manifest.json`, Buffer.from(JSON.stringify({ jobSummary })));
  }
}
