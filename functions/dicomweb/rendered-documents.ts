import type { InstanceRecord } from '#core/archive/records.ts';
import { tableEntry } from '#core/dicom/frames.ts';
import { PacsError } from '#core/errors.ts';
import { bulkReader, dataSetOf } from '#core/pixels/image-source.ts';
import { DOCUMENT_TYPES } from '#core/pixels/renderable.ts';
import { reportHtml, reportText } from '#core/pixels/report.ts';
import { openFrames } from '#core/retrieve/frames.ts';
import { mediaTypeOf } from '#core/retrieve/media-types.ts';
import { cacheControlOf } from './cache-control.ts';
import { etagOf, notModified, rangedResponse, validatorHeaders } from './conditional.ts';
import { watermarkOf } from './guest.ts';
import type { Context } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { answer, notRenderable, RENDERER } from './rendered-answer.ts';

/** The one stream of all frames, as stored. In one fragment, as nearly all are, it has ranges: players seek by them. */
export async function videoResponse({ services, request }: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { offer } = negotiate(request, [{ type: mediaTypeOf(instance.transferSyntaxUID), packaging: 'single' }]);
  const validators = { etag: etagOf(RENDERER, instance.sha256, 'video'), lastModified: instance.storedAt };
  const headers = { 'content-type': offer.type, 'cache-control': cacheControlOf(services.policy), vary: 'accept' };
  const unchanged = notModified(request, validators, headers);
  if (unchanged) return unchanged;
  const { blobKey, pixels } = instance;
  if (pixels?.kind === 'fragments' && pixels.table !== undefined) {
    const run = tableEntry(pixels.table, 1);
    const item = await services.blobs.readBytes(blobKey, { offset: run.offset, length: ITEM_HEADER_BYTES });
    const sizeBytes = Buffer.from(item).readUInt32LE(4);
    if (sizeBytes === run.length - ITEM_HEADER_BYTES) {
      const start = run.offset + ITEM_HEADER_BYTES;
      return rangedResponse(request, { sizeBytes, validators, headers }, (offset, length) =>
        services.blobs.read(blobKey, { offset: start + offset, length }),
      );
    }
  }
  const stream = await openFrames(services, instance, [1]).next();
  if (stream.done === true) throw notRenderable();
  return { status: 200, headers: { ...headers, ...validatorHeaders(validators) }, body: stream.value };
}

/** tag and length of an item of encapsulated pixel data (PS3.5 A.4) */
const ITEM_HEADER_BYTES = 8;

/** What came in from outside is shown to a browser under our own origin: it may run nothing there. */
const INERT = {
  'content-security-policy': "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
  'x-content-type-options': 'nosniff',
};

export async function documentResponse(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { services, request } = context;
  const type = DOCUMENT_TYPES[instance.SOPClassUID]!;
  negotiate(request, [{ type, aliases: type === 'text/xml' ? ['application/xml'] : [], packaging: 'single' }]);
  return answer(context, instance, ['document'], async () => {
    const dataSet = await dataSetOf(services, instance);
    const element = dataSet['00420011'];
    const bytes = element === undefined ? new Uint8Array(0) : await bulkReader(services, instance)(element);
    if (bytes.length === 0) throw new PacsError('NOT_FOUND', 'the object encapsulates no document');
    const stated = dataSet['00420015']?.Value?.[0];
    // an OB value of odd length is padded; the object may say how long it really is
    const body = typeof stated === 'number' && stated > 0 && stated < bytes.length ? bytes.subarray(0, stated) : bytes;
    // viewers of PDF do not start in a sandbox; what a PDF can do, it does in the viewer's own
    const headers = type === 'application/pdf' ? { 'x-content-type-options': 'nosniff' } : INERT;
    return { type, body, headers };
  });
}

const REPORTS: readonly Offer[] = [
  { type: 'text/html', packaging: 'single' },
  { type: 'text/plain', packaging: 'single' },
];

export async function reportResponse(context: Context, instance: InstanceRecord): Promise<HttpResponse> {
  const { type } = negotiate(context.request, REPORTS).offer;
  const { watermark } = watermarkOf(context.principal, context.services.clock);
  return answer(context, instance, [type, watermark ?? ''], async () => {
    const dataSet = await dataSetOf(context.services, instance);
    const text = type === 'text/html' ? reportHtml(dataSet, watermark) : reportText(dataSet, watermark);
    return { type: `${type}; charset=utf-8`, body: Buffer.from(text), headers: INERT };
  });
}
