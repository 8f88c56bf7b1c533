const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * A DA or DT (PS3.5 §6.2) moved by days; times of the day and offsets stay. The form of ACR-NEMA (1993.08.22) is read too. Undefined where the text is no
 * date, or has no day to move.
 */
export function shiftDate(text: string, days: number): string | undefined {
  const match = /^(\d{4})\.?(\d{2})\.?(\d{2})((?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?)$/.exec(
    text.trim(),
  );
  if (match === null) return undefined;
  const [, year, month, day, rest] = match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // The day that a month has not is some other day.
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) return undefined;
  const shifted = new Date(date.getTime() + days * DAY_MS);
  const shiftedYear = shifted.getUTCFullYear();
  if (shiftedYear < 1 || shiftedYear > 9999) return undefined;
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${String(shiftedYear).padStart(4, '0')}${two(shifted.getUTCMonth() + 1)}${two(shifted.getUTCDate())}${rest}`;
}

/** Whether a text is a time of the day (PS3.5 §6.2, TM; with colons as ACR-NEMA had it). */
export const isTime = (text: string): boolean => /^\s*\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?)?\s*$/.test(text);
