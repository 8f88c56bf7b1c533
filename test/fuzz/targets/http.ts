import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { createHttpHost } from '#embedded/http-host.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from '#test/hosts/client.ts';
import { readResponses } from '#test/hosts/raw-http.ts';
import { concat, type Grammar } from '../mutate.ts';
import { chunksOf, digestOf, Random } from '../random.ts';
import { Contradiction, type Target } from '../target.ts';
import { SmallArchive } from './archive.ts';

const text = (...lines: readonly string[]): Buffer =>
  Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
const get = (target: string, ...headers: readonly string[]): Buffer =>
  text(`GET ${target} HTTP/1.1`, 'Host: pacs.test', ...headers, '');
const put = (method: string, target: string, headers: readonly string[], body: Uint8Array): Buffer =>
  Buffer.concat([
    text(`${method} ${target} HTTP/1.1`, 'Host: pacs.test', ...headers, `Content-Length: ${body.length}`, ''),
    body,
  ]);
const chunked = (method: string, target: string, headers: readonly string[], body: Uint8Array): Buffer =>
  Buffer.concat([
    text(`${method} ${target} HTTP/1.1`, 'Host: pacs.test', ...headers, 'Transfer-Encoding: chunked', ''),
    text(body.length.toString(16)),
    body,
    text('', '0', ''),
  ]);

const STUDY = `/dicomweb/studies/${uid(1)}`;
const SERIES = `${STUDY}/series/${uid(2)}`;
const OBJECT = `${SERIES}/instances/${uid(3)}`;

/** Requests that the doors know, one of each kind. */
const REQUESTS: readonly Buffer[] = [
  get('/healthz'),
  get('/dicomweb/studies?PatientName=D*&limit=2&includefield=all'),
  get(`${STUDY}/series`, 'Accept: application/dicom+xml'),
  get(STUDY, 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'),
  get(`${OBJECT}/frames/1`, 'Accept: application/octet-stream', 'Range: bytes=0-3'),
  get(`${OBJECT}/metadata`, 'If-None-Match: "x"', 'Accept-Encoding: gzip'),
  get(`${OBJECT}/bulkdata/7FE00010`, 'Range: bytes=0-1,3-'),
  get(`${OBJECT}/rendered?viewport=10,10&window=1,2,linear`, 'Accept: image/png'),
  get(
    `/wado?requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(3)}&contentType=application/dicom`,
  ),
  get('/api/session', 'Cookie: nephos_session=x; a=b'),
  get('/api/openapi.json', 'Authorization: Bearer nph_x'),
  get('/api/audit?format=fhir&limit=3'),
  get('/api/events?after=&limit=5'),
  put(
    'POST',
    '/api/session',
    ['Content-Type: application/json', 'Origin: http://elsewhere.test'],
    Buffer.from('{"token":"x"}'),
  ),
  put(
    'OPTIONS',
    '/dicomweb/studies',
    ['Access-Control-Request-Method: POST', 'Origin: http://a.test'],
    Buffer.alloc(0),
  ),
  put('DELETE', STUDY, [], Buffer.alloc(0)),
  put(
    'POST',
    '/dicomweb/studies',
    [`Content-Type: ${multipart([]).headers['content-type']}`],
    multipart([buildDicom()]).body,
  ),
  chunked(
    'POST',
    '/dicomweb/studies',
    ['Content-Type: application/dicom', 'Expect: 100-continue'],
    buildDicom({ SOPInstanceUID: uid(9) }),
  ),
  chunked(
    'POST',
    '/api/transactions',
    ['Content-Type: application/json'],
    Buffer.from('{"objects":[{"size":10,"sha256":"00"}]}'),
  ),
  Buffer.concat([get('/healthz'), get('/healthz', 'Connection: close')]),
];

const WORDS = [
  '\r\n', '\n', '\r', ' ', '\t', '\0', ':', '\r\n\r\n', '0\r\n\r\n', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'GET ', 'POST ', 'HEAD ', 'PUT ', 'TRACE ',
  'CONNECT ', 'Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'Content-Length: +5\r\n', 'Content-Length: 99999999999999999999\r\n',
  'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: gzip, chunked\r\n', 'Transfer-Encoding : chunked\r\n', 'Transfer-Encoding:\x0bchunked\r\n',
  'Host: a\r\n', 'Host:\r\n', 'Connection: close\r\n', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', 'Expect: 100-continue\r\n', 'Range: bytes=-1\r\n',
  'X: y\r\n folded\r\n', '5;a=b\r\n', 'ffffffffffffffff\r\n', '%2e%2e/', '%2f', '%00', '%c0%ae', '%', '..', '//', 'http://a.test/', '*', '?', '#', '&',
  'multipart/related; type="application/dicom"; boundary=', 'application/dicom', 'application/dicom+json', 'image/jpeg', 'a'.repeat(20_000),
].map((word) => Buffer.from(word, 'latin1')); // biome-ignore format: a table

const httpGrammar: Grammar = {
  words: [...WORDS, ...REQUESTS],
  structural: [
    /** another request behind the first, or before it */
    (input, random) => {
      const other = random.pick(REQUESTS);
      return random.once(2) ? concat(input, other) : concat(other, input);
    },
    /** a line twice, or not at all */
    (input, random) => {
      const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
      const from = bytes.indexOf('\r\n', random.below(bytes.length)) + 2;
      const to = bytes.indexOf('\r\n', from) + 2;
      if (from < 2 || to < from) return input;
      const line = input.subarray(from, to);
      return random.once(2)
        ? concat(input.subarray(0, to), line, input.subarray(to))
        : concat(input.subarray(0, from), input.subarray(to));
    },
    /** a header behind a line */
    (input, random) => {
      const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
      const at = bytes.indexOf('\r\n', random.below(bytes.length)) + 2;
      return at < 2 ? input : concat(input.subarray(0, at), random.pick(WORDS), input.subarray(at));
    },
  ],
};

/** An answer that streams on (events) is left when nothing has come for this long (ms). */
const QUIET_MS = 150;
/** how long a busy machine may take to say that it is well (ms) */
const PATIENT_MS = 50_000;

/** What node's parser answers by itself: malformed, too slow, an expectation nobody knows, headers too large. */
const OF_NODE: ReadonlySet<number> = new Set([400, 408, 417, 431]);

export const http: Target = {
  name: 'http',
  covers: ['/embedded/http-host', '/dicomweb/', '/api/', '/core/search/query', '/core/search/keys', '/core/retrieve/'],
  grammar: httpGrammar,
  seeds: () => REQUESTS,
  async open() {
    const archive = new SmallArchive();
    const defects: unknown[] = [];
    let asked = 0;
    const server = createHttpHost({
      answer: (request) => {
        asked++;
        if (!request.path.startsWith('/')) throw new Contradiction('a path that does not begin with a slash');
        return archive.answer(request);
      },
      publicUrl: 'http://pacs.test',
      onDefect: (error) => defects.push(error),
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;

    async function exchanged(chunks: Iterable<Uint8Array>, quietMs = QUIET_MS): Promise<Buffer> {
      const socket = connect({ port, host: '127.0.0.1' });
      const answers: Buffer[] = [];
      let heard = performance.now();
      socket.on('data', (chunk: Buffer) => {
        answers.push(chunk);
        heard = performance.now();
      });
      socket.on('error', () => {});
      const closed = once(socket, 'close');
      for (const chunk of chunks) socket.write(chunk);
      socket.end();
      heard = performance.now();
      const watch = setInterval(() => performance.now() - heard > quietMs && socket.destroy(), QUIET_MS / 3);
      await closed;
      clearInterval(watch);
      return Buffer.concat(answers);
    }

    let inputs = 0;
    return {
      async run(input) {
        asked = 0;
        const random = new Random(digestOf(input));
        const answers = await exchanged(random.once(2) ? [input] : chunksOf(input, random, 200));
        const { statuses, rest } = readResponses(answers);
        archive.check();
        const [defect] = defects.splice(0);
        if (defect !== undefined) throw defect;
        if (rest.length > 0 && !rest.toString('latin1').startsWith('HTTP/1.1 '))
          throw new Contradiction('bytes between answers that are none');
        if (statuses.some((status) => status === 500)) throw new Contradiction('an answer of 500');
        if (statuses.filter((status) => status >= 200 && !OF_NODE.has(status)).length > asked)
          throw new Contradiction('more answers than requests');
        if (++inputs % 500 > 0) return;
        const well = readResponses(await exchanged([get('/healthz', 'Connection: close')], PATIENT_MS));
        if (well.statuses[0] !== 200) throw new Contradiction('the server no longer answers');
      },
      close: () =>
        new Promise<void>((resolve) => {
          server.closeAllConnections();
          server.close(() => resolve());
        }),
    };
  },
};
