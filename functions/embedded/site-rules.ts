import { createHash } from 'node:crypto';

/**
 * What console and viewer need of whoever serves them, the embedded host or CloudFront: which files, at which addresses, with which
 * headers. No files are read here.
 */

/** The page of whoever was sent a share link; the secret stands behind the `#`, and comes to no server with the address. */
export const LINK_PAGE = /^\/s\/[0-9A-Z]{26}\/?$/;
/** its file, among those of the console */
export const LINK_FILE = '/share.html';

/** Where other programs send people to (docs/launch.md): pages of the console, which read what they were sent with. */
export const ENTRY_PAGES = /^\/(iid|launch)\/?$/;

/** The viewer's modes: addresses that only its router knows. `/viewer/nephos` names the data source as well. Guests have them below their link's address. */
export const VIEWER_PAGES =
  /^(?:\/s\/[0-9A-Z]{26})?\/(viewer|basic|segmentation|tmtv|microscopy|dynamic-volume|usAnnotation)(\/nephos)?\/?$/;

/** Of the viewer's package, what must not be served: its service worker, hosts' files, sign-in pages of others, source maps. */
export const LEFT_OUT =
  /\.map$|^\/(sw\.js|google\.js|_headers|_redirects|serve\.json|silent-refresh\.html|oidc-client\.min\.js|index\.html|app-config\.js)$/;

export const MEDIA_TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.jsonc': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webapp': 'application/x-web-app-manifest+json',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
};

/** Names that hold a digest of the content never stand for other content. */
export const HASHED = /^\/console\/.+-[\w-]{8}\.\w+$|[./][0-9a-f]{16,20}\.(js|wasm|woff2|css)$/;

/** COOP and COEP give the viewer its SharedArrayBuffers. */
export const ISOLATION_HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
} as const;

/** Pages below a link's address tell nobody where they stand. */
export const LINK_HEADERS = { 'referrer-policy': 'no-referrer', 'x-robots-tag': 'noindex, nofollow' } as const;

/** The console's policy allows nothing but its own files, and the places where bytes are fetched from and sent to directly. */
export const consolePolicy = (direct: readonly string[] = []): string =>
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
  `connect-src ${["'self'", ...direct].join(' ')}; ` +
  "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/**
 * The viewer's has to allow code made from strings, by which its image maths and its wasm decoders call their functions, and inline
 * styles. Its page has inline scripts; they are allowed by the digests of their text, so no other one runs.
 */
export function viewerPolicyOf(page: string, direct: readonly string[] = []): string {
  const inline = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`,
  );
  return (
    `default-src 'none'; script-src 'self' 'unsafe-eval' ${inline.join(' ')}; worker-src 'self' blob:; ` +
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; " +
    `connect-src ${["'self'", 'blob:', 'data:', ...direct].join(' ')}; ` +
    "frame-src 'self' blob:; object-src 'self' blob:; manifest-src 'self'; " +
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
  );
}
