import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync, type Stats } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { PacsError } from '#core/errors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import {
  consolePolicy,
  ENTRY_PAGES,
  HASHED,
  ISOLATION_HEADERS,
  LEFT_OUT,
  LINK_FILE,
  LINK_HEADERS,
  LINK_PAGE,
  MEDIA_TYPES,
  VIEWER_PAGES,
  viewerPolicyOf,
} from './site-rules.ts';

/**
 * The two web applications of one origin: the console (web/dist) at `/`, and the viewer (the package @ohif/app) at `/viewer`.
 *
 * Both stand at the root, the console laid over the viewer, as they would in one bucket: the console keeps to `index.html`
 * and `/console/`, the viewer has everything else, and `app-config.js` of the console takes the place of the viewer's own.
 * The files are listed before they are asked for: what is not in the list does not exist, so no path can lead out of the folders.
 */
export interface StaticSiteOptions {
  /** folder of the built console; default `web/dist` of this project */
  readonly consoleDir?: string;
  /** folder of the prebuilt viewer; default that of the package @ohif/app */
  readonly viewerDir?: string;
  /** where compressed copies are kept, so that each file is compressed once; may be removed at any time */
  readonly cacheDir?: string;
}

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const COMPRESSIBLE = new Set([
  '.css',
  '.html',
  '.js',
  '.json',
  '.jsonc',
  '.mjs',
  '.svg',
  '.txt',
  '.wasm',
  '.webapp',
  '.xml',
]);
/** below this a compressed copy saves no packet (bytes) */
const COMPRESS_FROM_BYTES = 1_024;
/** files up to this are answered from one buffer, larger ones streamed (bytes) */
const WHOLE_BYTES = 256 * 1024;

const READING = ['GET', 'HEAD'];

type Encoding = 'br' | 'gzip' | 'identity';

interface Asset {
  readonly path: string;
  readonly file: string;
  readonly isViewer: boolean;
}

/** One version of a file's bytes. */
interface Content {
  /** size, time and inode of the file it was read from: another build shows itself by them */
  readonly stamp: string;
  readonly sha256: string;
  readonly size: number;
}

/**
 * Answers GET and HEAD of the console and the viewer; undefined where neither has such a path, so the host goes on.
 */
export function staticSite(
  options: StaticSiteOptions = {},
): (request: HttpRequest) => Promise<HttpResponse | undefined> {
  const consoleDir = resolve(options.consoleDir ?? join(PROJECT, 'web/dist'));
  const viewerDir = resolve(options.viewerDir ?? join(PROJECT, 'node_modules/@ohif/app/dist'));
  const viewerAssets = new Map<string, Asset>();
  for (const [path, file] of listFiles(viewerDir)) {
    if (!LEFT_OUT.test(path)) viewerAssets.set(path, { path, file, isViewer: true });
  }
  const consoleAssets = builtConsole(consoleDir);
  const viewerPage: Asset = { path: '/viewer', file: join(viewerDir, 'index.html'), isViewer: true };
  const copies = compressedCopies(resolve(options.cacheDir ?? join(PROJECT, 'node_modules/.cache/nephos')));
  const contents = new Map<string, Content>();
  const viewerPolicy = viewerPolicyOf(readPage(viewerPage.file));

  const find = async (path: string): Promise<Asset | undefined> => {
    if (VIEWER_PAGES.test(path)) return viewerPage;
    if (LINK_PAGE.test(path)) return consoleAssets(LINK_FILE);
    const isEntry = path === '/' || ENTRY_PAGES.test(path);
    return (await consoleAssets(isEntry ? '/index.html' : path)) ?? viewerAssets.get(path);
  };

  return async (request) => {
    const asset = await find(request.path);
    if (asset === undefined) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return errorResponse(new PacsError('METHOD_NOT_ALLOWED', 'pages are read', { details: { allow: READING } }))
        .response;
    }
    const content = await contentOf(asset, contents);
    if (content === undefined) return undefined;
    const extension = extname(asset.file);
    const mayCompress = COMPRESSIBLE.has(extension) && content.size >= COMPRESS_FROM_BYTES;
    const encoding = mayCompress ? chooseEncoding(request.headers['accept-encoding']) : 'identity';
    const etag = `"${content.sha256.slice(0, 32)}${encoding === 'identity' ? '' : `-${encoding}`}"`;
    const headers: Record<string, string> = {
      'content-type': MEDIA_TYPES[extension] ?? 'application/octet-stream',
      'cache-control': HASHED.test(asset.path) ? 'public, max-age=31536000, immutable' : 'no-cache',
      etag,
      ...(mayCompress ? { vary: 'accept-encoding' } : {}),
      ...securityHeaders(asset, viewerPolicy),
      ...(request.path.startsWith('/s/') && LINK_HEADERS),
    };
    if (matches(request.headers['if-none-match'], etag)) return { status: 304, headers };
    const copy = encoding === 'identity' ? undefined : await copies(asset.file, content, encoding);
    if (copy !== undefined) headers['content-encoding'] = encoding;
    else if (encoding !== 'identity') headers.etag = `"${content.sha256.slice(0, 32)}"`;
    const { file, size } = copy ?? { file: asset.file, size: content.size };
    headers['content-length'] = String(size);
    if (request.method === 'HEAD') return { status: 200, headers };
    return { status: 200, headers, body: size <= WHOLE_BYTES ? await readFile(file) : createReadStream(file) };
  };
}

/**
 * The console's files by path. Listed again when it has been built anew meanwhile: its page then names files that the first
 * list did not have.
 */
function builtConsole(folder: string): (path: string) => Promise<Asset | undefined> {
  const list = () => new Map([...listFiles(folder)].map(([path, file]) => [path, { path, file, isViewer: false }]));
  const build = async () => {
    const page = await stat(join(folder, 'index.html')).catch(() => undefined);
    return page && stampOf(page);
  };
  let assets = list();
  let listed: string | undefined;
  return async (path) => {
    const known = assets.get(path);
    if (known !== undefined || !(path === '/index.html' || path === LINK_FILE || path.startsWith('/console/')))
      return known;
    const built = await build();
    if (built === listed) return undefined;
    assets = list();
    listed = built;
    return assets.get(path);
  };
}

/** `/console/index-1a2b3c4d.js` → its file; nothing where the folder is absent (the console is not built yet). */
function* listFiles(folder: string): Generator<[path: string, file: string]> {
  let entries: import('node:fs').Dirent[];
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    yield [file.slice(folder.length).replaceAll(sep, '/'), file];
  }
}

/** npm gives every file the same time of change, and two files written within one tick of a clock have the same of any kind. */
const stampOf = ({ size, ctimeMs, ino }: Stats): string => `${size}-${ctimeMs}-${ino}`;

/** The digest of a file, taken again when the file has changed; undefined when it is gone. */
async function contentOf(asset: Asset, known: Map<string, Content>): Promise<Content | undefined> {
  const found = await stat(asset.file).catch(() => undefined);
  if (found === undefined) return undefined;
  const stamp = stampOf(found);
  const before = known.get(asset.file);
  if (before?.stamp === stamp) return before;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(asset.file)) hash.update(chunk);
  const content = { stamp, sha256: hash.digest('hex'), size: found.size };
  known.set(asset.file, content);
  return content;
}

const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);

type Copies = (
  file: string,
  content: Content,
  encoding: 'br' | 'gzip',
) => Promise<{ file: string; size: number } | undefined>;

/**
 * Compressed copies on disk under the digest of what they hold: shared by all processes of the host and by its next start.
 * The first reader of a file waits for it (17 MB take about a second); undefined where the folder cannot be written.
 */
function compressedCopies(folder: string): Copies {
  const ready = new Map<string, Promise<{ file: string; size: number } | undefined>>();
  const make = async (file: string, content: Content, encoding: 'br' | 'gzip') => {
    const copy = join(folder, `${content.sha256}.${encoding}`);
    const made = await stat(copy).catch(() => undefined);
    if (made !== undefined) return { file: copy, size: made.size };
    const bytes = await readFile(file);
    const compressed =
      encoding === 'br'
        ? await compressBrotli(bytes, {
            params: { [constants.BROTLI_PARAM_QUALITY]: 6, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
          })
        : await compressGzip(bytes, { level: 6 });
    // Written aside and renamed, so that no other process ever reads a half.
    const aside = `${copy}.${process.pid}.part`;
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(aside, compressed);
      await rename(aside, copy);
    } catch {
      await rm(aside, { force: true }).catch(() => {});
      return undefined;
    }
    return { file: copy, size: compressed.length };
  };
  return async (file, content, encoding) => {
    const key = `${content.sha256}.${encoding}`;
    const before = await ready.get(key);
    if (before !== undefined && (await stat(before.file).catch(() => undefined)) !== undefined) return before;
    if (before !== undefined || !ready.has(key)) ready.set(key, make(file, content, encoding));
    return ready.get(key);
  };
}

/** By quality value (RFC 9110 §12.5.3); between equals brotli, which is smaller. */
export function chooseEncoding(accepted: string | undefined): Encoding {
  if (accepted === undefined) return 'identity';
  const quality = new Map<string, number>();
  for (const part of accepted.toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim());
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    quality.set(name, q === undefined ? 1 : Number(q) || 0);
  }
  const of = (name: string) => quality.get(name) ?? quality.get('*') ?? 0;
  const best = of('br') >= of('gzip') ? 'br' : 'gzip';
  // identity is acceptable unless excluded, but a client that names an encoding wants it.
  return of(best) > 0 && of(best) >= (quality.get('identity') ?? 0) ? best : 'identity';
}

const matches = (ifNoneMatch: string | undefined, etag: string): boolean =>
  ifNoneMatch?.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag) ?? false;

/** The page of the viewer; empty where its package is not installed. */
function readPage(page: string): string {
  try {
    return readFileSync(page, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return '';
  }
}

function securityHeaders(asset: Asset, viewerPolicy: string): Record<string, string> {
  return {
    'content-security-policy': asset.isViewer ? viewerPolicy : consolePolicy(),
    ...ISOLATION_HEADERS,
  };
}
