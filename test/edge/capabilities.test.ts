import { expect, test } from 'vitest';
import { Capabilities } from '#edge/forward/capabilities.ts';
import type { UpstreamResponse } from '#edge/upstream.ts';

const MINUTE_MS = 60_000;

/** An archive upstream that answers each question by the next of `answers`, and how often it was asked. */
function upstream(...answers: readonly { readonly status: number; readonly body?: object }[]) {
  const asked: string[] = [];
  const request = async ({ method }: { readonly method: string }): Promise<UpstreamResponse> => {
    const { status, body = {} } = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push(method);
    const none = (async function* () {})();
    return { status, headers: {}, body: none, text: async () => JSON.stringify(body), discard: async () => {} };
  };
  return { request, asked };
}
const SAYS_LIMITS = {
  status: 200,
  body: { application: { limits: { storeRequestBytes: 10_000_000, storeInstances: 50 } } },
};
const { signal } = new AbortController();

test('what an upstream can do is asked once an hour', async () => {
  let now = 1_000;
  const { request, asked } = upstream(SAYS_LIMITS);
  const capabilities = new Capabilities({ request }, () => now);
  await capabilities.ask(signal);
  expect(capabilities).toMatchObject({ requestBytes: 10_000_000, requestInstances: 50 });
  now += 59 * MINUTE_MS;
  await capabilities.ask(signal);
  expect(asked).toEqual(['OPTIONS']);
  now += 2 * MINUTE_MS;
  await capabilities.ask(signal);
  expect(asked).toHaveLength(2);
});

test.each([401, 403, 429])(
  'an upstream that refuses to say (%i) is asked again within a minute: its limits were not known for an hour',
  async (status) => {
    let now = 1_000;
    const { request, asked } = upstream({ status }, SAYS_LIMITS);
    const capabilities = new Capabilities({ request }, () => now);
    await capabilities.ask(signal);
    await capabilities.ask(signal);
    expect(asked).toHaveLength(1);
    now += MINUTE_MS;
    await capabilities.ask(signal);
    expect(capabilities.requestInstances).toBe(50);
  },
);

test('an upstream that knows no such request is not asked again and again', async () => {
  let now = 1_000;
  const { request, asked } = upstream({ status: 405 });
  const capabilities = new Capabilities({ request }, () => now);
  await capabilities.ask(signal);
  now += 30 * MINUTE_MS;
  await capabilities.ask(signal);
  expect(asked).toHaveLength(1);
  expect(capabilities.requestBytes).toBe(Number.POSITIVE_INFINITY);
});
