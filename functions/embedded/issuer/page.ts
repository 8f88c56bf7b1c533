import { readFileSync } from 'node:fs';
import { type Html, html } from '#core/markup.ts';
import { ISOLATION_HEADERS } from '../site-rules.ts';
import { ISSUER_PATH } from './path.ts';

/** A page without scripts, so that it works wherever a form does. */
export interface Page {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Nothing but our own style and picture, and forms that come back here. */
const POLICY =
  "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  ...ISOLATION_HEADERS,
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': POLICY,
  'cache-control': 'no-store',
};

export function page(status: number, title: string, content: Html): Page {
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title} – Nephos</title>
<link rel="icon" href="/nephos.svg">
<link rel="stylesheet" href="${ISSUER_PATH}/pages.css">
</head>
<body>
<main class="sign-in">
<img src="/nephos.svg" alt="" width="44" height="44">
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`;
  return { status, headers: PAGE_HEADERS, body: text };
}

/** The look of the console, and what these pages need beside it. */
export function stylesheet(): string {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
  return `${read('../../../web/src/styles/base.css')}\n${read('pages.css')}`;
}
