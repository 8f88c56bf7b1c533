import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { LEFT_OUT, MEDIA_TYPES } from '#embedded/site-rules.ts';

const ROOT = join(import.meta.dirname, '..');
const CONSOLE = join(ROOT, 'web/dist');
const VIEWER = join(ROOT, 'node_modules/@ohif/app/dist');

/** The viewer's page under a name of its own: `index.html` is the console's. */
export const VIEWER_PAGE = 'viewer.html';

/** The page as the package has it, for the digests of its inline scripts; empty where the package is not installed. */
export function viewerPage(): string {
  const file = join(VIEWER, 'index.html');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

export interface SiteSource {
  readonly folder: string;
  readonly leftOut: readonly string[];
}

/** The two folders that the site is laid together from, and what is left out of each; paths as `aws s3 sync` excludes them. */
export function siteSources(): SiteSource[] {
  const viewerLeftOut = [...names(VIEWER)].filter((name) => LEFT_OUT.test(`/${name}`));
  return [
    { folder: VIEWER, leftOut: viewerLeftOut },
    { folder: CONSOLE, leftOut: [] },
  ];
}

/** Everything that belongs into the site's bucket: key, file, media type. */
export function siteFiles(): { readonly key: string; readonly file: string; readonly mediaType: string }[] {
  const files = new Map<string, string>([[VIEWER_PAGE, join(VIEWER, 'index.html')]]);
  for (const { folder, leftOut } of siteSources()) {
    for (const name of names(folder)) if (!leftOut.includes(name)) files.set(name, join(folder, name));
  }
  return [...files].map(([key, file]) => ({
    key,
    file,
    mediaType: MEDIA_TYPES[extname(key)] ?? 'application/octet-stream',
  }));
}

function* names(folder: string): Generator<string> {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) yield relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/');
  }
}
