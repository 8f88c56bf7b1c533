import { readFileSync } from 'node:fs';
import { type Dispatcher, request } from 'undici';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Secret, UpstreamAuth } from './config.ts';

/** A token is asked for anew this long before it expires (ms). */
const EARLY_MS = 30_000;
const DEFAULT_LIFE_SECONDS = 300;

/** The Authorization header for an upstream: a bearer token, Basic (RFC 7617), or a token by client credentials (RFC 6749 §4.4). */
export class Credentials {
  readonly #auth: UpstreamAuth | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #clock: Clock;
  #token: { readonly value: string; readonly until: number } | undefined;
  #asking: Promise<string> | undefined;

  constructor(auth: UpstreamAuth | undefined, dispatcher: Dispatcher, clock: Clock) {
    this.#auth = auth;
    this.#dispatcher = dispatcher;
    this.#clock = clock;
  }

  /** A new attempt may bring other credentials than the last. */
  get renewable(): boolean {
    return this.#auth?.clientCredentials !== undefined || typeof this.#auth?.bearerToken === 'object';
  }

  forget(): void {
    this.#token = undefined;
  }

  /** @throws PacsError UNAUTHENTICATED when there is none to be had */
  async authorization(): Promise<string | undefined> {
    const { bearerToken, basic, clientCredentials } = this.#auth ?? {};
    if (bearerToken !== undefined) return `Bearer ${secretOf(bearerToken)}`;
    if (basic !== undefined)
      return `Basic ${Buffer.from(`${basic.user}:${secretOf(basic.password)}`).toString('base64')}`;
    if (clientCredentials === undefined) return undefined;
    if (this.#token !== undefined && this.#clock.now() < this.#token.until) return `Bearer ${this.#token.value}`;
    this.#asking ??= this.#askForToken(clientCredentials).finally(() => {
      this.#asking = undefined;
    });
    return `Bearer ${await this.#asking}`;
  }

  async #askForToken(grant: NonNullable<UpstreamAuth['clientCredentials']>): Promise<string> {
    const form = new URLSearchParams({ grant_type: 'client_credentials' });
    if (grant.scope !== undefined) form.set('scope', grant.scope);
    if (grant.audience !== undefined) form.set('audience', grant.audience);
    const user = `${encodeURIComponent(grant.clientId)}:${encodeURIComponent(secretOf(grant.clientSecret))}`;
    try {
      const { statusCode, body } = await request(grant.tokenUrl, {
        method: 'POST',
        dispatcher: this.#dispatcher,
        headers: {
          authorization: `Basic ${Buffer.from(user).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
          accept: 'application/json',
        },
        body: form.toString(),
      });
      const text = await body.text();
      if (statusCode !== 200) throw new PacsError('UNAUTHENTICATED', `the token endpoint answered ${statusCode}`);
      const answer = JSON.parse(text) as { access_token?: unknown; expires_in?: unknown };
      if (typeof answer.access_token !== 'string')
        throw new PacsError('UNAUTHENTICATED', 'the token endpoint gave no access token');
      const seconds = Number(answer.expires_in ?? DEFAULT_LIFE_SECONDS);
      const lifeMs = (Number.isFinite(seconds) ? seconds : DEFAULT_LIFE_SECONDS) * 1000;
      this.#token = { value: answer.access_token, until: this.#clock.now() + Math.max(lifeMs / 2, lifeMs - EARLY_MS) };
      return answer.access_token;
    } catch (cause) {
      if (cause instanceof PacsError) throw cause;
      throw new PacsError('UNAUTHENTICATED', 'the token endpoint cannot be reached', { cause });
    }
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
