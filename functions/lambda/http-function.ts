import middy from '@middy/core';
import { executionModeStandard } from '@middy/core/executionModeStandard';
import type { APIGatewayProxyEvent, Context } from 'aws-lambda';
import { PacsError } from '#core/errors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { OpenArchive } from './archive.ts';
import { FUNCTIONS, type FunctionName } from './functions.ts';
import { toRequest, toStream, toWhole } from './http-event.ts';
import { type Observed, observing } from './observe.ts';
import { streamResponse } from './stream-response.ts';

/** An answer that never ends (server-sent events) ends this long before the function is ended (ms). */
const GRACE_MS = 3_000;

/**
 * A function behind the REST API: event → app → answer, streamed where the row of functions.ts says so and the runtime can. Around it
 * the log and the metrics; what the app did not catch is a bare 500.
 */
export function httpFunction(name: FunctionName, open: OpenArchive) {
  const { app, services, config, streaming } = open();
  const streams = FUNCTIONS[name].streaming && streaming;
  const { responseBytes } = services.limits;

  const answer = async (event: APIGatewayProxyEvent, context: Context): Promise<Observed> => {
    const gone = new AbortController();
    const deadline = setTimeout(() => gone.abort(), Math.max(0, context.getRemainingTimeInMillis() - GRACE_MS));
    deadline.unref();
    gone.signal.addEventListener('abort', () => clearTimeout(deadline));
    const request = toRequest(event, { publicUrl: config.publicUrl, signal: gone.signal });
    const { response, route = 'none', tenant } = (await app.answer(request)) ?? notFound();
    await services.audit.flush();
    const result = streams
      ? await toStream(request, response, responseBytes, () => gone.abort())
      : await toWhole(request, response, responseBytes);
    if (typeof result.body === 'string') gone.abort();
    return { result, outcomes: [{ name: route, tenant, status: response.status }] };
  };

  const executionMode = streams ? streamResponse : executionModeStandard;
  return middy<APIGatewayProxyEvent, unknown>({ executionMode })
    .use(observing(name))
    .onError((request) => {
      const { response } = errorResponse(request.error);
      request.response = { statusCode: 500, headers: { ...response.headers }, body: String(response.body) };
    })
    .handler(answer as never);
}

const notFound = () => ({
  ...errorResponse(new PacsError('NOT_FOUND', 'there is no such resource')),
  route: undefined,
  tenant: undefined,
});
