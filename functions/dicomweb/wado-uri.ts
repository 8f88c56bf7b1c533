import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { renderableOf } from '#core/pixels/renderable.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { frameCount } from '#core/retrieve/frames.ts';
import { deliveryOf } from '#core/retrieve/objects.ts';
import { retrieveBulkdata } from './bulkdata.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { parseMediaType, splitOutsideQuotes } from './media-type.ts';
import { sendObject } from './retrieve-instances.ts';

const DICOM = 'application/dicom';

/**
 * The URI service (PS3.18 §9): GET ?requestType=WADO&studyUID=…&seriesUID=…&objectUID=… onto the plans of the RESTful one.
 * `rendered` and `renderedFrames` answer for rendered media types, `presented` for images as a presentation state has them; they get the query
 * that a RESTful client would have sent.
 * @throws PacsError BAD_REQUEST, NOT_FOUND, NOT_ACCEPTABLE
 */
export const wadoUri =
  (
    rendered: Handler,
    renderedFrames: Handler,
    presented: (
      context: Context,
      state: InstanceRecord,
      of: { readonly SOPInstanceUID: string; readonly frame?: number },
    ) => Promise<HttpResponse>,
  ): Handler =>
  async (context) => {
    const { services, request, principal } = context;
    const { query } = request;
    if (query.get('requestType') !== 'WADO') throw new PacsError('BAD_REQUEST', 'requestType is not WADO');
    const [study, series, sop] = ['studyUID', 'seriesUID', 'objectUID'].map((name) => uidOf(query, name)) as [
      string,
      string,
      string,
    ];
    context.facts.studies = [study];
    // Ignored, it would hand out what the client believes to be free of names.
    if ((query.get('anonymize') ?? 'no') !== 'no') {
      throw new PacsError('BAD_REQUEST', 'anonymize is not supported', { details: { parameter: 'anonymize' } });
    }
    const instance = await findInstance(services, principal.tenant, study, series, sop);
    const types = query.get('contentType')?.trim()
      ? typesIn(query.get('contentType')!)
      : acceptedAlone(request.headers);
    const params = { study, series, instance: sop };

    const first = types.find((type) => type !== '*/*') ?? (frameCount(instance) > 0 ? 'image/jpeg' : DICOM);
    if (first === DICOM) return retrieveObject({ ...context, params }, instance);
    const kind = renderableOf(instance);
    if (instance.pixels === undefined && kind !== 'report' && kind !== 'state') {
      const accept = types.join(', ');
      const headers = { ...request.headers, accept };
      return retrieveBulkdata({
        ...context,
        request: { ...request, headers },
        params: { ...params, bulk: '00420011' },
      });
    }
    const restful = renderingQuery(query, instance);
    const headers = { ...request.headers, accept: types.length > 0 ? types.join(', ') : 'image/jpeg' };
    const asked: Context = { ...context, request: { ...request, query: restful, headers }, params };
    const frame = query.get('frameNumber');
    if (query.has('presentationUID') || query.has('presentationSeriesUID')) {
      // What the state says of window and area stands (§9.1.2.4.3).
      for (const name of ['windowCenter', 'windowWidth', 'region'])
        if (query.has(name)) throw new PacsError('BAD_REQUEST', `${name} does not go with presentationUID`);
      const [series, uid] = [uidOf(query, 'presentationSeriesUID'), uidOf(query, 'presentationUID')];
      const state = await findInstance(services, principal.tenant, study, series, uid);
      return presented(asked, state, {
        SOPInstanceUID: sop,
        ...(frame !== null && { frame: frameOf(frame, instance) }),
      });
    }
    return frame === null ? rendered(asked) : renderedFrames({ ...asked, params: { ...params, frames: frame } });
  };

const typesIn = (list: string): string[] => splitOutsideQuotes(list, ',').map((text) => parseMediaType(text).type);

/**
 * Without contentType: what the Accept header names, where it names an object or a picture and leaves nothing open (PS3.18 §8.7.5). Any other
 * header, such as browsers and libraries send with everything, leaves it to the object.
 */
function acceptedAlone({ accept = '' }: HttpRequest['headers']): string[] {
  const types = typesIn(accept);
  const isOpen = types.some((type) => type === '*' || type.endsWith('/*'));
  return isOpen || !types.some((type) => type === DICOM || type === 'image/jpeg' || type === 'image/png') ? [] : types;
}

/** @throws PacsError BAD_REQUEST, NOT_FOUND */
function frameOf(text: string, instance: InstanceRecord): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new PacsError('BAD_REQUEST', 'frameNumber counts from 1');
  const frames = frameCount(instance);
  if (Number(text) > frames) throw new PacsError('NOT_FOUND', 'there is no such frame', { details: { frames } });
  return Number(text);
}

async function retrieveObject(context: Context, instance: InstanceRecord) {
  const { query } = context.request;
  if (query.has('frameNumber')) throw new PacsError('BAD_REQUEST', 'frameNumber does not go with application/dicom');
  const asked = query.get('transferSyntax') ?? undefined;
  const delivery = deliveryOf(context.services, instance, asked) ?? deliveryOf(context.services, instance, undefined);
  if (!delivery) throw new PacsError('NOT_ACCEPTABLE', 'the object cannot be had in this transfer syntax');
  return sendObject(context, delivery);
}

function uidOf(query: URLSearchParams, name: string): string {
  const uid = query.get(name) ?? '';
  if (!isUID(uid)) throw new PacsError('BAD_REQUEST', `${name} is missing or no UID`, { details: { parameter: name } });
  return uid;
}

/** Rows, columns, region, window, quality and annotation (§9.5) under their RESTful names (§8.3.5). */
function renderingQuery(query: URLSearchParams, instance: InstanceRecord): URLSearchParams {
  const restful = new URLSearchParams();
  const [center, width] = [query.get('windowCenter'), query.get('windowWidth')];
  if (center !== null && width !== null) restful.set('window', `${center},${width},linear`);
  else if (center !== null || width !== null) {
    throw new PacsError('BAD_REQUEST', 'windowCenter and windowWidth go together');
  }
  for (const [name, restfulName] of [
    ['imageQuality', 'quality'],
    ['annotation', 'annotation'],
  ] as const) {
    const value = query.get(name);
    if (value !== null) restful.set(restfulName, value);
  }
  const viewport = viewportOf(query, instance);
  if (viewport !== undefined) restful.set('viewport', viewport);
  return restful;
}

/** `viewport=width,height,left,top,width,height`; the region is in fractions of the image (§9.5.1.2.5). */
function viewportOf(query: URLSearchParams, { attributes }: InstanceRecord): string | undefined {
  const number = (name: string, otherwise: number): number => {
    const text = query.get(name);
    if (text === null) return otherwise;
    if (!/^[1-9][0-9]{0,6}$/.test(text)) throw new PacsError('BAD_REQUEST', `${name} is not a number of pixels`);
    return Number(text);
  };
  const region = query.get('region');
  if (region === null && !query.has('rows') && !query.has('columns')) return undefined;
  const imageRows = Number(attributes['00280010']?.Value?.[0] ?? 0);
  const imageColumns = Number(attributes['00280011']?.Value?.[0] ?? 0);
  // With one of the two, the image's own size bounds the other: the shape is kept anyway.
  const size = `${number('columns', Math.max(imageColumns, 1))},${number('rows', Math.max(imageRows, 1))}`;
  if (region === null) return size;
  const [left, top, right, bottom, ...rest] = region.split(',').map(Number);
  const valid =
    rest.length === 0 &&
    [left, top, right, bottom].every((value) => value !== undefined && value >= 0 && value <= 1) &&
    right! > left! &&
    bottom! > top!;
  if (!valid) throw new PacsError('BAD_REQUEST', 'the region is not left,top,right,bottom in fractions of the image');
  const x = Math.round(left! * imageColumns);
  const y = Math.round(top! * imageRows);
  const width = Math.max(1, Math.round(right! * imageColumns) - x);
  const height = Math.max(1, Math.round(bottom! * imageRows) - y);
  return `${size},${x},${y},${width},${height}`;
}
