import type { DataSet, Element, PersonName } from './types.ts';

/** The value of an element as one text, as it would stand in an identifier: values parted by backslashes, groups of names by `=`. */
export function textOf(element: Element | undefined): string {
  return (element?.Value ?? [])
    .map((value) => {
      if (value === null) return '';
      if (typeof value !== 'object') return String(value);
      const { Alphabetic = '', Ideographic = '', Phonetic = '' } = value as PersonName;
      return [Alphabetic, Ideographic, Phonetic].join('=').replace(/=+$/, '');
    })
    .join('\\');
}

/** The first value of an attribute, where that is a text (a UID, a code). */
export function firstString(dataSet: DataSet, tag: string): string | undefined {
  const value = dataSet[tag]?.Value?.[0];
  return typeof value === 'string' ? value : undefined;
}
