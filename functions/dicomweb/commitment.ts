import {
  type CommitmentFailure,
  commitmentOf,
  type Reference,
  type ReferenceInStudy,
} from '#core/archive/commitment.ts';
import type { Deletion } from '#core/archive/deletions.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import type { Limits } from '#core/limits.ts';
import { DELETION, DIGEST, timeOfDeletion } from '#core/routing/verdicts.ts';
import { withoutCoding } from './content-coding.ts';
import type { Handler } from './handler.ts';
import type { HttpRequest } from './http.ts';
import { parseMediaType } from './media-type.ts';
import { readText } from './read-text.ts';
import { wantsXml } from './store-response.ts';

const TAG = {
  StudyInstanceUID: '0020000D',
  ReferencedStudySequence: '00081110',
  ReferencedSOPClassUID: '00081150',
  ReferencedSOPInstanceUID: '00081155',
  FailureReason: '00081197',
  FailedSOPSequence: '00081198',
  ReferencedSOPSequence: '00081199',
} as const;
/** PS3.3 C.14.1.1 */
const FAILURE_REASON: Readonly<Record<CommitmentFailure, number>> = {
  processingFailure: 0x0110,
  noSuchInstance: 0x0112,
  classInstanceConflict: 0x0119,
};
const JSON_TYPES: ReadonlySet<string> = new Set(['application/dicom+json', 'application/json']);
const XML_TYPES: ReadonlySet<string> = new Set(['application/dicom+xml', 'application/xml', 'text/xml']);

/**
 * Storage Commitment Service, Request transaction (PS3.18 §13.4): POST /commitment-requests/{transaction} with the Referenced SOP Sequence of
 * Annex J.1. What is found is durable, so the answer is always the result (200), and each committed instance is named with the SHA-256 that is
 * kept, in the private elements that the Store response has as well. So is one that a rejection note hides, among those that failed; and one that
 * was deleted and lies in the trash, with when and why, where the reference names its study (0020,000D).
 * @throws PacsError BAD_REQUEST, UNSUPPORTED_MEDIA, NOT_ACCEPTABLE, TOO_LARGE
 */
export const requestCommitment: Handler = async ({ request, params, services, principal, facts }) => {
  if (!isUID(params.transaction ?? ''))
    throw new PacsError('BAD_REQUEST', 'the Transaction UID of the path is not a UID');
  const xml = wantsXml(request);
  const references = referencesIn(await dataSetOf(request, services.limits), services.limits);
  const { committed, failed } = await commitmentOf(services, principal.tenant, { references });
  facts.instances = references.length;
  const body: DataSet = {
    ...(failed.length > 0 && {
      [TAG.FailedSOPSequence]: {
        vr: 'SQ',
        Value: failed.map(({ reason, sha256, deletion, ...one }) => ({
          ...itemOf(one),
          [TAG.FailureReason]: { vr: 'US', Value: [FAILURE_REASON[reason]] },
          ...(sha256 !== undefined && digestOf(sha256)),
          ...(deletion !== undefined && elementsOf(deletion)),
        })),
      },
    }),
    ...(committed.length > 0 && {
      [TAG.ReferencedSOPSequence]: {
        vr: 'SQ',
        Value: committed.map(({ sha256, ...one }) => ({ ...itemOf(one), ...digestOf(sha256) })),
      },
    }),
  };
  const headers = {
    'content-type': xml ? 'application/dicom+xml' : 'application/dicom+json',
    'cache-control': 'no-store',
  };
  return { status: 200, headers, body: (xml ? dataSetToXml : dataSetToJson)(body, () => '') };
};

/** The Result Check transaction (§13.5) is for whoever was answered 202; here nobody is, and no request is kept. @throws PacsError NOT_FOUND */
export const checkCommitment: Handler = async () => {
  throw new PacsError(
    'NOT_FOUND',
    'requests for storage commitment are answered at once, and not kept: ask again by POST',
  );
};

async function dataSetOf(request: HttpRequest, { commitmentRequestBytes }: Limits): Promise<DataSet> {
  const { type } = parseMediaType(request.headers['content-type'] ?? '');
  if (!JSON_TYPES.has(type) && !XML_TYPES.has(type))
    throw new PacsError('UNSUPPORTED_MEDIA', 'a request for storage commitment is DICOM JSON or XML', {
      details: { accept: 'application/dicom+json, application/dicom+xml' },
    });
  const text = await readText(withoutCoding(request), commitmentRequestBytes);
  if (XML_TYPES.has(type)) return xmlToDataSet(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new PacsError('BAD_REQUEST', 'the request is not JSON');
  }
  // A list of one data set (PS3.18 F.2), or that by itself.
  if (Array.isArray(value) && value.length !== 1)
    throw new PacsError('BAD_REQUEST', 'a request for storage commitment is one data set');
  return jsonToDataSet(Array.isArray(value) ? value[0] : value);
}

function referencesIn(dataSet: DataSet, { commitmentInstances }: Limits): ReferenceInStudy[] {
  if (dataSet[TAG.ReferencedStudySequence] !== undefined)
    throw new PacsError('BAD_REQUEST', 'instances are taken in the Referenced SOP Sequence, not by study');
  const items = (dataSet[TAG.ReferencedSOPSequence]?.Value ?? []) as DataSet[];
  if (items.length === 0) throw new PacsError('BAD_REQUEST', 'the Referenced SOP Sequence names no instance');
  if (items.length > commitmentInstances)
    throw new PacsError('TOO_LARGE', 'too many instances in one request', {
      details: { limitInstances: commitmentInstances },
    });
  return items.map((item) => ({
    SOPClassUID: uidIn(item, TAG.ReferencedSOPClassUID),
    SOPInstanceUID: uidIn(item, TAG.ReferencedSOPInstanceUID),
    ...(item[TAG.StudyInstanceUID] !== undefined && { StudyInstanceUID: uidIn(item, TAG.StudyInstanceUID) }),
  }));
}

function uidIn(item: DataSet, tag: string): string {
  const uid = textOf(item[tag]);
  if (!isUID(uid)) throw new PacsError('BAD_REQUEST', 'a UID of the request is missing or malformed');
  return uid;
}

const digestOf = (sha256: string): DataSet => ({
  [DIGEST.creator]: { vr: 'LO', Value: [DIGEST.name] },
  [DIGEST.sha256]: { vr: 'LO', Value: [sha256] },
});

const elementsOf = ({ deletedAt, reason }: Deletion): DataSet => ({
  [DELETION.deletedAt]: { vr: 'DT', Value: [timeOfDeletion(deletedAt)] },
  [DELETION.reason]: { vr: 'UT', Value: [reason] },
});

const itemOf = ({ SOPClassUID, SOPInstanceUID }: Reference): DataSet => ({
  [TAG.ReferencedSOPClassUID]: { vr: 'UI', Value: [SOPClassUID] },
  [TAG.ReferencedSOPInstanceUID]: { vr: 'UI', Value: [SOPInstanceUID] },
});
