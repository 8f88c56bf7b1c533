import type { InstanceRecord } from '#core/archive/records.ts';
import type { PacsError } from '#core/errors.ts';
import { renderableOf } from '#core/pixels/renderable.ts';
import { type RenderingRequest, renderFrame } from '#core/pixels/rendering.ts';
import { isUndecodable } from '#core/pixels/undecodable.ts';
import { errorResponse } from './error-response.ts';
import type { Context } from './handler.ts';
import type { HttpResponse } from './http.ts';
import { multipartResponse, type Part } from './multipart-writer.ts';
import { noImages } from './rendered-answer.ts';

/**
 * Pictures as parts. One that cannot be drawn is no reason to keep the others back, and must not be missed: in its place stands a part that
 * says why, problem details under the picture's Content-Location (docs/decisions/0245-one-image-of-many.md).
 */
export async function partsResponse(
  { services, root }: Context,
  instances: AsyncIterable<InstanceRecord>,
  request: RenderingRequest,
  framesOf: (instance: InstanceRecord) => readonly number[],
): Promise<HttpResponse> {
  let failure: PacsError | undefined;
  async function* parts(): AsyncGenerator<Part, void, undefined> {
    for await (const instance of instances) {
      if (renderableOf(instance) !== 'image') continue;
      for (const frame of framesOf(instance)) {
        const location = { 'content-location': `${locationOf(root, instance)}/frames/${frame}/rendered` };
        try {
          const image = await renderFrame(services, instance, frame, request);
          yield { headers: { 'content-type': image.mediaType, ...location }, body: image.bytes };
        } catch (error) {
          if (!isUndecodable(error)) throw error;
          failure ??= error;
          const { headers, body } = errorResponse(error).response;
          const problem = { 'content-type': headers['content-type']!, ...location };
          yield { headers: problem, body: Buffer.from(String(body)) };
        }
      }
    }
  }
  const rest = parts();
  // Drawn before the status is sent, up to the first that can be: where none can, that is an error.
  const head: Part[] = [];
  for (;;) {
    const next = await rest.next();
    if (next.done === true) throw failure ?? noImages();
    head.push(next.value);
    if (next.value.headers['content-type'] === request.mediaType) break;
  }
  async function* all(): AsyncGenerator<Part, void, undefined> {
    yield* head;
    yield* rest;
  }
  return multipartResponse(services.clock, request.mediaType, all(), {
    'cache-control': 'private, no-cache',
    vary: 'accept',
  });
}

const locationOf = (root: string, instance: InstanceRecord): string =>
  `${root}/studies/${instance.StudyInstanceUID}/series/${instance.SeriesInstanceUID}/instances/${instance.SOPInstanceUID}`;
