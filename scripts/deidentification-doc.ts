import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PROFILE_ROWS } from '#core/deidentify/actions.ts';
import { REFUSALS } from '#core/deidentify/judge.ts';

/** The tables of docs/deidentification.md follow from those that copies are made by; a test compares. */
export const DEIDENTIFICATION_DOC = join(import.meta.dirname, '../docs/deidentification.md');

const OPTIONS: Readonly<Record<string, string>> = {
  u: 'retainUIDs K',
  v: 'retainDeviceIdentity K',
  i: 'retainInstitutionIdentity K',
  p: 'retainPatientCharacteristics K',
  P: 'retainPatientCharacteristics C',
  d: 'dates K or C',
  t: 'cleanDescriptors C',
  s: 'cleanStructuredContent C',
  g: 'cleanGraphics C',
};

const attributes = (): string =>
  [
    '| tag | attribute | action | options |',
    '| --- | --- | --- | --- |',
    '| (gggg,eeee), odd group | private attributes | X | retainSafePrivate: those of Table E.3.10-1 K |',
    '| (50xx,eeee) | curves | X | |',
    '| (60xx,eeee) | overlays | X | |',
    ...[...PROFILE_ROWS.values()].map(({ tag, keyword, code, options }) => {
      const named = [...options].flatMap((letter) => OPTIONS[letter] ?? []).join(', ');
      return `| (${tag.slice(0, 4)},${tag.slice(4)}) | ${keyword} | ${code} | ${named} |`;
    }),
  ].join('\n');

const refusals = (): string =>
  ['| code | |', '| --- | --- |', ...Object.entries(REFUSALS).map(([code, text]) => `| \`${code}\` | ${text} |`)].join(
    '\n',
  );

const between = (document: string, name: string, text: string): string =>
  document.replace(
    new RegExp(`(<!-- ${name} -->)[\\s\\S]*?(<!-- /${name} -->)`),
    (_, start: string, end: string) => `${start}\n${text}\n${end}`,
  );

/** The document with its tables as they are to be. */
export const deidentificationDocument = (): string =>
  between(between(readFileSync(DEIDENTIFICATION_DOC, 'utf8'), 'refusals', refusals()), 'attributes', attributes());

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(DEIDENTIFICATION_DOC, deidentificationDocument());
}
