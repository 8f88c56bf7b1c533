/** What HealthImaging writes beside an import job. */

/** `job-output-manifest.json`, as far as it matters here. */
export interface JobSummary {
  readonly imported: number;
  readonly imageSets: readonly ImportedSet[];
  /** `s3://…/FAILURE/` */
  readonly failures: string | undefined;
}

/** An image set that a job made, or added to. */
export interface ImportedSet {
  readonly imageSetId: string;
  /** in which the job left it, where it says so */
  readonly version: string | undefined;
  readonly isPrimary: boolean | undefined;
}

/** @throws SyntaxError when it is not JSON */
export function parseManifest(text: string): JobSummary {
  const { jobSummary = {} } = JSON.parse(text) as {
    jobSummary?: {
      numberOfImportedFiles?: number;
      failureOutputS3Uri?: string;
      imageSetsSummary?: readonly {
        imageSetId?: string;
        imageSetVersion?: number | string;
        isPrimary?: boolean;
      }[];
    };
  };
  return {
    imported: jobSummary.numberOfImportedFiles ?? 0,
    imageSets: (jobSummary.imageSetsSummary ?? []).flatMap(({ imageSetId, imageSetVersion, isPrimary }) =>
      imageSetId === undefined ? [] : { imageSetId, version: imageSetVersion?.toString(), isPrimary },
    ),
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

/** The bucket and the key or prefix of `s3://bucket/key`. */
export function s3Place(uri: string): { readonly bucket: string; readonly key: string } {
  const [, bucket = '', key = ''] = /^s3:\/\/([^/]+)\/(.*)$/.exec(uri) ?? [];
  return { bucket, key };
}
