import { type CostReport, costReport, type MonthReport } from '#core/costs/report.ts';
import { PacsError } from '#core/errors.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, wholeNumber } from './json.ts';

const MONTHS = 12;
const MOST_MONTHS = 120;

/**
 * GET /api/costs: what the caller's tenant stores, by month, and what that costs. `months` (1 to 120; 12) that end with this one; `format`: `json`, `csv` (a
 * line a month) or `csv-parts` (a line for each month, tier and modality).
 * @throws PacsError BAD_REQUEST; FORBIDDEN for access that is confined to some studies
 */
const getCosts: Handler = async ({ request, services, principal }) => {
  // The sums are of every study: they would tell of those out of reach.
  if (principal.reach !== undefined)
    throw new PacsError('FORBIDDEN', 'costs are of all studies, and this access reaches some alone');
  const months = wholeNumber(request, 'months', MONTHS, MOST_MONTHS);
  const format = request.query.get('format') ?? 'json';
  if (format !== 'json' && format !== 'csv' && format !== 'csv-parts')
    throw new PacsError('BAD_REQUEST', 'format is one of json, csv, csv-parts', { details: { parameter: 'format' } });
  const report = await costReport(services, principal.tenant, months);
  if (format === 'json') return json(200, report);
  return csv(format === 'csv' ? monthLines(report) : partLines(report), `${format}-${report.months.at(-1)?.month}`);
};

type Line = readonly (string | number | null | undefined)[];

/** RFC 4180. No value comes from what somebody sent: nothing to be quoted, and no formula for a spreadsheet. */
const csv = (lines: readonly Line[], name: string): HttpResponse => ({
  status: 200,
  headers: {
    'content-type': 'text/csv; charset=utf-8; header=present',
    'content-disposition': `attachment; filename="costs-${name}.csv"`,
    'cache-control': 'no-store',
  },
  body: lines.map((line) => `${line.map((value) => value ?? '').join(',')}\r\n`).join(''),
});

function monthLines({ months, prices }: CostReport): Line[] {
  const sums = ['stored', 'added', 'removed'] as const;
  const parts = ['studies', 'objects', 'bytes'] as const;
  const money = ['storage', 'index', 'ingest', 'total'] as const;
  const columns: readonly (readonly [string, (month: MonthReport) => Line[number]])[] = [
    ['month', ({ month }) => month],
    ...sums.flatMap((sum) =>
      parts.map((part) => [`${sum}_${part}`, (month: MonthReport) => month[sum][part]] as const),
    ),
    ['served_requests', ({ served }) => served?.requests],
    ['served_bytes', ({ served }) => served?.bytes],
    ...money.map((name) => [`${name}_cost`, ({ costs }: MonthReport) => costs?.[name]] as const),
    ['unpriced_bytes', ({ costs }) => costs?.unpricedBytes],
    ['currency', () => prices?.currency],
  ];
  return [columns.map(([name]) => name), ...months.map((month) => columns.map(([, of]) => of(month)))];
}

const partLines = ({ months, prices }: CostReport): Line[] => [
  ['month', 'tier', 'modality', 'objects', 'bytes', 'storage_cost', 'currency'],
  ...months.flatMap(({ month, cells }) =>
    cells.map(({ tier, modality, objects, bytes, storageCost }) => [
      month,
      tier,
      modality,
      objects,
      bytes,
      storageCost,
      prices?.currency,
    ]),
  ),
];

export const COST_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/costs', action: 'readCosts', name: 'GetCosts', handler: getCosts },
];
