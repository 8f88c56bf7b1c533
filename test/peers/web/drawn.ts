import type { Page } from 'playwright-core';
import { PATIENCE_MS } from './browser.ts';

export interface Drawn {
  /** different greys */
  readonly levels: number;
  /** share of the canvas that is not black, 0 to 1 */
  readonly lit: number;
  readonly print: string;
}

/** Looks at the largest canvas; runs within the page. */
const LOOK = `(() => {
  const [canvas] = [...document.querySelectorAll('canvas')].sort((a, b) => b.width * b.height - a.width * a.height);
  if (canvas === undefined || canvas.width < 200) return undefined;
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  const levels = new Set();
  let lit = 0;
  let print = 0;
  for (let at = 0; at < data.length; at += 4) {
    const sum = data[at] + data[at + 1] + data[at + 2];
    levels.add(sum);
    if (sum > 24) lit++;
    print = (Math.imul(print, 31) + sum) | 0;
  }
  return { levels: levels.size, lit: lit / (data.length / 4), print: String(print) };
})()`;
const drawn = (page: Page): Promise<Drawn | undefined> => page.evaluate(LOOK);

/** Waits until the canvas shows an image that `accepts` takes, and has stood still for a moment. */
export async function waitForImage(page: Page, accepts: (image: Drawn) => boolean): Promise<Drawn> {
  const deadline = Date.now() + PATIENCE_MS;
  let before = '';
  for (;;) {
    const image = await drawn(page).catch(() => undefined);
    if (image && image.print === before && accepts(image)) return image;
    if (Date.now() > deadline) throw new Error(`no such image was drawn; the last was ${JSON.stringify(image)}`);
    before = image?.print ?? '';
    await page.waitForTimeout(400);
  }
}
