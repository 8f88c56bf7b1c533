/** A refusal of the archive, with words for the person in front of the screen. */
export class ArchiveError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'ArchiveError';
    this.status = status;
  }
}

const PLAIN: Record<number, string> = {
  0: 'The archive cannot be reached. Check the connection.',
  401: 'You are signed out.',
  403: 'Your account may not do this.',
  404: 'The archive does not hold this.',
  410: 'This has been deleted.',
  413: 'That is larger than the archive accepts.',
  429: 'Too many requests. Wait a moment.',
  500: 'The archive met an internal error.',
  502: 'The archive is not running.',
  503: 'The archive is busy. Try again in a moment.',
  504: 'The archive did not answer in time.',
  507: 'The archive is out of disk space.',
};

/** A sentence for a status, with what the archive itself said where that says more. */
export function explain(status: number, said = ''): string {
  const plain = PLAIN[status] ?? `The archive refused (${status}).`;
  return said && status !== 401 && said.length < 300 ? `${plain} ${sentence(said)}` : plain;
}
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

let whenSignedOut: () => void = () => {};
export function onSignedOut(listener: () => void): void {
  whenSignedOut = listener;
}

/** How often somebody has signed in on this page. */
let signIns = 0;
export const noteSignIn = (): void => void signIns++;
export const signInsSoFar = (): number => signIns;
/** `askedAfter`: `signInsSoFar` when it was asked. What was asked before the last of them, and is refused later, says nothing of who is signed in now. */
export function reportSignedOut(askedAfter: number): void {
  if (askedAfter === signIns) whenSignedOut();
}

/** @throws ArchiveError for every answer that is not 2xx, and for no answer; AbortError passes through. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const askedAfter = signIns;
  let response: Response;
  try {
    response = await fetch(path, { credentials: 'same-origin', ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ArchiveError(0, explain(0));
  }
  if (response.ok) return response;
  if (response.status === 401) reportSignedOut(askedAfter);
  throw new ArchiveError(response.status, explain(response.status, await whatItSaid(response)));
}

async function whatItSaid(response: Response): Promise<string> {
  if (!/json/.test(response.headers.get('content-type') ?? '')) return '';
  const body: unknown = await response.json().catch(() => undefined);
  // Problem details (RFC 9457).
  return typeof body === 'object' && body !== null && 'title' in body && typeof body.title === 'string'
    ? body.title
    : '';
}

/** The JSON of an answer; 204 is an empty list. */
export async function askJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await ask(path, { ...init, headers: { accept: 'application/json', ...init.headers } });
  return (response.status === 204 ? [] : await response.json()) as T;
}

export const postJson = (path: string, body: unknown): Promise<Response> =>
  ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
