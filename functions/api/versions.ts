import type { InstanceRecord } from '#core/archive/records.ts';
import { findVersion, listVersions } from '#core/archive/versions.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { json, wholeNumber } from './json.ts';

const view = (record: InstanceRecord, current: boolean) => ({
  id: record.version,
  current,
  StudyInstanceUID: record.StudyInstanceUID,
  SeriesInstanceUID: record.SeriesInstanceUID,
  SOPInstanceUID: record.SOPInstanceUID,
  SOPClassUID: record.SOPClassUID,
  transferSyntaxUID: record.transferSyntaxUID,
  sizeBytes: record.sizeBytes,
  sha256: record.sha256,
  storedAt: record.storedAt,
  source: record.source,
});

/** What has arrived under one SOPInstanceUID and is kept: the current object, then those it superseded, newest first. */
export const getVersions: Handler = async ({ request, params, services, principal, facts }) => {
  const limit = wholeNumber(request, 'limit', 50, 500);
  const { current, superseded } = await listVersions(services, principal.tenant, params.instance!, limit);
  const items = [...(current ? [view(current, true)] : []), ...superseded.map((record) => view(record, false))];
  facts.studies = [...new Set(items.map(({ StudyInstanceUID }) => StudyInstanceUID))];
  return json(200, { items });
};

/** The Part 10 object of a version, as received. */
export const getVersionContent: Handler = async ({ params, services, principal, facts }) => {
  const record = await findVersion(services, principal.tenant, params.instance!, params.id!);
  facts.studies = [record.StudyInstanceUID];
  return {
    status: 200,
    headers: {
      'content-type': 'application/dicom',
      'content-length': String(record.sizeBytes),
      'cache-control': 'no-store',
    },
    body: services.blobs.read(record.blobKey),
  };
};
