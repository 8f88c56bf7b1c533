import { useState } from 'preact/hooks';
import { type CostMonth, type CostReport, type CostTable, loadCosts, loadCostTable } from '../api/costs.ts';
import { BarChart } from '../components/bar-chart.tsx';
import { download } from '../components/download.ts';
import { Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { plural } from '../dicom/json.ts';
import { CostParts } from './costs-parts.tsx';
import { formatAmount, formatMonth, formatSize, shortMonth } from './costs-words.ts';

/** What is stored, by month, tier and modality, and what that costs. No patient is named here. */
export function CostsPage() {
  const { value: report, error, reload } = useLoaded('costs', loadCosts);
  return (
    <div class="costs">
      <PageTitle title="Costs">
        <p class="count">What is stored and what it costs. These are estimates, not a bill.</p>
      </PageTitle>
      {error && <Failure message={error} onRetry={reload} />}
      {report && <Report report={report} />}
    </div>
  );
}

function Report({ report }: { report: CostReport }) {
  const current = report.months.at(-1);
  if (current === undefined) return null;
  const isEmpty = report.months.every(({ stored, added }) => stored.studies === 0 && added.studies === 0);
  return (
    <>
      {isEmpty ? (
        <Empty title="Nothing has been counted yet">
          <p>A study is counted once no more images come for it.</p>
        </Empty>
      ) : (
        <>
          <ThisMonth report={report} current={current} />
          <Trend report={report} />
          <CostParts cells={current.cells} prices={report.prices} />
        </>
      )}
      {report.uncountedStudies > 0 && (
        <p class="hint">
          Not counted here: {plural(report.uncountedStudies, 'study', 'studies')}, to which images still come, or that
          an older release stored.
        </p>
      )}
      <Prices prices={report.prices} />
    </>
  );
}

function ThisMonth({ report: { months, nextMonth, prices }, current }: { report: CostReport; current: CostMonth }) {
  const before = months.at(-2);
  const growth = before && current.stored.bytes - before.stored.bytes;
  const { costs, served } = current;
  return (
    <section aria-labelledby="this-month">
      <h2 id="this-month">{formatMonth(current.month)}</h2>
      <dl class="figures">
        <Figure name="Stored" value={formatSize(current.stored.bytes)}>
          {plural(current.stored.studies, 'study', 'studies')}, {plural(current.stored.objects, 'object')}
        </Figure>
        <Figure name="Since last month" value={growth === undefined ? '–' : signed(growth)}>
          {formatSize(current.added.bytes)} came, {formatSize(current.removed.bytes)} went
        </Figure>
        {prices && costs && (
          <Figure name="This month" value={formatAmount(costs.total, prices.currency)}>
            storage {formatAmount(costs.storage, prices.currency)}
            {costs.index !== undefined && `, index ${formatAmount(costs.index, prices.currency)}`}
            {costs.ingest !== undefined && `, taking in ${formatAmount(costs.ingest, prices.currency)}`}
          </Figure>
        )}
        <Figure
          name={`Next month (${formatMonth(nextMonth.month)})`}
          value={
            prices && nextMonth.costs
              ? formatAmount(nextMonth.costs.total, prices.currency)
              : formatSize(nextMonth.storedBytes)
          }
        >
          projected: {nextMonth.rule}
        </Figure>
        {served && (
          <Figure name="Served" value={formatSize(served.bytes)}>
            {plural(served.requests, 'request')} this month
          </Figure>
        )}
      </dl>
      {costs !== null && costs.unpricedBytes > 0 && (
        <p class="hint">Without a known price, and in none of the amounts: {formatSize(costs.unpricedBytes)}.</p>
      )}
    </section>
  );
}

const signed = (bytes: number): string => `${bytes < 0 ? '−' : '+'}${formatSize(Math.abs(bytes))}`;

function Figure({ name, value, children }: { name: string; value: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong>
        <span class="hint">{children}</span>
      </dd>
    </div>
  );
}

function Trend({ report: { months, nextMonth, prices } }: { report: CostReport }) {
  const bars = [
    ...months.map(({ month, stored }) => ({ month, value: stored.bytes })),
    { month: nextMonth.month, value: nextMonth.storedBytes, isProjected: true },
  ].map(({ month, ...bar }) => ({ ...bar, id: month, label: shortMonth(month), said: formatSize(bar.value) }));
  const [first, last] = [months[0], months.at(-1)];
  const label =
    `Stored at the end of each month: ${formatSize(first?.stored.bytes ?? 0)} in ${formatMonth(first?.month ?? '')}, ` +
    `${formatSize(last?.stored.bytes ?? 0)} now, ${formatSize(nextMonth.storedBytes)} projected for ${formatMonth(nextMonth.month)}.`;
  return (
    <section aria-labelledby="trend">
      <div class="section-head">
        <h2 id="trend">Twelve months</h2>
        <Tables />
      </div>
      <BarChart bars={bars} label={label} said={formatSize} />
      <details>
        <summary>The months as a table</summary>
        <div class="table-frame">
          <table class="cards" aria-label="Months">
            <thead>
              <tr>
                <th scope="col">Month</th>
                <th scope="col">Stored</th>
                <th scope="col">Came</th>
                <th scope="col">Went</th>
                <th scope="col">Served</th>
                {prices && <th scope="col">Cost ({prices.currency})</th>}
              </tr>
            </thead>
            <tbody>
              {months.toReversed().map(({ month, stored, added, removed, served, costs }) => (
                <tr key={month}>
                  <th scope="row">{formatMonth(month)}</th>
                  <td data-label="Stored">{formatSize(stored.bytes)}</td>
                  <td data-label="Came">{formatSize(added.bytes)}</td>
                  <td data-label="Went">{formatSize(removed.bytes)}</td>
                  <td data-label="Served">{served ? formatSize(served.bytes) : '–'}</td>
                  {prices && <td data-label="Cost">{costs ? formatAmount(costs.total, prices.currency) : '–'}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

/** The numbers for a spreadsheet. */
function Tables() {
  const [failed, setFailed] = useState('');
  const save = async (format: CostTable) => {
    setFailed('');
    try {
      download(await loadCostTable(format), `${format === 'csv' ? 'costs-months' : 'costs-parts'}.csv`);
    } catch (failure) {
      setFailed(messageOf(failure));
    }
  };
  return (
    <div class="buttons">
      <button type="button" onClick={() => void save('csv')}>
        Months (CSV)
      </button>
      <button type="button" onClick={() => void save('csv-parts')}>
        Tiers and modalities (CSV)
      </button>
      {failed && (
        <span class="error" role="alert">
          {failed}
        </span>
      )}
    </div>
  );
}

function Prices({ prices }: { prices: CostReport['prices'] }) {
  return (
    <section aria-labelledby="prices">
      <h2 id="prices">Prices</h2>
      {prices === null ? (
        <p class="hint">
          No price is known, so no money is shown. Give the disk one by the setting <code>NEPHOS_DISK_PRICE</code>.
        </p>
      ) : (
        <p class="hint">
          {prices.perTerabyteMonth === undefined
            ? `In ${prices.currency}, by the ${prices.source}`
            : `By ${prices.source}: ${formatAmount(prices.perTerabyteMonth, prices.currency)} a month for a terabyte (10¹² bytes, ${formatSize(1e12)})`}
          {prices.compiled && `, compiled on ${prices.compiled}`}. {prices.note}
        </p>
      )}
    </section>
  );
}
