import { describe, expect, test } from 'vitest';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import { reprDigest } from '#dicomweb/digest.ts';
import type { UpstreamConfig } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { type Answer, type Confirmed, Recheck } from '#edge/forward/recheck.ts';
import type { ForwardRecord } from '#edge/forward/records.ts';
import type { Upstream, UpstreamRequest, UpstreamState } from '#edge/upstream.ts';
import type { Log } from '#embedded/log.ts';
import { standIn } from '../fixtures/stand-in.ts';

/** An archive that answers as it is told: by request, `METHOD /path` without its query; what is not told of is not found. */
type Said = number | { readonly status: number; readonly sha256?: string; readonly text?: string } | PacsError;

const STUDY = '1.2.3';
const sha = (digit: string): string => digit.repeat(64);
const instancePath = (sop: string): string => `/studies/${STUDY}/series/1.2.3.4/instances/${sop}`;
const COMMIT = 'POST /commitment-requests';
const SEARCH = `GET /studies/${STUDY}/instances`;
const listing = (...sops: string[]): Said => ({
  status: 200,
  text: JSON.stringify(sops.map((sop) => ({ '00080018': { vr: 'UI', Value: [sop] } }))),
});

function recheckOf(
  said: Readonly<Record<string, Said>>,
  config: Partial<UpstreamConfig> = {},
  committing?: (body: string) => Said,
) {
  const asked: string[] = [];
  let nowMs = 1_000_000;
  const upstream = standIn<Upstream>({
    config: standIn<UpstreamConfig>({ timeoutMs: 1_000, compression: 'none', ...config }),
    state: standIn<UpstreamState>({}),
    name: 'cloud',
    isReachable: true,
    async request({ method, path, body }: UpstreamRequest) {
      const name = `${method} ${path.replace(/\?.*/, '').replace(/^(\/commitment-requests)\/[0-9.]+$/, '$1')}`;
      asked.push(name);
      const answer = (name === COMMIT ? committing?.(String(body)) : undefined) ?? said[name] ?? 404;
      if (answer instanceof PacsError) throw answer;
      const { status, sha256, text = '' } = typeof answer === 'number' ? { status: answer } : answer;
      return {
        status,
        headers: sha256 === undefined ? {} : { 'repr-digest': reprDigest(sha256) },
        body: (async function* () {
          yield Buffer.from(text);
        })(),
        text: async () => text,
        discard: async () => {},
      };
    },
  });
  const context = standIn<EdgeContext>({
    upstream: (name: string) => (name === 'cloud' ? upstream : undefined),
    clock: standIn<Clock>({ now: () => nowMs, randomBytes: (count) => new Uint8Array(count) }),
    log: standIn<Log>({ info: () => {} }),
  });
  const recheck = new Recheck(context);
  return {
    asked,
    later: (ms: number) => {
      nowMs += ms;
    },
    ask: async (...confirmed: Confirmed[]): Promise<Record<string, Answer>> =>
      Object.fromEntries(await recheck.ask('cloud', confirmed, new AbortController().signal)),
  };
}

const confirmed = (sop: string, more: Partial<ForwardRecord> = {}, here?: string, storedAt = 0): Confirmed => ({
  record: {
    StudyInstanceUID: STUDY,
    SeriesInstanceUID: '1.2.3.4',
    SOPInstanceUID: sop,
    sha256: sha('a'),
    evidence: 'digest',
    ...more,
  } as ForwardRecord,
  here: here === undefined ? undefined : { sha256: here, storedAt },
});

describe('what was confirmed by its digest', () => {
  const head = `HEAD ${instancePath('1.1')}`;

  for (const [what, said, record, expected] of [
    ['the same digest', { status: 200, sha256: sha('a') }, confirmed('1.1'), 'there'],
    ['another digest', { status: 200, sha256: sha('b') }, confirmed('1.1'), 'lost'],
    ['not found', 404, confirmed('1.1'), 'lost'],
    ['gone', 410, confirmed('1.1'), 'lost'],
    ['it is there, and no digest', 200, confirmed('1.1'), 'there'],
    [
      'the digest of what was sent',
      { status: 200, sha256: sha('c') },
      confirmed('1.1', { upstreamSha256: sha('c') }),
      'there',
    ],
    [
      'the digest of what was received, and not sent',
      { status: 200, sha256: sha('a') },
      confirmed('1.1', { upstreamSha256: sha('c') }),
      'lost',
    ],
    [
      'the digest of the copy that was fetched back',
      { status: 200, sha256: sha('d') },
      confirmed('1.1', {}, sha('d')),
      'there',
    ],
    ['it is busy', 503, confirmed('1.1'), 'unanswered'],
    ['it fails', 500, confirmed('1.1'), 'unanswered'],
    ['there are no rights any more', 403, confirmed('1.1'), 'unanswered'],
  ] as const)
    test(`${what}: ${expected}`, async () => {
      expect(await recheckOf({ [head]: said }).ask(record)).toEqual({ '1.1': expected });
    });

  test('a digest is not compared where nobody knows which was sent', async () => {
    const site = recheckOf({ [head]: { status: 200, sha256: sha('f') } }, { compression: 'htj2k' });
    expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'there' });
  });

  test('a server that has come to answer no HEAD is asked otherwise', async () => {
    const site = recheckOf({ [head]: 405, [SEARCH]: listing('1.1') });
    expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'there' });
  });

  test('where it fails at one instance, the others are asked for all the same', async () => {
    const site = recheckOf({ [head]: 500, [`HEAD ${instancePath('1.2')}`]: { status: 200, sha256: sha('a') } });
    expect(await site.ask(confirmed('1.1'), confirmed('1.2'))).toEqual({ '1.1': 'unanswered', '1.2': 'there' });
  });
});

describe('what was confirmed otherwise', () => {
  const fetched = (sop: string): Confirmed => confirmed(sop, { evidence: 'retrieve' });
  const metadata = (sop: string): string => `GET ${instancePath(sop)}/metadata`;

  test('is looked for in the list of the study, with one question', async () => {
    const site = recheckOf({ [SEARCH]: listing('1.1', '1.2') });
    expect(await site.ask(fetched('1.1'), fetched('1.2'))).toEqual({ '1.1': 'there', '1.2': 'there' });
    expect(site.asked).toEqual([COMMIT, SEARCH]);
  });

  test('and asked for by itself where the list does not name it', async () => {
    const site = recheckOf({ [SEARCH]: listing('1.1'), [metadata('1.2')]: 200 });
    const answers = await site.ask(fetched('1.1'), fetched('1.2'), fetched('1.3'));
    expect(answers).toEqual({ '1.1': 'there', '1.2': 'there', '1.3': 'lost' });
    expect(site.asked).toEqual([COMMIT, SEARCH, metadata('1.2'), metadata('1.3')]);
  });

  test('or where the server has no such search', async () => {
    const site = recheckOf({ [SEARCH]: 403, [metadata('1.1')]: 200 });
    expect(await site.ask(fetched('1.1'), fetched('1.2'))).toEqual({ '1.1': 'there', '1.2': 'lost' });
  });
});

describe('by storage commitment, where it is offered', () => {
  const sequence = (tag: string, items: object[]) => ({ [tag]: { vr: 'SQ', Value: items } });
  const committed = (sop: string, sha256?: string) => ({
    '00081155': { vr: 'UI', Value: [sop] },
    ...(sha256 && { '00090010': { vr: 'LO', Value: ['NEPHOS'] }, '00091001': { vr: 'LO', Value: [sha256] } }),
  });
  const failed = (sop: string, reason: number) => ({ ...committed(sop), '00081197': { vr: 'US', Value: [reason] } });
  const answer = (kept: object[], refused: object[]): Said => ({
    status: 200,
    text: JSON.stringify({ ...sequence('00081199', kept), ...sequence('00081198', refused) }),
  });

  test('one question tells of all, however they were confirmed', async () => {
    const kept = [committed('1.1', sha('a')), committed('1.2'), committed('1.3', sha('b'))];
    const refused = [failed('1.4', 0x0112), failed('1.5', 0x0119), failed('1.6', 0x0110)];
    const site = recheckOf({ [COMMIT]: answer(kept, refused) });
    const instances = ['1.1', '1.2', '1.3', '1.4', '1.5', '1.6', '1.7'].map((sop, i) =>
      confirmed(sop, i % 2 === 0 ? {} : { evidence: 'retrieve' }),
    );
    expect(await site.ask(...instances)).toEqual({
      '1.1': 'there',
      '1.2': 'there',
      '1.3': 'lost',
      '1.4': 'lost',
      '1.5': 'lost',
      '1.6': 'unanswered',
      '1.7': 'unanswered',
    });
    // … and one more, whether what is missing was deleted.
    expect(site.asked).toEqual([COMMIT, COMMIT]);
  });

  test('what was rejected there is there', async () => {
    const rejected = (sop: string, sha256: string) => ({ ...failed(sop, 0x0112), ...committed(sop, sha256) });
    const site = recheckOf({ [COMMIT]: answer([], [rejected('1.1', sha('a')), rejected('1.2', sha('b'))]) });
    expect(await site.ask(confirmed('1.1'), confirmed('1.2'))).toEqual({ '1.1': 'there', '1.2': 'lost' });
  });

  describe('what somebody has deleted there', () => {
    const NOON = Date.UTC(2026, 0, 5, 12);
    const HOUR = 3_600_000;
    const deleted = (sop: string, at: string, sha256 = sha('a')) => ({
      ...failed(sop, 0x0112),
      ...committed(sop, sha256),
      '00091002': { vr: 'DT', Value: [at] },
    });
    const AT = '20260105120000.000+0000';
    const before = { confirmedAt: NOON - HOUR };
    /** as our own archive, which tells of a deletion where the study is named */
    const site = (...told: object[]) =>
      recheckOf({}, {}, (body) => answer([], body.includes(STUDY) ? told : [failed('1.1', 0x0112)]));

    test('is told from what is lost, by a second question', async () => {
      const { ask, asked } = site(deleted('1.1', AT));
      expect(await ask(confirmed('1.1', before, sha('a'), NOON - HOUR))).toEqual({ '1.1': 'deleted' });
      expect(asked).toEqual([COMMIT, COMMIT]);
    });

    for (const [what, told, one] of [
      ['of an archive that cannot say so', failed('1.1', 0x0112), confirmed('1.1', before)],
      ['of which other bytes were deleted', deleted('1.1', AT, sha('b')), confirmed('1.1', before)],
      ['that was confirmed after the deletion', deleted('1.1', AT), confirmed('1.1', { confirmedAt: NOON + HOUR })],
      ['that was confirmed at about that time', deleted('1.1', AT), confirmed('1.1', { confirmedAt: NOON - 60_000 })],
      ['that came here again since', deleted('1.1', AT), confirmed('1.1', before, sha('a'), NOON + HOUR)],
      ['of which nobody knows when', deleted('1.1', 'yesterday'), confirmed('1.1', before)],
    ] as const)
      test(`is lost, ${what}`, async () => {
        expect(await site(told).ask(one)).toEqual({ '1.1': 'lost' });
      });

    test('is not taken for anything while the second question is not answered', async () => {
      const { ask } = recheckOf({}, {}, (body) => (body.includes(STUDY) ? 503 : answer([], [failed('1.1', 0x0112)])));
      expect(await ask(confirmed('1.1', before))).toEqual({ '1.1': 'unanswered' });
    });

    test('is lost where the second question is refused', async () => {
      const { ask } = recheckOf({}, {}, (body) => (body.includes(STUDY) ? 400 : answer([], [failed('1.1', 0x0112)])));
      expect(await ask(confirmed('1.1', before))).toEqual({ '1.1': 'lost' });
    });
  });

  test('in requests of a thousand', async () => {
    const site = recheckOf({ [COMMIT]: answer([], []) });
    await site.ask(...Array.from({ length: 2_001 }, (_, i) => confirmed(`1.${i}`)));
    expect(site.asked).toEqual([COMMIT, COMMIT, COMMIT]);
  });

  test('an archive without it is not asked for it again for an hour', async () => {
    const site = recheckOf({ [`HEAD ${instancePath('1.1')}`]: 200 });
    for (const laterMs of [0, 59 * 60_000, 2 * 60_000]) {
      site.later(laterMs);
      expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'there' });
    }
    expect(site.asked.filter((one) => one === COMMIT)).toHaveLength(2);
  });

  test.each([202, 400, 403, 404, 405, 415, 500, 501])('%i: it is asked otherwise', async (status) => {
    const site = recheckOf({ [COMMIT]: status, [`HEAD ${instancePath('1.1')}`]: 200 });
    expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'there' });
  });

  test.each([401, 429, 503, 504])('%i: it cannot be asked now', async (status) => {
    const site = recheckOf({ [COMMIT]: status, [`HEAD ${instancePath('1.1')}`]: 200 });
    expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'unanswered' });
    expect(site.asked).toEqual([COMMIT]);
  });
});

test('what was merely accepted, or a person has let go, is not asked for', async () => {
  const site = recheckOf({});
  const answers = await site.ask(confirmed('1.1', { evidence: 'accepted' }), confirmed('1.2', { evidence: 'person' }));
  expect(answers).toEqual({ '1.1': 'there', '1.2': 'there' });
  expect(site.asked).toEqual([]);
});

test('an archive that does not answer is left alone for a minute', async () => {
  const said: Record<string, Said> = { [`HEAD ${instancePath('1.1')}`]: new PacsError('BUSY', 'nobody is there') };
  const site = recheckOf(said);
  expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'unanswered' });
  said[`HEAD ${instancePath('1.1')}`] = { status: 200, sha256: sha('a') };
  site.later(59_000);
  expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'unanswered' });
  expect(site.asked).toEqual([COMMIT, `HEAD ${instancePath('1.1')}`]);
  site.later(2_000);
  expect(await site.ask(confirmed('1.1'))).toEqual({ '1.1': 'there' });
});
