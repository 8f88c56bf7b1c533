import type { Element } from '../dicom/types.ts';

/** Dates and times as sortable digits. Legacy forms are read (1993.05.21, 10:30:00), malformed ones are as absent. */

const MISSING_DATE = '00000000';

/** `YYYYMMDD` of a DA value, or undefined when it is none. */
export function dateDigits(text: string): string | undefined {
  const digits = text.length === 10 ? text.replaceAll('.', '').replaceAll('-', '') : text;
  const day = digits.slice(4);
  return digits.length === 8 && isDigits(digits) && digits >= '0001' && day >= '0101' && day <= '1231'
    ? digits
    : undefined;
}

/** `HHMMSS` and up to six digits of a fraction, as far as given: `1030`, `103000.123` → `103000123`; undefined when it is none. */
export function timeDigits(text: string): string | undefined {
  const digits = text.replaceAll(':', '').replace('.', '');
  return digits.length >= 2 &&
    digits.length <= 12 &&
    digits.length !== 3 &&
    digits.length !== 5 &&
    isDigits(digits) &&
    digits < '24'
    ? digits
    : undefined;
}

/** `YYYYMMDDHHMMSSFFFFFF` as far as given, at least the year; the offset from UTC is not applied. */
export function dateTimeDigits(text: string): string | undefined {
  const local = text.replace(/[+-]\d{4}$/, '').replace('.', '');
  return local.length >= 4 &&
    local.length <= 20 &&
    (local.length === 4 || local.length % 2 === 0 || local.length > 14) &&
    isDigits(local)
    ? local
    : undefined;
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

/** The least and the greatest moment of a value of less than full precision. */
const LEAST = '00000101000000000000';
const GREATEST = '99991231235959999999';
export const leastDateTime = (digits: string): string => digits + LEAST.slice(digits.length);
export const greatestDateTime = (digits: string): string => digits + GREATEST.slice(digits.length);
export const leastTime = (digits: string): string => digits.padEnd(12, '0');
export const greatestTime = (digits: string): string => digits + '235959999999'.slice(digits.length);
