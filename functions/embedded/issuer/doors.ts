import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type Provider from 'oidc-provider';
import type { Interaction } from 'oidc-provider';
import { isCrossSite } from '#api/session.ts';
import type { AuditTrail } from '#core/audit/trail.ts';
import { PacsError } from '#core/errors.ts';
import { putExpiring, unexpired } from '#core/expiring.ts';
import type { Limits } from '#core/limits.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable, Key } from '#core/ports/index-table.ts';
import type { Users } from '#core/users/directory.ts';
import type { UserRecord } from '#core/users/records.ts';
import type { SecondStep, SignIn } from '#core/users/sign-in.ts';
import { PAGE_HEADERS, type Page, stylesheet } from './page.ts';
import { choosePasswordPage, codePage, passwordSetPage, problemPage, signInPage, wordsOf } from './pages.ts';
import { ISSUER_PATH } from './path.ts';

/** bytes of a form */
const FORM_BYTES = 16 * 1024;
/** How long somebody whose password was right may take for the code (ms). */
const CODE_MS = 5 * 60_000;
const WRONG = 'The user name or the password is not right.';

export interface DoorsOptions {
  readonly index: IndexTable;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly audit: AuditTrail;
  readonly tenant: string;
  readonly users: Users;
  readonly signIn: SignIn;
  readonly onDefect: (error: unknown) => void;
}

type Passed = Pick<SecondStep, 'name' | 'passwordChangedAt'>;

interface Asked {
  readonly provider: Provider;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** of a form that was sent; undefined: the page is asked for */
  readonly form: URLSearchParams | undefined;
  readonly address: string | undefined;
}

/** What stands below ISSUER_PATH beside the protocol: signing in, and choosing a password by a one-time link. */
export class Doors {
  readonly #options: DoorsOptions;
  readonly #style: string;

  constructor(options: DoorsOptions) {
    this.#options = options;
    this.#style = stylesheet();
  }

  /** @returns false for a path that is the provider's */
  async answer(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const [, door = '', key = ''] =
      new RegExp(`^${ISSUER_PATH}/(interaction|link|pages\\.css)(?:/([\\w-]{1,64}))?$`).exec(
        (request.url ?? '').split('?')[0]!,
      ) ?? [];
    if (door === '') return false;
    if (door === 'pages.css') {
      const headers = { ...PAGE_HEADERS, 'content-type': 'text/css; charset=utf-8', 'cache-control': 'no-cache' };
      send(response, { status: 200, headers, body: this.#style });
      return true;
    }
    try {
      const form = await formOf(request);
      // Behind our own host alone, which says where the request came from.
      const address = request.headers['x-forwarded-for'] as string | undefined;
      const asked = { provider, request, response, form, address };
      const answer = door === 'link' ? await this.#link(key, asked) : await this.#interaction(key, asked);
      send(response, answer);
    } catch (error) {
      const words = wordsOf(error);
      if (words === undefined) this.#options.onDefect(error);
      send(response, problemPage(words?.status ?? 500, words?.text ?? 'The archive met an internal error.'));
    }
    return true;
  }

  async #interaction(uid: string, asked: Asked): Promise<Page> {
    const { provider, request, response, form } = asked;
    // The browser that the sign-in was begun in has its cookie; nobody else can go on with it.
    const interaction = await provider.interactionDetails(request, response).catch(() => undefined);
    if (interaction === undefined || interaction.uid !== uid)
      return problemPage(410, 'This sign-in has run out, or was begun elsewhere.');
    const passed = await this.#passed(uid);
    if (form === undefined) return passed === undefined ? signInPage(200) : codePage(200);
    if (form.has('again')) {
      await this.#options.index.write([{ kind: 'delete', key: stepKey(uid) }]);
      return signInPage(200);
    }
    return passed === undefined
      ? this.#byPassword(interaction, form, asked)
      : this.#byCode(interaction, passed, form, asked);
  }

  async #byPassword(interaction: Interaction, form: URLSearchParams, asked: Asked): Promise<Page> {
    const { signIn, tenant } = this.#options;
    const name = form.get('name') ?? '';
    try {
      const password = form.get('password') ?? '';
      const outcome = await signIn.byPassword(tenant, { name, password, address: asked.address });
      if (outcome.kind === 'refused') return signInPage(401, { name, problem: WRONG });
      if (outcome.kind === 'in') return this.#enter(outcome.user, asked);
      const { index, clock } = this.#options;
      const item = { name: outcome.user.name, passwordChangedAt: outcome.user.passwordChangedAt };
      await index.write(putExpiring(clock, stepKey(interaction.uid), { item, expiresAt: clock.now() + CODE_MS }));
      return seeOther(`${ISSUER_PATH}/interaction/${interaction.uid}`);
    } catch (error) {
      return again(error, (status, problem) => signInPage(status, { name, problem }));
    }
  }

  async #byCode(interaction: Interaction, passed: Passed, form: URLSearchParams, asked: Asked): Promise<Page> {
    const { signIn, tenant, index } = this.#options;
    try {
      const code = form.get('code') ?? '';
      const outcome = await signIn.byCode(tenant, { ...passed, code, address: asked.address });
      if (outcome.kind !== 'in') return codePage(401, 'This code is not right, or has been used.');
      await index.write([{ kind: 'delete', key: stepKey(interaction.uid) }]);
      return this.#enter(outcome.user, asked);
    } catch (error) {
      return again(error, codePage);
    }
  }

  /** Back to the provider, which sends the browser on to the console with a code. */
  async #enter({ name, lastLoginAt = 0 }: UserRecord, { provider, request, response }: Asked): Promise<Page> {
    const login = { accountId: name, remember: false, ts: lastLoginAt / 1000 };
    return seeOther(await provider.interactionResult(request, response, { login }, { mergeWithLastSubmission: false }));
  }

  /** Whose password was right here a moment ago. */
  async #passed(uid: string): Promise<Passed | undefined> {
    const { index, clock } = this.#options;
    const step = unexpired(await index.get(stepKey(uid)), clock);
    return step && { name: String(step.name), passwordChangedAt: Number(step.passwordChangedAt) };
  }

  async #link(token: string, { form, address }: Asked): Promise<Page> {
    const { users, limits } = this.#options;
    const linked = await users.linked(token);
    if (linked === undefined)
      return problemPage(410, 'This link has been used or has run out. An administrator can give you another.');
    const asked = { ...linked, leastCharacters: limits.passwordCharacters };
    if (form === undefined) return choosePasswordPage(200, asked);
    const typed = { name: form.get('name') ?? '', displayName: form.get('displayName') ?? '' };
    const password = form.get('password') ?? '';
    if (password !== form.get('repeated'))
      return choosePasswordPage(400, { ...asked, problem: 'The two passwords are not the same.' }, typed);
    try {
      this.#options.audit.admit(true);
      const { user } = await users.useLink(token, { password, ...typed });
      await this.#record(linked.tenant, user.name, linked.name === '' ? 'SetUpArchive' : 'ChoosePassword', address);
      return passwordSetPage(user.name);
    } catch (error) {
      return again(error, (status, problem) => choosePasswordPage(status, { ...asked, problem }, typed));
    }
  }

  async #record(tenant: string, name: string, transaction: string, from: string | undefined): Promise<void> {
    const { audit, clock } = this.#options;
    await audit.record(tenant, {
      at: clock.now(),
      event: 'UserSecurityAttributes',
      action: transaction === 'SetUpArchive' ? 'C' : 'U',
      outcome: 0,
      subject: name,
      roles: [],
      door: 'http',
      transaction,
      about: name,
      ...(from !== undefined && { from }),
    });
  }
}

const stepKey = (uid: string): Key => ({
  partition: `_system|loginstep|${createHash('sha256').update(uid).digest('hex')}`,
  sort: 'step',
});

const seeOther = (location: string): Page => ({ status: 303, headers: { ...PAGE_HEADERS, location }, body: '' });

/** The page once more, with what was wrong. @throws what is nobody's fault but ours */
function again(error: unknown, show: (status: number, problem: string) => Page): Page {
  const words = wordsOf(error);
  if (words === undefined) throw error;
  const shown = show(words.status, words.text);
  return { ...shown, headers: { ...shown.headers, ...words.headers } };
}

/** @throws PacsError FORBIDDEN for a form of another site, TOO_LARGE, METHOD_NOT_ALLOWED */
async function formOf(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  if (request.method === 'GET' || request.method === 'HEAD') return undefined;
  if (request.method !== 'POST') throw new PacsError('METHOD_NOT_ALLOWED', 'This page takes forms alone.');
  const headers = request.headers as Record<string, string | undefined>;
  const origin = `${headers['x-forwarded-proto']}://${headers.host}`;
  if (isCrossSite({ headers, method: 'POST', origin }, []))
    throw new PacsError('FORBIDDEN', 'The form comes from another site.');
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > FORM_BYTES) throw new PacsError('TOO_LARGE', 'This is too long.');
  }
  return new URLSearchParams(text);
}

function send(response: ServerResponse, { status, headers, body }: Page): void {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
