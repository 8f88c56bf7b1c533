import { arrivedParts, partCount, placeOfPart, putPart } from '#core/archive/transaction-parts.ts';
import {
  type AnnouncedObject,
  checkOpen,
  findTransaction,
  type TransactionRecord,
  transactionState,
} from '#core/archive/transaction-records.ts';
import { abandonTransaction, createTransaction } from '#core/archive/transactions.ts';
import { commitTransaction } from '#core/archive/uploaded.ts';
import { PacsError } from '#core/errors.ts';
import { reprDigest, sha256In } from '#dicomweb/digest.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { storeResponse, wantsXml } from '#dicomweb/store-response.ts';
import { TRANSACTIONS_PATH } from '#dicomweb/transactions-link.ts';
import { json, readJson } from './json.ts';

/** a thousand objects with their UIDs (bytes) */
const ANNOUNCEMENT_BYTES = 512 * 1024;
const PARTS_OF_REQUEST = 100;
const COMMIT_AGAIN_SECONDS = 2;

/** Store transactions: docs/store-transactions.md is the description for those who write clients. */
const putTransaction: Handler = async (context) => {
  const { request, params, services, principal } = context;
  const { StudyInstanceUID, objects } = await readJson(request, ANNOUNCEMENT_BYTES);
  if (!Array.isArray(objects) || !isTextOrAbsent(StudyInstanceUID)) throw malformed('objects must be a list');
  const { record, created } = await createTransaction(services, principal.tenant, {
    id: params.id!,
    by: principal.subject,
    ...(StudyInstanceUID !== undefined && { StudyInstanceUID }),
    objects: objects.map(announcedObject),
  });
  return json(created ? 201 : 200, await view(context, record));
};

const getTransaction: Handler = async (context) => json(200, await view(context, await find(context)));

/** Where parts are to be uploaded: signed URLs of the landing store, or our own. */
const grantParts: Handler = async (context) => {
  const { request, services, principal } = context;
  const record = await find(context);
  await checkOpen(services, principal.tenant, record.id);
  const { object, parts } = await readJson(request);
  if (typeof object !== 'number' || !Array.isArray(parts) || parts.length > PARTS_OF_REQUEST) {
    throw malformed(`object must be a number and parts a list of at most ${PARTS_OF_REQUEST}`);
  }
  const uploads = await Promise.all(parts.map((part: unknown) => grant(context, record, object, part)));
  return json(200, { uploads });
};

/** PUT of a part on ourselves; its bytes must have the Content-Digest that was announced for them. */
const putTransactionPart: Handler = async (context) => {
  const { request, params, services, principal } = context;
  const record = await find(context);
  await checkOpen(services, principal.tenant, record.id);
  const place = placeOfPart(principal.tenant, record, Number(params.object), Number(params.part));
  const sha256 = sha256In(request.headers['content-digest']);
  if (sha256 === undefined) throw malformed('the Content-Digest with the SHA-256 of the part is missing');
  await putPart(services, place, sha256, request.body);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

/** The ordinary answer of a Store transaction (PS3.18 §10.5.3), or 202 with Retry-After while it is not known. */
const commit: Handler = async (context) => {
  const { request, services, principal } = context;
  const xml = wantsXml(request);
  const record = await find(context);
  const result = await commitTransaction(services, principal.tenant, record);
  if (result.state === 'storing') {
    const { headers, ...rest } = json(202, await view(context, record));
    return { ...rest, headers: { ...headers, 'retry-after': String(COMMIT_AGAIN_SECONDS) } };
  }
  const root = `${request.origin}/dicomweb`;
  return storeResponse(result.outcomes, { root, study: record.StudyInstanceUID, xml });
};

const deleteTransaction: Handler = async (context): Promise<HttpResponse> => {
  const record = await find(context);
  await abandonTransaction(context.services, context.principal.tenant, record.id);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const row = (method: Route['method'], path: string, name: string, handler: Handler): Route => ({
  method,
  path: `/transactions/{id}${path}`,
  action: 'store',
  name,
  handler,
});

export const TRANSACTION_ROUTES: readonly Route[] = [
  row('PUT', '', 'PutTransaction', putTransaction),
  row('GET', '', 'GetTransaction', getTransaction),
  row('DELETE', '', 'DeleteTransaction', deleteTransaction),
  row('POST', '/parts', 'GrantParts', grantParts),
  row('PUT', '/objects/{object}/parts/{part}', 'PutTransactionPart', putTransactionPart),
  row('POST', '/commit', 'CommitTransaction', commit),
];

const find = ({ services, principal, params }: Context): Promise<TransactionRecord> =>
  findTransaction(services, principal.tenant, params.id!, principal.subject);

async function view({ services, principal }: Context, record: TransactionRecord) {
  const { state, outcomes } = await transactionState(services, principal.tenant, record);
  const arrived = state === 'open' ? await arrivedParts(services, principal.tenant, record) : undefined;
  const objects = record.objects.map((object, i) => ({
    ...object,
    parts: partCount(object),
    ...(arrived && { arrived: arrived[i] }),
    ...(outcomes[i] && { outcome: outcomes[i].kind }),
  }));
  const { id, expiresAt, StudyInstanceUID } = record;
  return { id, state, expiresAt, StudyInstanceUID, objects };
}

async function grant(
  { request, services, principal }: Context,
  record: TransactionRecord,
  object: number,
  asked: unknown,
) {
  const { part, sha256 } = (asked ?? {}) as { part?: unknown; sha256?: unknown };
  if (typeof part !== 'number' || typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw malformed('a part has a number and a sha256');
  }
  const { key, sizeBytes } = placeOfPart(principal.tenant, record, object, part);
  const expiresInMs = services.limits.transactionGrantMs;
  const { landing } = services.direct;
  if (landing) {
    const signed = await landing.signWrite(key, { expiresInMs, sizeBytes, sha256 });
    return { part, method: 'PUT', ...signed, authenticate: false };
  }
  return {
    part,
    method: 'PUT',
    url: `${request.origin}${TRANSACTIONS_PATH}/${record.id}/objects/${object}/parts/${part}`,
    headers: { 'content-digest': reprDigest(sha256) },
    authenticate: true,
    expiresAt: record.expiresAt,
  };
}

function announcedObject(value: unknown): AnnouncedObject {
  const { sizeBytes, sha256, SOPInstanceUID } = (value ?? {}) as Record<string, unknown>;
  if (typeof sizeBytes !== 'number' || typeof sha256 !== 'string' || !isTextOrAbsent(SOPInstanceUID)) {
    throw malformed('an object has a sizeBytes and a sha256');
  }
  return { sizeBytes, sha256, ...(SOPInstanceUID !== undefined && { SOPInstanceUID }) };
}

const isTextOrAbsent = (value: unknown): value is string | undefined =>
  value === undefined || typeof value === 'string';
const malformed = (message: string): PacsError => new PacsError('BAD_REQUEST', message);
