import { type Dispatcher, request } from 'undici';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';

/** Credentials as the operator of a deployment writes them down: what they are for, and one way to show them. */
interface Kept {
  /** scheme, host and port that they are for: they are shown nowhere else */
  readonly origin: string;
  /** of whom alone they are; any tenant's where it is absent */
  readonly tenant?: string;
  readonly bearerToken?: string;
  readonly basic?: { readonly user: string; readonly password: string };
  /** RFC 6749 §4.4 */
  readonly clientCredentials?: {
    readonly tokenUrl: string;
    readonly clientId: string;
    readonly clientSecret: string;
    readonly scope?: string;
    readonly audience?: string;
  };
}

export interface CredentialsOptions {
  readonly clock: Clock;
  readonly dispatcher: Dispatcher;
  /** JSON of credentials by name, as it is now */
  readonly read: () => Promise<string>;
}

/** what was read is good for so long (ms) */
const READ_MS = 60_000;
/** a token is not used any more this long before it expires: the request takes its time (ms) */
const LATE_MS = 30_000;
const DEFAULT_LIFE_SECONDS = 300;
const TOKEN_MS = 30_000;

/** What is shown to destinations: bearer tokens, users with passwords (RFC 7617), and tokens by client credentials. */
export class RouteCredentials {
  readonly #options: CredentialsOptions;
  #kept: { readonly at: number; readonly byName: Readonly<Record<string, Kept>> } | undefined;
  readonly #tokens = new Map<string, { readonly value: string; readonly until: number }>();

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /**
   * The Authorization header for a destination.
   * @throws PacsError UNAUTHENTICATED when there are no such credentials for it; BUSY while they, or who gives tokens, cannot be reached
   */
  async authorization(tenant: string, name: string, origin: string): Promise<string> {
    const kept = (await this.#read())[name];
    const isTheirs = kept !== undefined && (kept.tenant === undefined || kept.tenant === tenant);
    if (!isTheirs) throw new PacsError('UNAUTHENTICATED', 'there are no credentials of this name');
    if (!URL.canParse(kept.origin) || new URL(kept.origin).origin !== origin)
      throw new PacsError('UNAUTHENTICATED', 'the credentials of this name are for another host');
    if (kept.bearerToken !== undefined) return `Bearer ${kept.bearerToken}`;
    if (kept.basic !== undefined)
      return `Basic ${Buffer.from(`${kept.basic.user}:${kept.basic.password}`).toString('base64')}`;
    if (kept.clientCredentials !== undefined) return `Bearer ${await this.#token(name, kept.clientCredentials)}`;
    throw new PacsError('UNAUTHENTICATED', 'the credentials of this name say nothing to show');
  }

  /** The destination did not take them: they may have been replaced. @returns whether there may be others */
  forget(name: string): boolean {
    const isNew = this.#kept !== undefined && this.#kept.at < this.#options.clock.now();
    this.#kept = undefined;
    return this.#tokens.delete(name) || isNew;
  }

  async #read(): Promise<Readonly<Record<string, Kept>>> {
    const now = this.#options.clock.now();
    if (this.#kept === undefined || this.#kept.at + READ_MS <= now) {
      const text = await this.#options.read();
      try {
        this.#kept = { at: now, byName: JSON.parse(text) as Record<string, Kept> };
      } catch {
        // What the text is must not come into an error.
        throw new PacsError('UNAUTHENTICATED', 'the credentials of this archive are no JSON');
      }
    }
    return this.#kept.byName;
  }

  async #token(name: string, asked: NonNullable<Kept['clientCredentials']>): Promise<string> {
    const now = this.#options.clock.now();
    const known = this.#tokens.get(name);
    if (known !== undefined && known.until > now) return known.value;
    const { access_token: value, expires_in = DEFAULT_LIFE_SECONDS } = await this.#ask(asked);
    const lifeMs = (Number(expires_in) || DEFAULT_LIFE_SECONDS) * 1000;
    this.#tokens.set(name, { value, until: now + Math.max(lifeMs / 2, lifeMs - LATE_MS) });
    return value;
  }

  async #ask({
    tokenUrl,
    clientId,
    clientSecret,
    scope,
    audience,
  }: NonNullable<Kept['clientCredentials']>): Promise<{ access_token: string; expires_in?: unknown }> {
    const client = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`;
    const form = { grant_type: 'client_credentials', ...(scope && { scope }), ...(audience && { audience }) };
    let status: number;
    let answer: { access_token?: unknown; expires_in?: unknown } = {};
    try {
      const response = await request(tokenUrl, {
        method: 'POST',
        dispatcher: this.#options.dispatcher,
        headersTimeout: TOKEN_MS,
        bodyTimeout: TOKEN_MS,
        headers: {
          authorization: `Basic ${Buffer.from(client).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
          accept: 'application/json',
        },
        body: new URLSearchParams(form).toString(),
      });
      status = response.statusCode;
      if (status === 200) answer = (await response.body.json()) as typeof answer;
      else await response.body.dump();
    } catch (cause) {
      throw new PacsError('BUSY', 'the token endpoint cannot be reached', { cause });
    }
    if (status >= 500 || status === 429) throw new PacsError('BUSY', `the token endpoint answered ${status}`);
    if (status !== 200 || typeof answer.access_token !== 'string')
      throw new PacsError('UNAUTHENTICATED', `the token endpoint gave no token: it answered ${status}`);
    return { access_token: answer.access_token, expires_in: answer.expires_in };
  }
}
