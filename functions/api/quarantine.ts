import { HELD_REASONS } from '#core/archive/held-reasons.ts';
import { METADATA_BASE } from '#core/archive/metadata-record.ts';
import { discardHeld, getHeld, listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import type { HeldRecord } from '#core/archive/records.ts';
import { rescan } from '#core/archive/rescan.ts';
import { PacsError } from '#core/errors.ts';
import type { Handler } from '#dicomweb/handler.ts';
import { renderRecord } from '#dicomweb/rendered.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** What is shown of a held record: everything but where its bytes stand. */
function view({ blobKey: _, ...held }: HeldRecord) {
  return { ...held, reason: HELD_REASONS[held.kind] };
}

/** Conflicts in quarantine, newest first. */
export const listQuarantine: Handler = async ({ request, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 50, 500);
  const page = await listHeld(services, principal.tenant, request.query.get('after') ?? '', limit);
  return json(200, { ...page, items: page.items.map(view) });
};

export const getQuarantined: Handler = async ({ params, services, principal }) =>
  json(200, view(await getHeld(services, principal.tenant, params.id!)));

/** The held Part 10 object, as received. */
export const getQuarantinedContent: Handler = async ({ params, services, principal }) => {
  const held = await getHeld(services, principal.tenant, params.id!);
  return {
    status: 200,
    headers: {
      'content-type': 'application/dicom',
      'content-length': String(held.sizeBytes),
      'cache-control': 'no-store',
    },
    body: services.blobs.read(held.blobKey),
  };
};

/** The held object's data set as DICOM JSON; its bulk values can be had from its content only. */
export const getQuarantinedMetadata: Handler = async ({ params, services, principal, root }) => {
  const held = await getHeld(services, principal.tenant, params.id!);
  const { metadata } = await rescan(services, principal.tenant, {
    ...held,
    version: held.id,
    storedAt: held.receivedAt,
  });
  const bytes = metadata.json ?? (await services.blobs.readBytes(metadata.blobKey as string));
  const text = Buffer.from(bytes as Uint8Array).toString('utf8');
  const content = `${root}/quarantine/${held.id}/content#`;
  const body = `[${text.replaceAll(`"${METADATA_BASE}/`, `"${content}`)}]`;
  return { status: 200, headers: { 'content-type': 'application/dicom+json', 'cache-control': 'no-store' }, body };
};

/** What the held object looks like, beside the one in the archive. */
export const getQuarantinedRendered: Handler = async (context) => {
  const { services, principal, params } = context;
  const held = await getHeld(services, principal.tenant, params.id!);
  const { instance } = await rescan(services, principal.tenant, {
    ...held,
    version: held.id,
    storedAt: held.receivedAt,
  });
  return renderRecord(context, instance);
};

/** Decides a conflict: `replace` makes the held bytes the current ones, `discard` sends them to the trash. */
export const decideQuarantined: Handler = async ({ request, params, services, principal }) => {
  const { action, reason } = await readJson(request);
  const id = params.id!;
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > 200)) {
    throw new PacsError('BAD_REQUEST', 'reason must be a text of at most 200 characters');
  }
  const who = { by: principal.subject, reason: reason ?? 'no reason given' };
  if (action === 'replace') await replaceByHeld(services, principal.tenant, id, who);
  else if (action === 'discard') await discardHeld(services, principal.tenant, id, who);
  else throw new PacsError('BAD_REQUEST', 'action must be replace or discard');
  return json(200, { id, action });
};
