import type { Cell, CostReport } from '../api/costs.ts';
import { formatAmount, formatSize, modalityWord, tierWord } from './costs-words.ts';

interface Row {
  readonly name: string;
  readonly objects: number;
  readonly bytes: number;
  readonly cost: number | null;
}

/** What is stored now, by modality and by storage tier. */
export function CostParts({ cells, prices }: { cells: readonly Cell[]; prices: CostReport['prices'] }) {
  const currency = prices?.currency;
  return (
    <div class="parts">
      <Part
        id="by-modality"
        title="By modality"
        what="Modality"
        currency={currency}
        rows={rowsOf(cells, ({ modality }) => modalityWord(modality))}
      />
      <Part
        id="by-tier"
        title="By storage tier"
        what="Tier"
        currency={currency}
        rows={rowsOf(cells, ({ tier }) => tierWord(tier))}
      />
    </div>
  );
}

/** Sums of the cells that have a name in common, the largest first. A sum of which a part has no price has none. */
function rowsOf(cells: readonly Cell[], nameOf: (cell: Cell) => string): Row[] {
  const rows = Map.groupBy(cells, nameOf);
  return [...rows]
    .map(([name, own]) => ({
      name,
      objects: own.reduce((sum, { objects }) => sum + objects, 0),
      bytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
      cost: own.reduce<number | null>(
        (sum, { storageCost }) => (sum === null || storageCost === null ? null : sum + storageCost),
        0,
      ),
    }))
    .sort((a, b) => b.bytes - a.bytes);
}

function Part({
  id,
  title,
  what,
  rows,
  currency,
}: {
  id: string;
  title: string;
  what: string;
  rows: readonly Row[];
  currency: string | undefined;
}) {
  const all = rows.reduce((sum, { bytes }) => sum + bytes, 0);
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <div class="table-frame">
        <table aria-labelledby={id}>
          <thead>
            <tr>
              <th scope="col">{what}</th>
              <th scope="col" class="number">
                Objects
              </th>
              <th scope="col" class="number">
                Stored
              </th>
              <th scope="col" class="share">
                Share
              </th>
              {currency && (
                <th scope="col" class="number">
                  Storage a month
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, objects, bytes, cost }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="number">{objects.toLocaleString('en')}</td>
                <td class="number">{formatSize(bytes)}</td>
                <td class="share">
                  <Share part={all === 0 ? 0 : bytes / all} />
                </td>
                {currency && <td class="number">{cost === null ? 'no price' : formatAmount(cost, currency)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Share({ part }: { part: number }) {
  return (
    <>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="8" class="track" />
        <rect width={100 * part} height="8" />
      </svg>
      <span>{`${Math.round(100 * part)} %`}</span>
    </>
  );
}
