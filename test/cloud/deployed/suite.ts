import { expect } from 'vitest';
import type { Answer } from '#test/hosts/client.ts';
import type { Deployed } from '../helpers/deployment.ts';

/** What the suites of the deployed stack share: the stack, once it stands, and its administrator. */
export interface DeployedSuite {
  readonly deployed: () => Deployed;
  /** headers of the administrator; his token holds a quarter of an hour, `refresh` renews it when it has got old */
  readonly admin: () => Record<string, string>;
  refresh(): Promise<void>;
}

export type Init = NonNullable<Parameters<Deployed['ask']>[1]>;

/** Asks as the administrator. */
export const asker =
  ({ deployed, admin }: DeployedSuite) =>
  (path: string, init: Init = {}): Promise<Answer> =>
    deployed().ask(path, { ...init, headers: { ...admin(), ...init.headers } });

/** As the administrator, with a JSON body; `body` of the answer is JSON as well. */
export const jsonAsker = (suite: DeployedSuite) => async (method: string, path: string, body?: object) => {
  await suite.refresh();
  const answer = await asker(suite)(path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body && { body: Buffer.from(JSON.stringify(body)) }),
  });
  const text = answer.body.toString();
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
};

/** What a GET finds. */
export const finder = (suite: DeployedSuite) => async (path: string) => {
  const { status, body } = await jsonAsker(suite)('GET', path);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
};

export async function eventually<T>(look: () => Promise<T | undefined>, withinMs = 180_000): Promise<T> {
  const giveUpAt = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > giveUpAt) throw new Error('it never came about');
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
