import type { DataSet } from '../dicom/types.ts';
import { escapeMarkup } from '../markup.ts';
import { itemsAt, numberAt, textAt } from './attributes.ts';

/**
 * Structured reports, key object selections and other SR documents (PS3.3 C.17.3) as text and as HTML: a plain tree in the order of
 * the content. Every value is escaped; the page holds neither scripts nor references.
 */
interface Line {
  readonly depth: number;
  readonly name: string;
  readonly value: string;
  readonly container: boolean;
}

/** deeper content is cut: nobody reads it, and a hostile tree ends here */
const DEPTH = 32;
const LINES = 20_000;

function linesOf(dataSet: DataSet): Line[] {
  const lines: Line[] = [];
  const walk = (item: DataSet, depth: number): void => {
    if (lines.length >= LINES || depth > DEPTH) return;
    const container = textAt(item, '0040A040') === 'CONTAINER';
    const name = meaning(itemsAt(item, '0040A043')[0]) ?? '';
    if (depth > 0) lines.push({ depth, name, value: container ? '' : contentOf(item), container });
    for (const child of itemsAt(item, '0040A730')) walk(child, depth + 1);
  };
  walk(dataSet, 0);
  return lines;
}

const meaning = (code: DataSet | undefined): string | undefined => textAt(code, '00080104') ?? textAt(code, '00080100');

function contentOf(item: DataSet): string {
  switch (textAt(item, '0040A040')) {
    case 'TEXT':
      return textAt(item, '0040A160') ?? '';
    case 'CODE':
      return meaning(itemsAt(item, '0040A168')[0]) ?? '';
    case 'NUM': {
      const measured = itemsAt(item, '0040A300')[0];
      const unit = textAt(itemsAt(measured, '004008EA')[0], '00080100');
      return [textAt(measured, '0040A30A') ?? '', unit === '1' ? '' : (unit ?? '')].join(' ').trim();
    }
    case 'PNAME':
      return nameText(textAt(item, '0040A123'));
    case 'DATE':
      return dateText(textAt(item, '0040A121'));
    case 'TIME':
      return timeText(textAt(item, '0040A122'));
    case 'DATETIME': {
      const text = textAt(item, '0040A120') ?? '';
      return `${dateText(text.slice(0, 8))} ${timeText(text.slice(8))}`.trim();
    }
    case 'UIDREF':
      return textAt(item, '0040A124') ?? '';
    case 'IMAGE':
    case 'COMPOSITE':
    case 'WAVEFORM': {
      const reference = itemsAt(item, '00081199')[0];
      const frame = numberAt(reference, '00081160');
      return `${textAt(reference, '00081155') ?? ''}${frame === undefined ? '' : `, frame ${frame}`}`;
    }
    case 'SCOORD':
    case 'SCOORD3D':
      return `${textAt(item, '00700023') ?? ''} of ${Math.floor((item['00700022']?.Value?.length ?? 0) / 2)} points`;
    default:
      return '';
  }
}

const nameText = (name: string | undefined): string => (name ?? '').replace(/\^+/g, ' ').trim();
const dateText = (text: string | undefined): string =>
  text !== undefined && /^\d{8}$/.test(text)
    ? `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6, 8)}`
    : (text ?? '');
const timeText = (text: string | undefined): string =>
  text !== undefined && /^\d{4}/.test(text)
    ? `${text.slice(0, 2)}:${text.slice(2, 4)}${/^\d{6}/.test(text) ? `:${text.slice(4, 6)}` : ''}`
    : (text ?? '');

function headOf(dataSet: DataSet): (readonly [string, string])[] {
  const state = [textAt(dataSet, '0040A491'), textAt(dataSet, '0040A493')]
    .filter((text) => text !== undefined)
    .join(', ');
  const rows: [string, string][] = [
    ['Patient', nameText(textAt(dataSet, '00100010'))],
    ['Patient ID', textAt(dataSet, '00100020') ?? ''],
    ['Birth date', dateText(textAt(dataSet, '00100030'))],
    ['Study', [dateText(textAt(dataSet, '00080020')), textAt(dataSet, '00081030') ?? ''].join(' ').trim()],
    ['Accession number', textAt(dataSet, '00080050') ?? ''],
    ['Date', `${dateText(textAt(dataSet, '00080023'))} ${timeText(textAt(dataSet, '00080033'))}`.trim()],
    ['State', state],
  ];
  return rows.filter(([, value]) => value !== '');
}

const titleOf = (dataSet: DataSet): string => meaning(itemsAt(dataSet, '0040A043')[0]) ?? 'Report';

/** @param mark a line that who is shown the report must find on it */
export function reportText(dataSet: DataSet, mark?: string): string {
  const title = titleOf(dataSet);
  const head = headOf(dataSet).map(([name, value]) => `${name}: ${value}`);
  const body = linesOf(dataSet).map(({ depth, name, value }) => {
    const indent = '  '.repeat(depth - 1);
    return `${indent}${name}${value === '' ? '' : `: ${value.replace(/\r\n|\r|\n/g, `\n${indent}  `)}`}`;
  });
  return `${[...(mark === undefined ? [] : [mark, '']), title, '='.repeat(title.length), ...head, '', ...body].join('\n')}\n`;
}

/** @param mark as for `reportText` */
export function reportHtml(dataSet: DataSet, mark?: string): string {
  const title = escapeHtml(titleOf(dataSet));
  const head = headOf(dataSet)
    .map(([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`)
    .join('\n');
  let body = '';
  let depth = 0;
  for (const line of linesOf(dataSet)) {
    while (depth < line.depth) {
      body += '<ul>';
      depth++;
    }
    while (depth > line.depth) {
      body += '</ul>';
      depth--;
    }
    const name = escapeHtml(line.name);
    body += line.container
      ? `<li><b>${name}</b></li>\n`
      : `<li><span>${name}:</span> ${escapeHtml(line.value).replace(/\r\n|\r|\n/g, '<br>')}</li>\n`;
  }
  body += '</ul>'.repeat(depth);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}h1{font-size:1.4rem}
table{border-collapse:collapse;margin-bottom:1rem}th{text-align:left;font-weight:normal;color:#555;padding-right:1rem}
ul{list-style:none;padding-left:1rem;margin:0;border-left:1px solid #ddd}span{color:#555}</style></head>
<body>${mark === undefined ? '' : `<p><span>${escapeHtml(mark)}</span></p>\n`}<h1>${title}</h1>
<table>${head}</table>
${body}</body></html>
`;
}

// control characters are no part of HTML; a report has been seen to hold them
const escapeHtml = (text: string): string =>
  escapeMarkup(text).replace(/\p{Cc}/gu, (c) => (c === '\n' || c === '\r' || c === '\t' ? c : ''));
