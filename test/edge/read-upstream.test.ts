import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { queryOf } from '#dimse/services/query.ts';
import { checked } from '#edge/config.ts';
import { questionsOf } from '#edge/read/keys.ts';
import { isMatch, keyOfRow, mergedMatch } from '#edge/read/merge.ts';
import { UpstreamArchive } from '#edge/read/upstream-archive.ts';
import { Upstream } from '#edge/upstream.ts';
import { systemClock } from '#embedded/archive.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { key } from './read-site.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;
let server: Server;
let upstream: Upstream;
let answer: Answer;
let asked: URL[];
let archive: UpstreamArchive;

beforeAll(async () => {
  server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://server');
    asked.push(url);
    answer(request, response, url);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await upstream?.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  asked = [];
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/pacs`;
  upstream = new Upstream(checked({ upstreams: [{ url }] }, 'test').upstreams[0], systemClock);
  archive = new UpstreamArchive(upstream, systemClock, { pageRows: 100, queryMs: 60_000 });
});

const row = (n: number): object => ({ '0020000D': { vr: 'UI', Value: [uid(n)] } });
const rows = (from: number, count: number): string =>
  JSON.stringify(Array.from({ length: count }, (_, i) => row(from + i)));
const say = (response: ServerResponse, status: number, text = '', headers: Record<string, string> = {}): void => {
  response.writeHead(status, { 'content-type': 'application/dicom+json', ...headers }).end(text);
};
async function found(parameters: Record<string, string> = {}): Promise<string[]> {
  const uids: string[] = [];
  const { signal } = new AbortController();
  for await (const page of archive.search('study', {}, new URLSearchParams(parameters), signal))
    uids.push(...page.map((each) => String(each['0020000D']?.Value?.[0])));
  return uids;
}

describe('servers of all kinds', () => {
  test('pages until one is not full', async () => {
    answer = (_, response, { searchParams }) => {
      const offset = Number(searchParams.get('offset') ?? 0);
      say(response, 200, rows(offset, Math.min(100, 230 - offset)));
    };
    expect(new Set(await found()).size).toBe(230);
    expect(asked).toHaveLength(3);
  });

  test('a server that caps its pages lower, and says so or not', async () => {
    answer = (_, response, { searchParams }) => {
      const offset = Number(searchParams.get('offset') ?? 0);
      say(response, offset >= 60 ? 204 : 200, offset >= 60 ? '' : rows(offset, 30), {
        warning: '299 server "There are more results"',
      });
    };
    expect(await found()).toHaveLength(60);
    answer = (_, response, { searchParams }) => {
      const offset = Number(searchParams.get('offset') ?? 0);
      say(response, 200, rows(offset, offset >= 100 ? 7 : 50));
    };
    expect(await found()).toHaveLength(107);
  });

  test('a server that knows no offset is not asked for ever', async () => {
    answer = (_, response) => say(response, 200, rows(1, 100));
    expect(await found()).toHaveLength(100);
    expect(asked).toHaveLength(2);
  });

  test.each([[204], [404]])('%d is no match', async (status) => {
    answer = (_, response) => say(response, status);
    expect(await found()).toEqual([]);
  });

  test('a server that refuses attributes to be included is asked without', async () => {
    answer = (_, response, { searchParams }) =>
      searchParams.has('includefield') ? say(response, 400) : say(response, 200, rows(1, 1));
    expect(await found({ '00100020': 'P1', includefield: '00081030,00321060' })).toHaveLength(1);
    expect(asked.map(({ searchParams }) => searchParams.get('00100020'))).toEqual(['P1', 'P1']);
  });

  test('what is malformed in a row does not hide the row', async () => {
    answer = (_, response) =>
      say(response, 200, JSON.stringify([{ ...row(1), '00100010': { vr: 'ZZ', Value: ['x'] }, nonsense: 1 }]));
    expect(await found()).toEqual([uid(1)]);
  });

  test('an error, or what is no JSON, is no empty answer', async () => {
    answer = (_, response) => say(response, 500);
    await expect(found()).rejects.toMatchObject({ code: 'NOT_ACCEPTABLE' });
    answer = (_, response) => say(response, 200, '<html>sign in</html>', { 'content-type': 'text/html' });
    await expect(found()).rejects.toMatchObject({ code: 'NOT_ACCEPTABLE' });
  });

  test('one that is silent is left alone for a while; one that is slow is not', async () => {
    archive = new UpstreamArchive(upstream, systemClock, { pageRows: 100, queryMs: 6_000 });
    answer = (_, response) => {
      response.writeHead(200).write('[');
      let left = 8;
      const more = (): void => {
        if (--left > 0) setTimeout(more, 1_000);
        response.write(' ');
        if (left === 0) response.end(']');
      };
      setTimeout(more, 1_000);
    };
    expect(await found()).toEqual([]);
    expect(archive.isAnswering).toBe(true);
    answer = () => {};
    await expect(found()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(archive.isAnswering).toBe(false);
    const before = asked.length;
    await expect(found()).rejects.toMatchObject({ code: 'BUSY' });
    expect(asked).toHaveLength(before);
  });

  test('objects come as multipart or alone', async () => {
    const object = buildDicom();
    const bytes = async (): Promise<Buffer[]> => {
      const objects: Buffer[] = [];
      const path = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
      for await (const one of archive.retrieve(path, new AbortController().signal))
        objects.push(Buffer.concat(await Array.fromAsync(one)));
      return objects;
    };
    answer = (request, response) => {
      expect(request.headers.accept).toContain('transfer-syntax=*');
      response.writeHead(200, { 'content-type': 'multipart/related; type="application/dicom"; boundary=b' });
      response.end(Buffer.concat([Buffer.from('--b\r\n\r\n'), object, Buffer.from('\r\n--b--')]));
    };
    expect((await bytes())[0]!.equals(object)).toBe(true);
    answer = (_, response) => response.writeHead(200, { 'content-type': 'application/dicom' }).end(object);
    expect((await bytes())[0]!.equals(object)).toBe(true);
    answer = (_, response) => say(response, 404);
    await expect(bytes()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    answer = (_, response) => say(response, 200, '[]');
    await expect(bytes()).rejects.toMatchObject({ code: 'NOT_ACCEPTABLE' });
  });
});

describe('an identifier as questions', () => {
  const questions = (identifier: DataSet, level: 'study' | 'series' | 'instance') =>
    questionsOf(identifier, level, { fuzzy: false })?.map(
      ({ path, parameters }) => `${Object.values(path).join('/')}?${decodeURIComponent(parameters.toString())}`,
    );

  test.each<[string, 'study' | 'series' | 'instance', DataSet, string[] | undefined]>([
    [
      'keys and what is asked for',
      'study',
      { '00100010': key('PN', 'DOE*'), '00081030': key('LO') },
      ['?00100010=DOE*&includefield=00081030'],
    ],
    ['a star alone asks for the value', 'study', { '00100020': key('LO', '*') }, ['?includefield=00100020']],
    [
      'control attributes are no keys',
      'study',
      { '00080052': key('CS', 'STUDY'), '00080005': key('CS', 'ISO_IR 100') },
      ['?'],
    ],
    ['modalities of the study', 'study', { '00080060': key('CS', 'CT', 'MR') }, ['?00080061=CT\\MR']],
    ['studies one by one', 'study', { '0020000D': key('UI', '1.2', '1.3') }, ['?0020000D=1.2', '?0020000D=1.3']],
    ['series by the path of their study', 'series', { '0020000D': key('UI', '1.2'), '0020000E': key('UI') }, ['1.2?']],
    [
      'instances by the path of their series',
      'instance',
      { '0020000D': key('UI', '1.2'), '0020000E': key('UI', '1.3'), '00080018': key('UI') },
      ['1.2/1.3?includefield=00080018'],
    ],
    ['instances of all studies', 'instance', { '00080018': key('UI', '1.4') }, ['?00080018=1.4']],
    ['a key that a server need not know', 'study', { '00080018': key('UI', '1.4') }, undefined],
    [
      'an item of a sequence',
      'series',
      {
        '0020000D': key('UI', '1.2'),
        '00400275': { vr: 'SQ', Value: [{ '00400009': key('SH', 'S1'), '00401001': key('SH') }] },
      },
      ['1.2?00400275.00400009=S1'],
    ],
  ])('%s', (_, level, identifier, expected) => {
    expect(questions(identifier, level)).toEqual(expected);
  });
});

describe('rows', () => {
  const query = (identifier: DataSet) => queryOf(identifier, 'STUDY', DEFAULT_LIMITS, { fuzzy: false });

  test('that do not match are left out, as far as they tell', () => {
    const byName = query({ '00100010': key('PN', 'DOE*') });
    expect(isMatch(byName, { '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] } })).toBe(true);
    expect(isMatch(byName, { '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Roe^Jane' }] } })).toBe(false);
    expect(isMatch(byName, {})).toBe(true);
  });

  test('without a UID are none', () => {
    expect(keyOfRow('study', {})).toBeUndefined();
    expect(keyOfRow('study', { '0020000D': key('UI', '../../etc') })).toBeUndefined();
    expect(keyOfRow('series', { '0020000D': key('UI', '1.2'), '0020000E': key('UI', '1.3') })).toBe('1.2|1.3');
  });

  test('are merged with what is here', () => {
    const here: DataSet = {
      '00080056': key('CS', 'ONLINE'),
      '00080061': key('CS', 'CT'),
      '00081030': key('LO', 'here'),
      '00201208': { vr: 'IS', Value: [3] },
    };
    const there: DataSet = {
      '00080061': key('CS', 'SR', 'CT'),
      '00081030': key('LO', 'there'),
      '00100020': key('LO', 'P1'),
      '00201208': { vr: 'IS', Value: [5] },
    };
    const local = { key: '1.2', element: (tag: string) => here[tag] };
    const read = (localFirst: boolean, tag: string) =>
      mergedMatch('study', local, there, localFirst).element(tag)?.Value;
    expect(read(true, '00081030')).toEqual(['here']);
    expect(read(false, '00081030')).toEqual(['there']);
    expect(read(true, '00100020')).toEqual(['P1']);
    expect(read(true, '00201208')).toEqual([5]);
    expect(read(true, '00080061')).toEqual(['CT', 'SR']);
    expect(read(true, '00080056')).toEqual(['NEARLINE']);
    expect(
      mergedMatch('study', local, { '00201208': { vr: 'IS', Value: [3] } }, true).element('00080056')?.Value,
    ).toEqual(['ONLINE']);
  });
});
