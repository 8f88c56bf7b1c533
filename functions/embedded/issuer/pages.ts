import { PacsError } from '#core/errors.ts';
import { Html, html } from '#core/markup.ts';
import { type Page, page } from './page.ts';

/** The pages that people see at the issuer. What they type comes back into them, but for passwords and codes. */

export function signInPage(status: number, { name = '', problem }: { name?: string; problem?: string } = {}): Page {
  return page(
    status,
    'Sign in',
    html`<form method="post">
${alert(problem)}
<label class="field"><span>User name</span>
<input name="name" value="${name}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256" required${focusUnless(name)}></label>
<label class="field"><span>Password</span>
<input name="password" type="password" autocomplete="current-password" maxlength="256" required${focusWhere(name)}></label>
<button type="submit" class="primary">Sign in</button>
</form>
<p class="hint">Forgotten your password? An administrator can give you a link by which you choose a new one.</p>
<p class="hint"><a href="/">Sign in with an access token</a></p>`,
  );
}

export function codePage(status: number, problem?: string): Page {
  return page(
    status,
    'Enter the code',
    html`<form method="post" class="code">
${alert(problem)}
<label class="field"><span>Code</span>
<input name="code" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false" maxlength="64" required autofocus aria-describedby="code-help"></label>
<p class="hint" id="code-help">The six digits that your authenticator app shows now, or one of your recovery codes.</p>
<button type="submit" class="primary">Go on</button>
</form>
<form method="post"><button type="submit" name="again" value="yes">Sign in as somebody else</button></form>`,
  );
}

export interface ChoosePassword {
  /** empty: the first administrator, who chooses it */
  readonly name: string;
  readonly displayName: string;
  readonly leastCharacters: number;
  readonly problem?: string;
}

export function choosePasswordPage(
  status: number,
  { name, displayName, leastCharacters, problem }: ChoosePassword,
  typed: { readonly name?: string; readonly displayName?: string } = {},
): Page {
  const isSetup = name === '';
  const who = isSetup
    ? html`<p>You are the first here. Make the account that administers this archive.</p>
<label class="field"><span>User name</span>
<input name="name" value="${typed.name ?? ''}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus></label>
<label class="field"><span>Your full name</span>
<input name="displayName" value="${typed.displayName ?? ''}" autocomplete="name" maxlength="100"></label>`
    : html`<p>For ${displayName}, who signs in as <strong>${name}</strong>.</p>
<input name="username" value="${name}" autocomplete="username" readonly hidden>`;
  return page(
    status,
    isSetup ? 'Set up this archive' : 'Choose a password',
    html`<form method="post">
${alert(problem)}
${who}
<label class="field"><span>Password</span>
<input name="password" type="password" autocomplete="new-password" minlength="${leastCharacters}" maxlength="256" required aria-describedby="password-help"${focusWhere(isSetup ? '' : name)}></label>
<p class="hint" id="password-help">At least ${leastCharacters} characters. A few words that only you would put together make a good one.</p>
<label class="field"><span>The same password again</span>
<input name="repeated" type="password" autocomplete="new-password" maxlength="256" required></label>
<button type="submit" class="primary">Save</button>
</form>`,
  );
}

export const passwordSetPage = (name: string): Page =>
  page(
    200,
    'Your password is set',
    html`<p>From now on you sign in as <strong>${name}</strong>.</p>
<p><a class="button primary" href="/api/session/start">Sign in</a></p>`,
  );

export const signOutPage = (form: Html): Page =>
  page(
    200,
    'Sign out',
    html`${form}<button type="submit" form="op.logoutForm" name="logout" value="yes" class="primary">Sign out</button>
<p><a href="/">Stay signed in</a></p>`,
  );

/** @param status 400 and more */
export const problemPage = (status: number, text: string): Page =>
  page(
    status,
    'That did not work',
    html`${alert(text)}
<p><a class="button primary" href="/">Start again</a></p>`,
  );

/** What somebody is told of an error; undefined: it is none of his making. */
export function wordsOf(
  error: unknown,
): { readonly status: number; readonly text: string; readonly headers: Record<string, string> } | undefined {
  if (!(error instanceof PacsError) || error.code === 'INTERNAL') return undefined;
  const status = error.row.http;
  const seconds = error.details.retryAfterSeconds;
  if (error.code === 'TOO_MANY_REQUESTS' && typeof seconds === 'number') {
    const text = `Too many wrong attempts. Try again in ${spanOf(seconds)}.`;
    return { status, text, headers: { 'retry-after': String(seconds) } };
  }
  if (error.code === 'BUSY') return { status, text: 'The archive is busy. Try again in a moment.', headers: {} };
  return { status, text: error.message, headers: {} };
}

const spanOf = (seconds: number): string =>
  seconds < 60 ? `${seconds} second${seconds === 1 ? '' : 's'}` : `${Math.ceil(seconds / 60)} minutes`;

const alert = (text: string | undefined): Html =>
  text === undefined ? html`` : html`<p class="error" role="alert">${text}</p>`;

/** The first empty field has the focus. */
const AUTOFOCUS = new Html(' autofocus');
const focusWhere = (filled: string): Html | undefined => (filled === '' ? undefined : AUTOFOCUS);
const focusUnless = (filled: string): Html | undefined => (filled === '' ? AUTOFOCUS : undefined);
