import { heldComment } from '#core/archive/held-reasons.ts';
import type { StoreOutcome } from '#core/archive/store.ts';
import { dataSetToJson } from '#core/dicom/json.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { dataSetToXml } from '#core/dicom/xml.ts';
import { ERRORS, type PacsError } from '#core/errors.ts';
import { DIGEST } from '#core/routing/verdicts.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { negotiate } from './negotiate.ts';

/** Warning Reason (PS3.18 Table I.2-1): it is shown with elements that it does not hold. */
const COERCION_OF_DATA_ELEMENTS = 0xb000;
/** Seconds after which a sender may try again what was refused for want of resources. */
const RETRY_AFTER_SECONDS = 10;

export { DIGEST };

/**
 * Whether the response is to be XML.
 * @throws PacsError NOT_ACCEPTABLE
 */
export const wantsXml = (request: HttpRequest): boolean =>
  negotiate(
    request,
    [
      { type: 'application/dicom+json', packaging: 'single', aliases: ['application/json'] },
      { type: 'application/dicom+xml', packaging: 'single', aliases: ['text/xml', 'application/xml'] },
    ],
    { tolerate: 'application/dicom' },
  ).offer.type === 'application/dicom+xml';

/**
 * The Store Instances Response module (PS3.18 Annex I) and its status: 200 all stored, 202 some, or with a warning, 409 none (§10.5.3.1);
 * 503 and 413 when nothing was stored for that one reason.
 */
export function storeResponse(
  outcomes: readonly StoreOutcome[],
  { root, study, xml }: { root: string; study: string | undefined; xml: boolean },
): HttpResponse {
  const body: DataSet = {};
  const stored = outcomes.filter((outcome) => outcome.kind !== 'failed' && outcome.kind !== 'held');
  const studies = new Set(stored.map(({ id }) => id.StudyInstanceUID));
  const [only] = studies;
  if (study !== undefined) body['00081190'] = { vr: 'UR', Value: [`${root}/studies/${study}`] };
  else if (studies.size === 1) body['00081190'] = { vr: 'UR', Value: [`${root}/studies/${only}`] };

  const failed: DataSet[] = [];
  const other: DataSet[] = [];
  const referenced: DataSet[] = [];
  for (const outcome of outcomes) {
    const item: DataSet = {};
    if (outcome.id.SOPClassUID !== undefined) item['00081150'] = { vr: 'UI', Value: [outcome.id.SOPClassUID] };
    if (outcome.id.SOPInstanceUID !== undefined) item['00081155'] = { vr: 'UI', Value: [outcome.id.SOPInstanceUID] };
    if (outcome.kind === 'failed' || outcome.kind === 'held') {
      const row = outcome.kind === 'held' ? ERRORS.CONFLICT : outcome.error.row;
      item['00081197'] = { vr: 'US', Value: [row.failureReason] };
      item['00741048'] = comment(commentOf(outcome));
      (outcome.id.SOPInstanceUID === undefined ? other : failed).push(item);
    } else {
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = outcome.id;
      const url = `${root}/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
      item['00081190'] = { vr: 'UR', Value: [url] };

      item[DIGEST.creator] = { vr: 'LO', Value: [DIGEST.name] };
      item[DIGEST.sha256] = { vr: 'LO', Value: [outcome.sha256] };
      if (outcome.supplied.length > 0) {
        item['00081196'] = { vr: 'US', Value: [COERCION_OF_DATA_ELEMENTS] };
        item['00741048'] = comment(`supplied: ${outcome.supplied.join(', ')}`.slice(0, 64));
      }
      // No warning by itself: it is what the sender wanted. The console tells it from what is new.
      if (outcome.kind === 'duplicate') item['00741048'] = comment('already stored');
      referenced.push(item);
    }
  }
  if (failed.length > 0) body['00081198'] = { vr: 'SQ', Value: failed };
  if (referenced.length > 0) body['00081199'] = { vr: 'SQ', Value: referenced };
  if (other.length > 0) body['0008119A'] = { vr: 'SQ', Value: other };

  const { status, retry } = statusOf(outcomes, referenced.length);
  const headers: Record<string, string> = {
    'content-type': xml ? 'application/dicom+xml' : 'application/dicom+json',
    'cache-control': 'no-store',
  };
  if (retry) headers['retry-after'] = String(RETRY_AFTER_SECONDS);
  return { status, headers, body: (xml ? dataSetToXml : dataSetToJson)(body, () => '') };
}

function statusOf(outcomes: readonly StoreOutcome[], succeeded: number): { status: number; retry: boolean } {
  const warned = outcomes.some((outcome) => 'supplied' in outcome && outcome.supplied.length > 0);
  if (succeeded === outcomes.length) return { status: warned ? 202 : 200, retry: false };
  if (succeeded > 0) return { status: 202, retry: false };
  const codes = new Set(outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error.code : 'CONFLICT')));
  const [code] = codes;
  if (codes.size === 1 && code !== undefined) {
    const { http, resend } = ERRORS[code];
    if (http >= 500 || http === 413) return { status: http, retry: resend === 'safe' || resend === 'later' };
  }
  return { status: 409, retry: false };
}

/** Failed Attributes Sequence with an Error Comment: where archives in the field put a text beside the code. */
const comment = (text: string): Element => ({
  vr: 'SQ',
  Value: [{ '00000902': { vr: 'LO', Value: [text] } }],
});

/** LO holds 64 characters. */
function commentOf(outcome: Extract<StoreOutcome, { kind: 'failed' | 'held' }>): string {
  if (outcome.kind === 'held') return heldComment(outcome.held.kind).slice(0, 64);
  const error: PacsError = outcome.error;
  return (error.code === 'INTERNAL' ? 'internal error' : error.message).slice(0, 64);
}
