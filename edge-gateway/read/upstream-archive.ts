import { doubledMs, retryAfterMs } from '#core/backoff.ts';
import { jsonToDataSet } from '#core/dicom/json.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Level } from '#core/search/attributes.ts';
import { parseMediaType } from '#dicomweb/media-type.ts';
import { readMultipart } from '#dicomweb/multipart.ts';
import { NotBefore } from '../not-before.ts';
import type { Upstream, UpstreamResponse } from '../upstream.ts';

/** A study, or a series or instance of it. */
export interface UpstreamPath {
  readonly StudyInstanceUID?: string | undefined;
  readonly SeriesInstanceUID?: string | undefined;
  readonly SOPInstanceUID?: string | undefined;
}

export interface UpstreamArchiveOptions {
  /** how long an answer to a question may keep one waiting, for its start and for each further piece (ms) */
  readonly queryMs: number;
  /** rows asked for at a time */
  readonly pageRows: number;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly warning: string;
}

const DEFAULTS: UpstreamArchiveOptions = { queryMs: 4_000, pageRows: 500 };
/** After a question that got no answer in time, none is asked for this long; twice as long after each further one. */
const SILENCE = { firstMs: 5_000, mostMs: 60_000 } as const;
const ROWS_BYTES = 64 * 1024 * 1024;
const SEGMENT: Readonly<Record<Level, string>> = { study: 'studies', series: 'series', instance: 'instances' };
const AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*';

/**
 * The archive upstream as its clients see it: QIDO-RS (PS3.18 §10.6) and WADO-RS (§10.4) of any DICOMweb server. Questions are asked
 * on behalf of somebody who waits: each has a short time limit, and an archive that was silent is left alone for a while.
 */
export class UpstreamArchive {
  readonly upstream: Upstream;
  readonly #clock: Clock;
  readonly #options: UpstreamArchiveOptions;
  #silentAt = 0;
  readonly #silent = new NotBefore();
  #silences = 0;

  constructor(upstream: Upstream, clock: Clock, options: Partial<UpstreamArchiveOptions> = {}) {
    this.upstream = upstream;
    this.#clock = clock;
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Whether asking has a chance to be answered in time. */
  get isAnswering(): boolean {
    const { lastContactAt = 0 } = this.upstream.state;
    return this.upstream.isReachable && (this.#silent.left(this.#clock.now()) === 0 || lastContactAt > this.#silentAt);
  }

  /**
   * The rows of a search, page by page, each as soon as it is there. `parameters`: keys and includefield.
   * @throws PacsError BUSY, OUTCOME_UNKNOWN where no answer came; NOT_ACCEPTABLE where the server does not answer such a question
   */
  async *search(
    level: Level,
    { StudyInstanceUID, SeriesInstanceUID }: UpstreamPath,
    parameters: URLSearchParams,
    signal: AbortSignal,
  ): AsyncGenerator<readonly DataSet[]> {
    const parts = ['', ...(StudyInstanceUID === undefined ? [] : ['studies', StudyInstanceUID])];
    if (SeriesInstanceUID !== undefined) parts.push('series', SeriesInstanceUID);
    const path = [...parts, SEGMENT[level]].join('/');
    const { pageRows } = this.#options;
    let asked = parameters;
    let before: string | undefined;
    for (let offset = 0; ; ) {
      const query = new URLSearchParams(asked);
      query.set('limit', String(pageRows));
      if (offset > 0) query.set('offset', String(offset));
      const { status, text, warning } = await this.#ask(`${path}?${queryText(query)}`, signal);
      if (status === 400 && asked.has('includefield')) {
        // Some servers refuse attributes that they do not index, others leave them out.
        asked = new URLSearchParams(asked);
        asked.delete('includefield');
        continue;
      }
      // No match: 204 in some servers, 404 in others (PS3.18 before 2021).
      if (status === 204 || status === 404) return;
      if (status !== 200)
        throw new PacsError('NOT_ACCEPTABLE', `the upstream answered ${status}`, { details: { status, level } });
      // A server that does not know `offset` says the same again.
      if (text === before) return;
      before = text;
      const rows = rowsOf(text).map((row) => ({ ...uidsOf(StudyInstanceUID, SeriesInstanceUID), ...row }));
      if (rows.length > 0) yield rows;
      offset += rows.length;
      if (rows.length === 0 || (rows.length < pageRows && !isCutShort(rows.length, warning))) return;
    }
  }

  /**
   * The objects of an instance, a series or a study, each as it is stored there; to be read one after the other.
   * @throws PacsError NOT_FOUND; BUSY, OUTCOME_UNKNOWN where it did not come
   */
  async *retrieve(path: UpstreamPath, signal: AbortSignal): AsyncGenerator<AsyncIterable<Uint8Array>> {
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = path;
    const parts = ['', 'studies', StudyInstanceUID];
    if (SeriesInstanceUID !== undefined) parts.push('series', SeriesInstanceUID);
    if (SOPInstanceUID !== undefined) parts.push('instances', SOPInstanceUID);
    const headers = { accept: AS_STORED };
    const response = await this.upstream.request({
      method: 'GET',
      path: parts.join('/'),
      headers,
      mayBeCold: true,
      signal,
    });
    if (response.status !== 200 && response.status !== 206) {
      await response.discard();
      throw refusalOf(response, this.#clock.now());
    }
    const { type, parameters } = parseMediaType(response.headers['content-type'] ?? '');
    if (type === 'multipart/related') {
      for await (const part of readMultipart(response.body, parameters.boundary ?? '')) yield part.body;
    } else if (type === 'application/dicom') yield response.body;
    else {
      await response.discard();
      throw new PacsError('NOT_ACCEPTABLE', 'the upstream did not send DICOM', { details: { type } });
    }
  }

  /** A question may be asked twice: a connection that had been idle may just have been closed. */
  async #ask(path: string, signal: AbortSignal): Promise<Answer> {
    try {
      return await this.#askOnce(path, signal);
    } catch (error) {
      const broken = error instanceof PacsError && error.code === 'OUTCOME_UNKNOWN';
      if (!broken || signal.aborted || !this.isAnswering) throw error;
      return this.#askOnce(path, signal);
    }
  }

  async #askOnce(path: string, signal: AbortSignal): Promise<Answer> {
    if (!this.isAnswering) throw new PacsError('BUSY', 'the upstream is not answering');
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(), this.#options.queryMs);
    try {
      const response = await this.upstream.request({
        method: 'GET',
        path,
        headers: { accept: 'application/dicom+json' },
        signal: AbortSignal.any([signal, silent.signal]),
      });
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body) {
        // Slow is not silent: a long answer may take its time over a thin link.
        timer.refresh();
        size += chunk.byteLength;
        if (size > ROWS_BYTES) throw new PacsError('NOT_ACCEPTABLE', 'the answer of the upstream is too long');
        chunks.push(chunk);
      }
      this.#silences = 0;
      const text = Buffer.concat(chunks).toString('utf8');
      return { status: response.status, text, warning: response.headers.warning ?? '' };
    } catch (error) {
      if (silent.signal.aborted) {
        this.#silentAt = this.#clock.now();
        this.#silent.set(this.#silentAt, this.#silentAt + doubledMs(++this.#silences, SILENCE));
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** `,` and `\` part values: they stay as they are, for servers that split before they decode. */
const queryText = (query: URLSearchParams): string => query.toString().replaceAll('%2C', ',');

/**
 * A page that is not full ends the list, unless the server says that there is more (PS3.18 §8.3.4.4), or has a limit of its own: those
 * are round numbers.
 */
const isCutShort = (rows: number, warning: string): boolean => /\b299\b/.test(warning) || rows % 50 === 0;

function rowsOf(text: string): DataSet[] {
  if (text.trim() === '') return [];
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (cause) {
    throw new PacsError('NOT_ACCEPTABLE', 'the upstream did not answer in JSON', { cause });
  }
  if (!Array.isArray(rows)) throw new PacsError('NOT_ACCEPTABLE', 'the upstream did not answer with a list');
  return rows.map(rowOf);
}

/** What of a row is well-formed: a value that its VR does not permit must not hide the study. */
function rowOf(row: unknown): DataSet {
  try {
    return jsonToDataSet(row);
  } catch {
    const kept: DataSet = {};
    for (const [tag, element] of Object.entries((row ?? {}) as object)) {
      try {
        Object.assign(kept, jsonToDataSet({ [tag]: element }));
      } catch {
        // This one is left out.
      }
    }
    return kept;
  }
}

/** What the path says need not be in the rows. */
const uidsOf = (study: string | undefined, series: string | undefined): DataSet => ({
  ...(study !== undefined && { '0020000D': { vr: 'UI', Value: [study] } }),
  ...(series !== undefined && { '0020000E': { vr: 'UI', Value: [series] } }),
});

const refusalOf = ({ status, headers }: UpstreamResponse, now: number): PacsError => {
  const askedMs = retryAfterMs(headers['retry-after'], now) ?? 0;
  const details = { status, ...(askedMs > 0 && { retryAfterMs: askedMs }) };
  if (status === 404 || status === 410) return new PacsError('NOT_FOUND', 'the upstream does not have it', { details });
  if (status === 429 || status >= 500) return new PacsError('BUSY', `the upstream answered ${status}`, { details });
  return new PacsError('NOT_ACCEPTABLE', `the upstream answered ${status}`, { details });
};
