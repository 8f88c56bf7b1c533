import { existsSync, mkdirSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { projectRoot } from '../helpers/nephos.ts';

const EXECUTABLE = '/usr/bin/chromium';

/** Draws WebGL without a graphics card, and nothing else by way of it: pages cost less to draw by themselves. Keeps to the machine. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--disable-gpu-compositing',
  '--disable-gpu-rasterization',
];

/** For everything that is waited for on a page: viewer and archive may share two processors with all else. */
export const PATIENCE_MS = 60_000;

/** Debian's Chromium with a profile of its own. */
export const openBrowser = (): Promise<Browser> => chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });

export interface WatchedPage {
  readonly page: Page;
  /** what the page complained of: failed scripts, refused resources, broken policies */
  readonly complaints: string[];
}

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    acceptDownloads: true,
    ...options,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`${error.name}: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  return { page, complaints };
}

/** Files and folders from the file manager onto the page, as the operating system hands them over. */
export async function dropFiles(page: Page, paths: readonly string[]): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [...paths], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await session.send('Input.dispatchDragEvent', { type, x: 400, y: 300, data });
  }
  await session.detach();
}

/** The test data beside the project; its suites run where it is there. */
export const corpus = join(projectRoot, '../shared/testdata/dicom');
export const hasCorpus = existsSync(corpus);

/** Files below a folder (or the one file), in the order of their names. */
export async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [path];
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** A file of pixels alone (Explicit VR Little Endian) with the patient, study and series that an archive asks for. */
export function withStudy(file: Buffer, uid: string): Buffer {
  const element = (group: number, number: number, vr: string, value: string) => {
    const padded = value.length % 2 === 0 ? value : `${value}${vr === 'UI' ? '\0' : ' '}`;
    const head = Buffer.alloc(8);
    head.writeUInt16LE(group, 0);
    head.writeUInt16LE(number, 2);
    head.write(vr, 4, 'latin1');
    head.writeUInt16LE(padded.length, 6);
    return Buffer.concat([head, Buffer.from(padded, 'latin1')]);
  };
  const samplesPerPixel = file.indexOf(Buffer.from([0x28, 0, 0x02, 0, 0x55, 0x53]));
  return Buffer.concat([
    file.subarray(0, samplesPerPixel),
    element(0x0008, 0x0020, 'DA', '20240305'),
    element(0x0008, 0x0060, 'CS', 'OT'),
    element(0x0010, 0x0010, 'PN', 'Test^Wavelet'),
    element(0x0010, 0x0020, 'LO', 'HT1'),
    element(0x0020, 0x000d, 'UI', uid),
    element(0x0020, 0x000e, 'UI', `${uid}.1`),
    element(0x0020, 0x0013, 'IS', '1'),
    file.subarray(samplesPerPixel),
  ]);
}

/** Stores files by STOW-RS, without the page. @returns the StudyInstanceUID and SeriesInstanceUID of the first. */
export async function store(
  root: string,
  files: readonly (string | Buffer)[],
): Promise<{ study: string; series: string }> {
  const boundary = 'nephos-test';
  const parts: Buffer[] = [];
  for (const file of files) {
    const bytes = typeof file === 'string' ? await readFile(file) : file;
    parts.push(Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`), bytes, Buffer.from('\r\n'));
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`));
  const response = await fetch(`${root}/studies`, {
    method: 'POST',
    headers: {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      accept: 'application/dicom+json',
    },
    body: Buffer.concat(parts),
  });
  const answer = (await response.json()) as Record<string, { Value?: Record<string, { Value?: string[] }>[] }>;
  const url = answer['00081199']?.Value?.[0]?.['00081190']?.Value?.[0] ?? '';
  const match = /\/studies\/([0-9.]+)\/series\/([0-9.]+)/.exec(url);
  if (!response.ok || match === null)
    throw new Error(`STOW answered ${response.status}: ${JSON.stringify(answer).slice(0, 500)}`);
  return { study: match[1]!, series: match[2]! };
}

/** Where pictures of the pages are kept for people to look at; nowhere unless asked for. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.NEPHOS_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
