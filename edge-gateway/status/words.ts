import { type Html, html } from '#core/markup.ts';

export const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`;

export function bytes(size: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let value = size;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return count(seconds, 'second');
  if (seconds < 5_400) return count(Math.round(seconds / 60), 'minute');
  return seconds < 172_800 ? count(Math.round(seconds / 3_600), 'hour') : count(Math.round(seconds / 86_400), 'day');
}

export const ago = (now: number, at: number): string => `${span(now - at)} ago`;
/** Local time, as the schedule's is. */
export const clockTime = (at: number): Html => {
  const time = new Date(at);
  const two = (part: number): string => String(part).padStart(2, '0');
  return html`<time datetime="${time.toISOString()}">${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}</time>`;
};
