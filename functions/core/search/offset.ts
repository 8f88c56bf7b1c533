import { dateDigits, dateTimeDigits, timeDigits } from './values.ts';

/** Offsets from UTC, and what clocks of another one show. */
const MINUTE_MS = 60_000;
/** The earliest and the latest zone there are (PS3.3 C.12.1.1.8), in minutes. */
export const ZONES = { least: -12 * 60, greatest: 14 * 60 };

/** Minutes east of UTC: `+0130` is 90; undefined when the text is no offset. */
export function offsetMinutes(text: string): number | undefined {
  const match = /^([+-])(\d\d)([0-5]\d)$/.exec(text.trim());
  if (match === null || match[0] === '-0000') return undefined;
  const minutes = (Number(match[2]) * 60 + Number(match[3])) * (match[1] === '-' ? -1 : 1);
  return minutes >= ZONES.least && minutes <= ZONES.greatest ? minutes : undefined;
}

export const offsetText = (minutes: number): string => {
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`;
};
const two = (value: number): string => String(value).padStart(2, '0');

/** `date` may be absent: the time of day alone is moved. undefined: date or time says nothing, and so nothing is moved. */
export function movedBy(
  date: string,
  time: string,
  minutes: number,
): { date: string | undefined; time: string } | undefined {
  const digits = timeDigits(time);
  if (digits === undefined) return undefined;
  const day = dateDigits(date);
  const [whole, fraction = ''] = [digits.slice(0, 6), digits.slice(6)];
  const ms = momentOf(day ?? '20000101', whole.padEnd(6, '0')) + minutes * MINUTE_MS;
  // There is no 31st of February, but there are objects that were made on it.
  if (Number.isNaN(ms)) return undefined;
  const moment = new Date(ms).toISOString();
  // As precise as before; an offset that is no whole hour needs the minutes.
  const precision = whole.length === 2 && minutes % 60 !== 0 ? 4 : whole.length;
  const movedTime = moment.slice(11, 19).replaceAll(':', '').slice(0, precision);
  return {
    date: day === undefined ? undefined : moment.slice(0, 10).replaceAll('-', ''),
    time: fraction === '' ? movedTime : `${movedTime}.${fraction}`,
  };
}

/** Milliseconds of `YYYYMMDD`, `HHMMSS`, as if they were of UTC; NaN: no such day or time. */
export const momentOf = (day: string, time: string): number =>
  Date.parse(
    `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4, 6)}Z`,
  );

/** A value with an offset of its own is read by that; one without a time of day is a date, and stays. */
export function dateTimeInZone(text: string, own: number | undefined, zone: number): string {
  const from = /[+-]\d{4}$/.test(text) ? offsetMinutes(text.slice(-5)) : own;
  const digits = dateTimeDigits(text);
  if (from === undefined || from === zone || digits === undefined || digits.length < 10)
    return from === zone ? text.replace(/[+-]\d{4}$/, '') : text;
  const moved = movedBy(digits.slice(0, 8), digits.slice(8), zone - from);
  return moved?.date === undefined ? text : moved.date + moved.time;
}
