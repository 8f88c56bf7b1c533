import middy from '@middy/core';
import type { APIGatewayAuthorizerResult, APIGatewayRequestAuthorizerEvent } from 'aws-lambda';
import type { OpenArchive } from './archive.ts';
import { toRequest } from './http-event.ts';
import { ExpectedError, type Observed, observing } from './observe.ts';

/**
 * REQUEST authorizer: who asks, by bearer token or session cookie. The functions behind it take the principal from the context. What
 * a role permits is not decided here but where the resource is known.
 */
export function authorizerFunction(open: OpenArchive) {
  const { app, config } = open();
  const decide = async (event: APIGatewayRequestAuthorizerEvent): Promise<Observed> => {
    const request = toRequest(event as never, { publicUrl: config.publicUrl, signal: AbortSignal.timeout(10_000) });
    // Nobody has looked at the token before this.
    const { principal, refused } = await app.identify({ ...request, principal: undefined });
    const status = refused?.status ?? (principal ? 200 : 401);
    const outcomes = [{ name: 'Authorize', tenant: principal?.tenant, status }];
    if (principal) {
      const { tenant, subject, roles, reach, claims } = principal;
      const context = {
        tenant,
        subject,
        roles: roles.join(' '),
        ...(reach && { reach: JSON.stringify(reach) }),
        ...(claims && { claims: JSON.stringify(claims) }),
      };
      return { result: policy('Allow', event, subject, context), outcomes };
    }
    if (status === 429) {
      const refusedSeconds = refused?.headers['retry-after'] ?? '1';
      return { result: policy('Allow', event, 'nobody', { refusedSeconds }), outcomes };
    }
    if (status === 403) return { result: policy('Deny', event, 'nobody', {}), outcomes };
    if (status === 401) throw new Unauthorized();
    throw new Error('the token cannot be judged');
  };
  return middy<APIGatewayRequestAuthorizerEvent, unknown>()
    .use(observing('authorizer'))
    .handler(decide as never);
}

/** API Gateway answers 401 to this very word, and 500 to any other error. */
class Unauthorized extends ExpectedError {
  override readonly message = 'Unauthorized';
}

/** For the whole API: its results are not cached, and a policy names what API Gateway asked about. */
const policy = (
  Effect: 'Allow' | 'Deny',
  { methodArn: Resource }: APIGatewayRequestAuthorizerEvent,
  principalId: string,
  context: Record<string, string>,
): APIGatewayAuthorizerResult => ({
  principalId,
  policyDocument: { Version: '2012-10-17', Statement: [{ Action: 'execute-api:Invoke', Effect, Resource }] },
  context,
});
