import type { IncomingMessage, ServerResponse } from 'node:http';
import type Provider from 'oidc-provider';
import { type IssuerKeys, issuerKeysStamp, openIssuerKeys, signingAt } from '#adapters/local/issuer-keys.ts';
import type { NamedKey } from '#adapters/local/sealed-format.ts';
import { PacsError } from '#core/errors.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { SAFE_HEADERS } from '#dicomweb/safe-headers.ts';
import { type InnerRequest, innerServer } from './inner-server.ts';
import { ISSUER_PATH, isIssuerPath } from './path.ts';
import { createProvider, type ProviderOptions } from './provider.ts';

/** Without NEPHOS_PUBLIC_URL every name by which the archive is asked has its issuer; so many are kept. */
const ORIGINS = 8;
/** How often the file of keys is looked at (ms). */
const KEYS_CHECK_MS = 5_000;

export interface IssuerOptions extends Omit<ProviderOptions, 'keys'> {
  readonly dataDir: string;
  readonly masterKeys: readonly NamedKey[];
  /** answers what stands below ISSUER_PATH beside the protocol: the pages that people see. @returns whether it did */
  readonly pages?: (provider: Provider, request: IncomingMessage, response: ServerResponse) => Promise<boolean>;
}

type Ask = (request: InnerRequest) => Promise<HttpResponse>;

/** The archive's own issuer, in every process of the host alike: all it knows is in the index and in the file of keys. */
export class Issuer {
  readonly #options: IssuerOptions;
  /** as the file has them */
  #file: IssuerKeys;
  /** … with those first that sign now */
  #keys: IssuerKeys;
  #stamp = '';
  #checkedAt = 0;
  /** by origin; the one not asked for longest goes */
  readonly #providers = new Map<string, { readonly provider: Provider; readonly ask: Ask }>();

  private constructor(options: IssuerOptions, keys: IssuerKeys) {
    this.#options = options;
    this.#file = keys;
    this.#keys = signingAt(keys, options.clock.now());
  }

  /** @throws ConfigError when the file of keys cannot be opened */
  static async open(options: IssuerOptions): Promise<Issuer> {
    return new Issuer(options, await openIssuerKeys(options.dataDir, options.masterKeys));
  }

  /** The answer, or undefined for a path that is none of the issuer's. */
  async answer(request: HttpRequest): Promise<HttpResponse | undefined> {
    if (!isIssuerPath(request.path)) return undefined;
    const response = await (await this.#at(request.origin)).ask(request);
    return { ...response, headers: { ...SAFE_HEADERS, ...response.headers } };
  }

  /** Asks the issuer of an origin without leaving the process, whatever stands before it on the way that clients come. */
  async fetch(url: string, init: { method?: string; headers?: unknown; body?: unknown } = {}): Promise<Response> {
    const { origin, pathname, searchParams } = new URL(url);
    const body = init.body == null ? '' : String(init.body);
    const {
      status,
      headers,
      body: answer,
    } = await (await this.#at(origin)).ask({
      method: init.method ?? 'GET',
      path: decodeURIComponent(pathname),
      query: searchParams,
      headers: Object.fromEntries(new Headers(init.headers as ConstructorParameters<typeof Headers>[0])),
      body: (async function* () {
        if (body !== '') yield Buffer.from(body);
      })(),
      origin,
    });
    return new Response(answer === undefined ? null : Buffer.from(answer as Uint8Array), { status, headers });
  }

  async #at(origin: string): Promise<{ readonly provider: Provider; readonly ask: Ask }> {
    await this.#renewKeys();
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new PacsError('BAD_REQUEST', 'the Host header is not a name that can be asked');
    const known = this.#providers.get(origin) ?? this.#make(origin);
    this.#providers.delete(origin);
    this.#providers.set(origin, known);
    if (this.#providers.size > ORIGINS) this.#providers.delete(this.#providers.keys().next().value!);
    return known;
  }

  #make(origin: string): { readonly provider: Provider; readonly ask: Ask } {
    const { pages } = this.#options;
    const provider = createProvider(origin, { ...this.#options, keys: this.#keys });
    const protocol = provider.callback();
    const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      if (await pages?.(provider, request, response)) return;
      // As a router would mount it: below the path, knowing the whole of it.
      const whole = request.url ?? '/';
      Object.assign(request, { originalUrl: whole, url: whole.slice(ISSUER_PATH.length) || '/' });
      protocol(request, response);
    };
    const ask = innerServer((request, response) => {
      handle(request, response).catch((error: unknown) => {
        this.#options.onDefect(error);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    return { provider, ask };
  }

  /** Keys that have been rotated meanwhile, by this process or by a command. */
  async #renewKeys(): Promise<void> {
    const now = this.#options.clock.now();
    if (now - this.#checkedAt < KEYS_CHECK_MS) return;
    this.#checkedAt = now;
    const { dataDir, masterKeys } = this.#options;
    const stamp = await issuerKeysStamp(dataDir);
    if (stamp !== this.#stamp) this.#file = await openIssuerKeys(dataDir, masterKeys);
    const keys = signingAt(this.#file, now);
    if (stamp === this.#stamp && keys.jwks[0]!.kid === this.#keys.jwks[0]!.kid) return;
    this.#keys = keys;
    this.#stamp = stamp;
    this.#providers.clear();
  }
}
