import { expect, test } from 'vitest';
import { UpstreamArchive } from '#edge/read/upstream-archive.ts';
import type { Upstream, UpstreamResponse } from '#edge/upstream.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

/** RFC 9110 §10.2.3: seconds, or a date. Of a date nothing was understood, and objects on slow media were given up at once. */
test.each([
  ['seconds', '120'],
  ['a date', new Date(new TestClock().now() + 120_000).toUTCString()],
])('objects that an upstream has later are asked for when it says so, in %s', async (_, retryAfter) => {
  const refusal: UpstreamResponse = {
    status: 503,
    headers: { 'retry-after': retryAfter },
    body: (async function* () {})(),
    text: async () => '',
    discard: async () => {},
  };
  const upstream = standIn<Upstream>({ request: async () => refusal });
  const archive = new UpstreamArchive(upstream, new TestClock());
  const objects = archive.retrieve({ StudyInstanceUID: '1.2' }, new AbortController().signal);
  await expect(objects.next()).rejects.toMatchObject({ code: 'BUSY', details: { retryAfterMs: 120_000 } });
});
