import type { Element } from '../dicom/types.ts';

/** Dates and times as sortable digits. Legacy forms are read (1993.05.21, 10:30:00), malformed ones are as absent. */

const MISSING_DATE = '00000000';

/** `YYYYMMDD` of a DA value, or undefined when it is none. */
export function dateDigits(text: string): string | undefined {
  const digits = text.length === 10 ? text.replaceAll('.', '').replaceAll('-', '') : text;
  return digits.length === 8 && isDigits(digits) ? digits : undefined;
}

/** `HHMMSS` and up to six digits of a fraction, shortened as received: `1030`, `103000.123` → `103000123`; undefined when it is none. */
export function timeDigits(text: string): string | undefined {
  const digits = text.replaceAll(':', '').replace('.', '');
  return digits.length >= 2 && digits.length <= 12 && isDigits(digits) && digits < '24' ? digits : undefined;
}

function isDigits(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x30 || unit > 0x39) return false;
  }
  return true;
}

const firstText = (element: Element | undefined): string | undefined => {
  const value = element?.Value?.[0];
  return typeof value === 'string' ? value.trim() : undefined;
};

/** Eight digits; zeros when there is no date. */
export const dateKey = (element: Element | undefined): string => dateDigits(firstText(element) ?? '') ?? MISSING_DATE;

/** Six digits; zeros when there is no time. */
export const timeKey = (element: Element | undefined): string =>
  (timeDigits(firstText(element) ?? '') ?? '').slice(0, 6).padEnd(6, '0');
