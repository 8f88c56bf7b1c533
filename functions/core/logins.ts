import { createCipheriv, createDecipheriv, createHash, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Principal } from './access.ts';
import { PacsError } from './errors.ts';
import { type ExpiringItem, putExpiring, unexpired } from './expiring.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';
import type { IndexTable, Item, Key } from './ports/index-table.ts';
import type { LoginIssuer, LoginProof, LoginTokens } from './ports/login-issuer.ts';
import type { TokenVerifier } from './ports/token-verifier.ts';

/** Tells these sessions from all other tokens of ours. */
export const LOGIN_PREFIX = 'nephos_login_';

/** Tokens are renewed when this part of their life is over, */
const RENEW_AT = 0.8;
/** and for so long by one request alone, while others go on (ms). */
const RENEWING_MS = 30_000;
/** While the issuer cannot be reached, a session goes on for so long behind the end of its tokens (ms). */
const GRACE_MS = 10 * 60_000;
const LEAST_LIFE_MS = 60_000;

/** A person who is kept here: asked with every request, so that whoever is disabled is out at once. */
export interface KnownPeople {
  /** undefined: he may not be here (any more), or not by a session that was opened then (ms since 1970) */
  principal(tenant: string, subject: string, openedAt: number): Promise<Principal | undefined>;
}

interface SessionItem extends ExpiringItem {
  readonly principal: Principal & Item;
  readonly origin: string;
  /** ms since 1970 */
  readonly openedAt: number;
  /** from when on the issuer is asked again; null: never, the session ends instead */
  readonly renewAt: number | null;
  /** until when it holds without an answer of the issuer */
  readonly goodUntil: number;
  /** refresh token and ID token, sealed with a key that only the browser's cookie gives */
  readonly tokens: Uint8Array;
}

interface Kept {
  readonly refreshToken?: string | undefined;
  readonly idToken?: string | undefined;
}

/** A sign-in that has been begun: what the browser takes with it. */
export interface StartedLogin {
  readonly url: string;
  /** binds the sign-in to this browser */
  readonly browser: string;
}

/** A session that has been opened: the cookie, for how long, and where the browser wanted to go. */
export interface OpenedLogin {
  readonly token: string;
  readonly principal: Principal;
  readonly returnTo: string;
  readonly lifeMs: number;
}

/**
 * Sessions of people who have signed in at an issuer. Its tokens never reach a browser: the session's cookie is a random number, and the
 * refresh token lies in the index under a key that only this number gives. Several processes and functions share them.
 */
export class Logins implements TokenVerifier {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #issuer: LoginIssuer;
  readonly #people: KnownPeople | undefined;

  /** @param people where the archive keeps the people itself */
  constructor(
    ports: { readonly index: IndexTable; readonly clock: Clock; readonly limits: Limits },
    issuer: LoginIssuer,
    people?: KnownPeople,
  ) {
    this.#index = ports.index;
    this.#clock = ports.clock;
    this.#limits = ports.limits;
    this.#issuer = issuer;
    this.#people = people;
  }

  /** @param browser of a sign-in that this browser has begun before, in another tab */
  async start(origin: string, returnTo: string, browser?: string): Promise<StartedLogin> {
    const proof: LoginProof = { state: this.#random(), nonce: this.#random(), verifier: this.#random() };
    const bound = browser !== undefined && /^[\w-]{43}$/.test(browser) ? browser : this.#random();
    const url = await this.#issuer.authorizationUrl(origin, proof);
    await this.#index.write(
      putExpiring(this.#clock, stateKey(proof.state), {
        item: { nonce: proof.nonce, verifier: proof.verifier, origin, returnTo, browser: digestOf(bound) },
        expiresAt: this.#clock.now() + this.#limits.loginStateMs,
      }),
    );
    return { url, browser: bound };
  }

  /**
   * What a browser brings back from the issuer. Each sign-in is good once, in the browser that began it.
   * @throws PacsError UNAUTHENTICATED; GONE: it was begun elsewhere, too long ago, or is over; BUSY
   */
  async finish(callback: URL, browser: string | undefined): Promise<OpenedLogin> {
    const state = callback.searchParams.get('state') ?? '';
    const begun = await this.#take(state, browser);
    const { nonce, verifier, origin, returnTo } = begun as Record<string, string>;
    const proof: LoginProof = { state, nonce: nonce!, verifier: verifier! };
    const tokens = await this.#issuer.exchange(origin!, callback, proof);
    const principal = tokens.principal && (await this.#known(tokens.principal, this.#clock.now()));
    if (principal === undefined) throw new PacsError('UNAUTHENTICATED', 'the issuer knows nobody who may come in');
    const token = `${LOGIN_PREFIX}${this.#random()}`;
    const lifeMs = this.#limits.loginMs;
    const openedAt = this.#clock.now();
    const item = {
      principal: principal as Principal & Item,
      origin: origin!,
      openedAt,
      ...this.#times(tokens, openedAt),
      tokens: sealed(token, tokens),
    };
    await this.#index.write(putExpiring(this.#clock, sessionKey(token), { item, expiresAt: openedAt + lifeMs }));
    return { token, principal, returnTo: returnTo!, lifeMs };
  }

  /** @throws PacsError BUSY where the issuer has to be asked and cannot be reached */
  async verify(token: string): Promise<Principal | undefined> {
    const session = await this.#session(token);
    if (session === undefined) return undefined;
    const now = this.#clock.now();
    if (session.renewAt !== null && session.renewAt <= now) return this.#renew(token, session);
    return this.#alive(token, session);
  }

  /** The session under another number, opened now: for whoever has just ended all of his own. @throws PacsError UNAUTHENTICATED */
  async reopen(token: string): Promise<Pick<OpenedLogin, 'token' | 'lifeMs'>> {
    const session = await this.#session(token);
    if (session === undefined) throw new PacsError('UNAUTHENTICATED', 'sign in first');
    const other = `${LOGIN_PREFIX}${this.#random()}`;
    const openedAt = this.#clock.now();
    const item = { ...session, openedAt, tokens: sealed(other, opened(token, session.tokens)) };
    await this.#index.write([
      ...putExpiring(this.#clock, sessionKey(other), { item, expiresAt: session.expiresAt }),
      { kind: 'delete', key: sessionKey(token) },
    ]);
    return { token: other, lifeMs: session.expiresAt - openedAt };
  }

  /** Ends the session. @returns where the browser is sent to end it at the issuer as well */
  async end(token: string): Promise<string | undefined> {
    const session = await this.#session(token);
    if (session === undefined) return undefined;
    await this.#index.write([{ kind: 'delete', key: sessionKey(token) }]);
    const { refreshToken, idToken } = opened(token, session.tokens);
    if (refreshToken !== undefined) await this.#issuer.revoke(session.origin, refreshToken).catch(() => {});
    return this.#issuer.logoutUrl(session.origin, idToken).catch(() => undefined);
  }

  async #session(token: string): Promise<SessionItem | undefined> {
    if (!token.startsWith(LOGIN_PREFIX)) return undefined;
    return unexpired(await this.#index.get(sessionKey(token)), this.#clock) as SessionItem | undefined;
  }

  async #alive(token: string, session: SessionItem): Promise<Principal | undefined> {
    const known = await this.#known(session.principal, session.openedAt);
    if (known !== undefined && session.goodUntil > this.#clock.now()) return known;
    await this.#index.write([{ kind: 'delete', key: sessionKey(token), if: { version: session.version } }]);
    return undefined;
  }

  /** One of all who ask renews; the others go on meanwhile. */
  async #renew(token: string, session: SessionItem): Promise<Principal | undefined> {
    const now = this.#clock.now();
    const { refreshToken, idToken } = opened(token, session.tokens);
    const leased = await this.#replace(token, session, { ...session, renewAt: now + RENEWING_MS });
    if (leased === undefined || refreshToken === undefined) return this.#alive(token, session);
    let tokens: LoginTokens | undefined;
    try {
      tokens = await this.#issuer.renew(session.origin, refreshToken);
    } catch (error) {
      if (error instanceof PacsError && error.code !== 'UNAUTHENTICATED') {
        if (session.goodUntil > now) return this.#alive(token, leased);
        throw error;
      }
      tokens = undefined;
    }
    if (tokens === undefined) {
      await this.#index.write([{ kind: 'delete', key: sessionKey(token) }]);
      return undefined;
    }
    const { tenant, subject } = session.principal;
    const principal = tokens.principal ?? session.principal;
    // The issuer cannot make somebody else of a session.
    if (principal.subject !== subject || principal.tenant !== tenant) {
      await this.#index.write([{ kind: 'delete', key: sessionKey(token) }]);
      return undefined;
    }
    const renewed: SessionItem = {
      ...leased,
      principal: principal as Principal & Item,
      ...this.#times({ ...tokens, refreshToken: tokens.refreshToken ?? refreshToken }, now),
      tokens: sealed(token, { refreshToken: tokens.refreshToken ?? refreshToken, idToken: tokens.idToken ?? idToken }),
    };
    await this.#replace(token, leased, renewed);
    return this.#alive(token, renewed);
  }

  /** undefined: somebody else has changed it meanwhile */
  async #replace(token: string, before: SessionItem, after: SessionItem): Promise<SessionItem | undefined> {
    const write = putExpiring(this.#clock, sessionKey(token), {
      item: after,
      expiresAt: before.expiresAt,
      if: { version: before.version },
    });
    const put = write[0]!;
    if (!(await this.#index.write(write)).committed || put.kind !== 'put') return undefined;
    return put.item as SessionItem;
  }

  #times(tokens: Pick<LoginTokens, 'refreshToken' | 'expiresInSeconds'>, now: number) {
    const lifeMs = Math.max(LEAST_LIFE_MS, tokens.expiresInSeconds * 1000);
    return tokens.refreshToken === undefined
      ? { renewAt: null, goodUntil: now + lifeMs }
      : { renewAt: now + Math.floor(lifeMs * RENEW_AT), goodUntil: now + lifeMs + GRACE_MS };
  }

  async #known(principal: Principal, openedAt: number): Promise<Principal | undefined> {
    if (this.#people === undefined) return principal;
    return this.#people.principal(principal.tenant, principal.subject, openedAt);
  }

  /** Takes the sign-in out of the index: whoever comes second finds nothing. */
  async #take(state: string, browser: string | undefined): Promise<ExpiringItem> {
    const over = (): PacsError => new PacsError('GONE', 'this sign-in was not begun here, or is over');
    if (!/^[\w-]{43}$/.test(state)) throw over();
    const key = stateKey(state);
    const begun = unexpired(await this.#index.get(key), this.#clock);
    if (begun === undefined || browser === undefined) throw over();
    const given = Buffer.from(digestOf(browser));
    const bound = Buffer.from(String(begun.browser));
    if (given.length !== bound.length || !timingSafeEqual(given, bound)) throw over();
    const { committed } = await this.#index.write([{ kind: 'delete', key, if: { version: begun.version } }]);
    if (!committed) throw over();
    return begun;
  }

  #random(): string {
    return Buffer.from(this.#clock.randomBytes(32)).toString('base64url');
  }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const stateKey = (state: string): Key => ({ partition: `_system|loginstate|${digestOf(state)}`, sort: 'state' });
const sessionKey = (token: string): Key => ({ partition: `_system|login|${digestOf(token)}`, sort: 'session' });

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const keyFrom = (token: string): Uint8Array => new Uint8Array(hkdfSync('sha256', token, '', 'nephos login tokens', 32));

/** AES-256-GCM under a key of the session's own number: nonce, ciphertext, tag. A number is used with another nonce each time it is renewed. */
function sealed(token: string, { refreshToken, idToken }: Kept): Uint8Array {
  const plain = JSON.stringify({ refreshToken, idToken });
  // The first bytes of the digest of what is sealed: it differs whenever that does, and no randomness is needed.
  const nonce = createHash('sha256').update(token).update(plain).digest().subarray(0, NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyFrom(token), nonce);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function opened(token: string, bytes: Uint8Array): Kept {
  const decipher = createDecipheriv('aes-256-gcm', keyFrom(token), bytes.subarray(0, NONCE_BYTES));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  const plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  return JSON.parse(plain.toString()) as Kept;
}
