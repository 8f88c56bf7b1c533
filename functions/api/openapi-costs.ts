import { list, type Operation, object, text, time, whole } from './openapi-schema.ts';

/** What is said of costs in the OpenAPI document. */

const month = { ...text, description: 'YYYY-MM, UTC' };
const bytes = { ...whole, description: 'as received' };
const money = { type: 'number', minimum: 0, description: 'in the currency of `prices`' };
const nullable = (schema: Record<string, unknown>, description: string) => ({
  oneOf: [schema, { type: 'null', description }],
});
const sum = object({ studies: whole, objects: whole, bytes });
const costs = nullable(
  object(
    {
      storage: { ...money, description: 'for the whole month, by what stands there at its end' },
      index: money,
      ingest: { ...money, description: 'of what came in the month' },
      total: money,
      unpricedBytes: { ...whole, description: 'in tiers of which no price is known: in none of the amounts' },
    },
    ['index', 'ingest'],
  ),
  'no price is known',
);

export const COST_OPERATIONS: Readonly<Record<string, Operation>> = {
  GetCosts: {
    summary:
      'What is stored, by month, storage tier and modality, and what that costs: estimates from counters, not a bill. JSON or CSV',
    parameters: [
      {
        name: 'months',
        description: 'that end with this one',
        schema: { type: 'integer', minimum: 1, maximum: 120, default: 12 },
      },
      {
        name: 'format',
        description: '`csv`: a line a month; `csv-parts`: a line for each month, tier and modality',
        schema: { enum: ['json', 'csv', 'csv-parts'], default: 'json' },
      },
    ],
    response: {
      alsoAs: { 'text/csv': text },
      schema: object({
        tenant: text,
        at: time,
        prices: nullable(
          object(
            {
              currency: text,
              source: text,
              compiled: { ...text, description: 'YYYY-MM-DD: of when the list is' },
              perTerabyteMonth: { ...money, description: 'for 10^12 bytes' },
              note: { ...text, description: 'what the amounts are not' },
            },
            ['compiled', 'perTerabyteMonth'],
          ),
          'no price is known, and no amount of money is said',
        ),
        months: {
          ...list(
            object({
              month,
              stored: { ...sum, description: 'at the month’s end; of this month, now' },
              added: sum,
              removed: sum,
              served: nullable(object({ requests: whole, bytes: whole }), 'not counted here'),
              costs,
              cells: list(
                object({
                  tier: { ...text, description: '`default`: the store’s own rules decide' },
                  modality: { ...text, description: 'a defined term of Modality, or `other`' },
                  objects: whole,
                  bytes,
                  storageCost: nullable(money, 'no price is known'),
                }),
              ),
            }),
          ),
          description: 'ascending; the last one is this month',
        },
        nextMonth: object({
          month,
          storedBytes: whole,
          costs,
          fromMonths: { ...whole, description: 'full months by whose mean it goes; 0: by this month alone' },
          rule: text,
        }),
        uncountedStudies: {
          ...whole,
          description: 'that are not in the counters: not quiet yet, or stored by a release that did not count',
        },
      }),
    },
  },
};
