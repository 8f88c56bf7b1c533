import { gunzipSync } from 'node:zlib';

/** What HealthImaging writes beside an import job, and what it says of an image set. */

/** `job-output-manifest.json`, as far as it matters here. */
export interface JobSummary {
  readonly imported: number;
  readonly imageSetIds: readonly string[];
  /** `s3://…/FAILURE/` */
  readonly failures: string | undefined;
}

/** @throws SyntaxError when it is not JSON */
export function parseManifest(text: string): JobSummary {
  const { jobSummary = {} } = JSON.parse(text) as {
    jobSummary?: {
      numberOfImportedFiles?: number;
      failureOutputS3Uri?: string;
      imageSetsSummary?: readonly { imageSetId?: string }[];
    };
  };
  return {
    imported: jobSummary.numberOfImportedFiles ?? 0,
    imageSetIds: (jobSummary.imageSetsSummary ?? []).flatMap(({ imageSetId }) => imageSetId ?? []),
    failures: jobSummary.failureOutputS3Uri,
  };
}

/** Reasons by input file, of `FAILURE/failure.ndjson`. Types of errors only: messages may quote the data set. */
export function parseFailures(text: string): { readonly inputFile: string; readonly reason: string }[] {
  return text.split('\n').flatMap((line) => {
    if (line.trim() === '') return [];
    const { inputFile = '', exception } = JSON.parse(line) as {
      inputFile?: string;
      exception?: { exceptionType?: string };
    };
    return [{ inputFile, reason: exception?.exceptionType ?? 'unknown' }];
  });
}

export interface PlacedInstance {
  readonly SOPInstanceUID: string;
  readonly transferSyntaxUID: string;
  /** 32 hexadecimal characters each, in the order of the frames */
  readonly frameIds: readonly string[];
}

/** Instances and their frames, from the metadata of an image set. @param bytes gzip or plain JSON */
export function parseImageSet(bytes: Uint8Array): PlacedInstance[] {
  const text = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : Buffer.from(bytes);
  const { Study } = JSON.parse(text.toString()) as {
    Study?: {
      Series?: Record<
        string,
        {
          Instances?: Record<string, { StoredTransferSyntaxUID?: string; ImageFrames?: readonly { ID?: string }[] }>;
        }
      >;
    };
  };
  return Object.values(Study?.Series ?? {}).flatMap(({ Instances = {} }) =>
    Object.entries(Instances).map(([SOPInstanceUID, { StoredTransferSyntaxUID = '', ImageFrames = [] }]) => ({
      SOPInstanceUID,
      transferSyntaxUID: StoredTransferSyntaxUID,
      frameIds: ImageFrames.map(({ ID = '' }) => ID),
    })),
  );
}

/** The bucket and the key or prefix of `s3://bucket/key`. */
export function s3Place(uri: string): { readonly bucket: string; readonly key: string } {
  const [, bucket = '', key = ''] = /^s3:\/\/([^/]+)\/(.*)$/.exec(uri) ?? [];
  return { bucket, key };
}
