import { createArchiveApp } from '#api/app.ts';
import { Throttle, type ThrottleRates } from '#api/throttle.ts';
import type { Principal, Role } from '#core/access.ts';
import type { PixelEngine } from '#core/ports/pixel-engine.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { wholeBody } from '#test/unit/dicomweb/asking.ts';

/** what an answer holds; tests look into it as they need */
export type Json = ReturnType<typeof JSON.parse>;

export const ORIGIN = 'https://pacs.test';
export const SHARED = uid(1);
export const OTHER = uid(2);

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly json: Json;
}

export interface Link {
  readonly id: string;
  readonly secret: string;
  readonly url: string;
}

export interface Asking {
  readonly as?: Principal;
  readonly cookie?: string;
  readonly body?: object | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly from?: string;
}

/** An archive with two studies in each of two tenants, asked as a browser would. */
export async function anArchive(
  options: Parameters<typeof memoryServices>[0] & {
    pixels?: PixelEngine;
    rates?: ThrottleRates;
    everybody?: Principal;
  } = {},
) {
  const services = memoryServices(options);
  const app = createArchiveApp({
    services,
    throttle: options.rates && new Throttle(options.rates, services.clock),
    everybody: options.everybody,
    tokens: new TokenStore(services),
    corsOrigins: [],
    tenant: 'main',
    onFailure: (error) => {
      throw error;
    },
  });
  const ask = async (method: string, target: string, asking: Asking = {}): Promise<Answered> => {
    const { pathname, searchParams } = new URL(target, ORIGIN);
    const { as, cookie, body, headers, from } = asking;
    const bytes = body instanceof Uint8Array ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const answered = await app.answer({
      method,
      path: decodeURIComponent(pathname),
      query: searchParams,
      headers: { accept: '*/*', ...(cookie !== undefined && { cookie }), ...headers },
      body: chunked(bytes),
      principal: as,
      origin: ORIGIN,
      remoteAddress: from,
    });
    // What is no path of the archive's is its host's to refuse.
    return toldBy(answered?.response ?? { status: 404, headers: {} });
  };
  const staff = (roles: Role[] = ['admin'], subject = 'dr.reader', tenant = 'main'): Principal => ({
    tenant,
    subject,
    roles,
  });
  const object = (study: string, n: number, more: object = {}) =>
    buildDicom({
      StudyInstanceUID: study,
      SeriesInstanceUID: uid(50),
      SOPInstanceUID: uid(n),
      PatientName: 'Frank^Ida',
      ...more,
    });
  const store = async (bytes: Uint8Array, tenant = 'main') => {
    const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
    return ask('POST', '/dicomweb/studies', { as: staff(['admin'], 'scanner', tenant), body: bytes, headers });
  };
  for (const tenant of ['main', 'next-door']) {
    await store(object(SHARED, 11), tenant);
    await store(object(SHARED, 12), tenant);
    await store(object(OTHER, 21, { SeriesInstanceUID: uid(51) }), tenant);
  }
  const share = async (asked: object = {}, as = staff()): Promise<Link> => {
    const body = {
      studies: [SHARED],
      scopes: ['view'],
      receiver: 'Dr. Ida Frank',
      purpose: 'Second opinion',
      ...asked,
    };
    const answer = await ask('POST', '/api/shares', { as, body });
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
    return { id: answer.json.id, url: answer.json.url, secret: answer.json.url.split('#')[1] };
  };
  const open = ({ id, secret }: Pick<Link, 'id' | 'secret'>, pin?: string, from?: string) =>
    ask('POST', `/s/${id}/api/guest/opening`, {
      body: { secret, ...(pin !== undefined && { pin }) },
      ...(from && { from }),
    });
  /** The cookie of a session that is open. */
  const enter = async (link: Link, pin?: string): Promise<string> => cookieOf(await open(link, pin));
  const trail = async ({ id }: Pick<Link, 'id'>): Promise<Json[]> =>
    (await ask('GET', `/api/shares/${id}/trail`, { as: staff() })).json.items;
  const acts = async (link: Pick<Link, 'id'>): Promise<string[]> => (await trail(link)).map(({ act }) => act);
  const audited = async (): Promise<Json[]> =>
    (await ask('GET', '/api/audit?limit=1000', { as: staff(['auditor'], 'auditor') })).json.entries;
  return { services, app, ask, staff, object, store, share, open, enter, trail, acts, audited };
}

export const cookieOf = ({ headers, status, text }: Answered): string => {
  if (headers['set-cookie'] === undefined) throw new Error(`no cookie: ${status} ${text}`);
  return headers['set-cookie'].split(';')[0]!;
};

async function toldBy({ status, headers, body }: HttpResponse): Promise<Answered> {
  const text = (await wholeBody(body)).toString('latin1');
  return {
    status,
    headers,
    text,
    get json() {
      return JSON.parse(Buffer.from(text, 'latin1').toString('utf8'));
    },
  };
}
