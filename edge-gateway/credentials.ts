import { readFileSync } from 'node:fs';
import { type Dispatcher, request } from 'undici';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Secret, UpstreamAuth, UpstreamConfig } from './config.ts';
import { ASSERTION_TYPE, signAssertion } from './enrolment/assertion.ts';
import { type Identity, readIdentity } from './enrolment/identity.ts';

/** A token is asked for anew this long before it expires, while the one before still serves (ms). */
const EARLY_MS = 30_000;
/** It is not used any more this long before it expires: the request takes its time (ms). */
const LATE_MS = 5_000;
/** While the one before still serves, a token endpoint that does not answer is asked no more often (ms). */
const AGAIN_MS = 5_000;
const DEFAULT_LIFE_SECONDS = 300;
const ANSWER_BYTES = 64 * 1024;

interface Token {
  readonly value: string;
  readonly renewAt: number;
  readonly until: number;
}

/** How a token is asked for by client credentials (RFC 6749 §4.4). */
interface Grant {
  readonly tokenUrl: string;
  readonly form: Record<string, string>;
  readonly headers: Record<string, string>;
}

export interface CredentialsOptions {
  readonly upstream: Pick<UpstreamConfig, 'auth' | 'url'>;
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  /** where the identity of an enrolled gateway is */
  readonly dataDir?: string | undefined;
}

/**
 * The Authorization header for an upstream: a bearer token, Basic (RFC 7617), or a token by client credentials, which the gateway shows by
 * a secret or by a signature (RFC 7523).
 */
export class Credentials {
  readonly #options: CredentialsOptions;
  #token: Token | undefined;
  #asking: Promise<string> | undefined;
  #askAgainAt = 0;
  #refusal: string | undefined;

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  get #auth(): UpstreamAuth | undefined {
    return this.#options.upstream.auth;
  }

  /** A new attempt may bring other credentials than the last. */
  get renewable(): boolean {
    const { clientCredentials, enrolled, bearerToken } = this.#auth ?? {};
    return clientCredentials !== undefined || enrolled !== undefined || typeof bearerToken === 'object';
  }

  /** Why there is no token to be had, until there is one again: the client is unknown, revoked, or not the one it was. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  forget(): void {
    this.#token = undefined;
  }

  /** @throws PacsError UNAUTHENTICATED when there is none to be had; BUSY while who gives them cannot be reached */
  async authorization(): Promise<string | undefined> {
    const { bearerToken, basic, clientCredentials, enrolled } = this.#auth ?? {};
    if (bearerToken !== undefined) return `Bearer ${secretOf(bearerToken)}`;
    if (basic !== undefined)
      return `Basic ${Buffer.from(`${basic.user}:${secretOf(basic.password)}`).toString('base64')}`;
    if (clientCredentials === undefined && enrolled === undefined) return undefined;
    const now = this.#options.clock.now();
    const token = this.#token;
    if (token === undefined || now >= token.until) return `Bearer ${await this.#ask()}`;
    if (now >= token.renewAt && now >= this.#askAgainAt) {
      this.#askAgainAt = now + AGAIN_MS;
      // What goes wrong is told when the token that serves now is over.
      this.#ask().catch(() => {});
    }
    return `Bearer ${token.value}`;
  }

  #ask(): Promise<string> {
    this.#asking ??= this.#askForToken().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askForToken(): Promise<string> {
    const { clock } = this.#options;
    try {
      const answer = await this.#bring(await this.#grant());
      const seconds = Number(answer.expires_in ?? DEFAULT_LIFE_SECONDS);
      const lifeMs = (Number.isFinite(seconds) ? seconds : DEFAULT_LIFE_SECONDS) * 1000;
      const now = clock.now();
      this.#token = {
        value: answer.access_token,
        renewAt: now + Math.max(lifeMs / 2, lifeMs - EARLY_MS),
        until: now + Math.max(lifeMs / 2, lifeMs - LATE_MS),
      };
      this.#refusal = undefined;
      return answer.access_token;
    } catch (error) {
      if (error instanceof PacsError && error.code === 'UNAUTHENTICATED') {
        this.#refusal = error.message;
        this.#token = undefined;
      }
      throw error;
    }
  }

  async #grant(): Promise<Grant> {
    const { clientCredentials } = this.#auth ?? {};
    const { clock } = this.#options;
    if (clientCredentials === undefined) {
      const { archive, clientId, audience, privateKey } = this.#identity();
      const assertion = await signAssertion({ clientId, audience, privateKey }, clock.now());
      return assertedGrant(`${archive}/api/token`, clientId, assertion);
    }
    const { tokenUrl, clientId, clientSecret, privateKey, keyId, assertionAudience = tokenUrl } = clientCredentials;
    const { scope, audience } = clientCredentials;
    const wanted = { ...(scope !== undefined && { scope }), ...(audience !== undefined && { audience }) };
    if (privateKey !== undefined) {
      const signer = { clientId, audience: assertionAudience, privateKey: secretOf(privateKey), keyId };
      const grant = assertedGrant(tokenUrl, clientId, await signAssertion(signer, clock.now()));
      return { ...grant, form: { ...grant.form, ...wanted } };
    }
    const user = `${encodeURIComponent(clientId)}:${encodeURIComponent(secretOf(clientSecret ?? ''))}`;
    const headers = { authorization: `Basic ${Buffer.from(user).toString('base64')}` };
    return { tokenUrl, form: { grant_type: 'client_credentials', ...wanted }, headers };
  }

  /** Read for each token: whoever enrols again, while the gateway runs, gives it another. */
  #identity(): Identity {
    const { dataDir, upstream } = this.#options;
    const identity = dataDir === undefined ? undefined : identityIn(dataDir);
    if (identity === undefined) throw new PacsError('UNAUTHENTICATED', 'the gateway has not been enrolled');
    // Its tokens are for the archive that gave it its identity, whatever a configuration says.
    if (new URL(identity.archive).origin !== new URL(upstream.url).origin)
      throw new PacsError('UNAUTHENTICATED', 'the gateway has been enrolled with another archive');
    return identity;
  }

  async #bring({ tokenUrl, form, headers }: Grant): Promise<{ access_token: string; expires_in?: unknown }> {
    let status: number;
    let text: string;
    try {
      const response = await request(tokenUrl, {
        method: 'POST',
        dispatcher: this.#options.dispatcher,
        headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
        body: new URLSearchParams(form).toString(),
      });
      status = response.statusCode;
      text = (await response.body.text()).slice(0, ANSWER_BYTES);
    } catch (cause) {
      throw new PacsError('BUSY', 'the token endpoint cannot be reached', { cause });
    }
    const answer = parsed(text);
    if (status === 200 && typeof answer.access_token === 'string')
      return { access_token: answer.access_token, expires_in: answer.expires_in };
    if (status === 200) throw new PacsError('UNAUTHENTICATED', 'the token endpoint gave no access token');
    if (status >= 500 || status === 429) throw new PacsError('BUSY', `the token endpoint answered ${status}`);
    // Codes of RFC 6749 §5.2 alone: what else an answer says is not ours to repeat.
    const code = /^[a-z_]{1,40}$/.test(String(answer.error)) ? `, ${answer.error}` : '';
    const isRefused = answer.error === 'invalid_client' && this.#auth?.enrolled !== undefined;
    throw new PacsError(
      'UNAUTHENTICATED',
      isRefused
        ? 'the archive does not know this gateway any more: it was revoked, or enrolled again elsewhere'
        : `the token endpoint answered ${status}${code}`,
    );
  }
}

const assertedGrant = (tokenUrl: string, clientId: string, assertion: string): Grant => ({
  tokenUrl,
  form: {
    grant_type: 'client_credentials',
    client_id: clientId,
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: assertion,
  },
  headers: {},
});

function identityIn(dataDir: string): Identity | undefined {
  try {
    return readIdentity(dataDir);
  } catch (cause) {
    throw new PacsError('UNAUTHENTICATED', (cause as Error).message, { cause });
  }
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** @throws PacsError UNAUTHENTICATED when it is not where the configuration says */
export function secretOf(secret: Secret): string {
  if (typeof secret === 'string') return secret;
  if ('env' in secret) {
    const value = process.env[secret.env];
    if (value === undefined || value === '') throw new PacsError('UNAUTHENTICATED', `${secret.env} is not set`);
    return value;
  }
  try {
    return readFileSync(secret.file, 'utf8').trim();
  } catch (cause) {
    throw new PacsError('UNAUTHENTICATED', `${secret.file} cannot be read`, { cause });
  }
}
