import { readFile } from 'node:fs/promises';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { expect, vi } from 'vitest';
import type { Nephos } from '../helpers/nephos.ts';
import { openPage, type WatchedPage } from './browser.ts';

/** The administrator's token, which the archive printed at its first start. */
export async function printedToken({ logFile }: Nephos): Promise<string> {
  // It is told when every server process is up, which may be after the first has answered.
  const told = async () => /^ {4}(nephos_\S{20,})$/m.exec(await readFile(logFile, 'utf8'))?.[1];
  return vi.waitUntil(told, { timeout: 60_000, interval: 100 });
}

/** Another token by the archive's API. */
export async function issueToken(
  { origin }: Nephos,
  admin: string,
  asked: { name: string; subject: string; roles: string[]; expiresInDays?: number },
): Promise<{ id: string; token: string }> {
  const response = await fetch(`${origin}/api/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}` },
    body: JSON.stringify(asked),
  });
  expect(response.status).toBe(201);
  return (await response.json()) as { id: string; token: string };
}

export async function revokeToken({ origin }: Nephos, admin: string, id: string): Promise<void> {
  const init = { method: 'DELETE', headers: { authorization: `Bearer ${admin}` } };
  expect((await fetch(`${origin}/api/tokens/${id}`, init)).status).toBe(204);
}

/** A page of the console at `path`, signed in by its form. */
export async function openSignedIn(
  browser: Browser,
  nephos: Nephos,
  token: string,
  path: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const watched = await openPage(browser, options);
  await watched.page.goto(`${nephos.origin}/#${path}`);
  await signIn(watched.page, token);
  await watched.page.getByRole('heading', { level: 1 }).waitFor();
  // The refused question of who is signed in is what brings the form up.
  watched.complaints.length = 0;
  return watched;
}

export async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel('Access token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Access token').waitFor({ state: 'detached' });
}

export const nothingIsWider = async (page: Page, width: number): Promise<void> =>
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
