import { median } from './client.ts';
import type { TargetName } from './targets.ts';

/** One figure of the table. */
export interface Metric {
  readonly key: string;
  readonly label: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly goal?: Goal;
  /** What the peers did in an earlier run that takes too long to repeat each time; shown in brackets. */
  readonly published?: Partial<Record<TargetName, number>>;
}

/** What Nephos sets out to reach: an absolute figure, or a multiple of another column. */
export type Goal = { readonly value: number } | { readonly of: TargetName; readonly factor: number };

export class Results {
  readonly #metrics = new Map<string, Metric>();
  readonly #values = new Map<string, number[]>();
  readonly notes: string[] = [];

  add(metric: Metric, target: TargetName, value: number): void {
    this.#metrics.set(metric.key, metric);
    const key = `${metric.key}|${target}`;
    const values = this.#values.get(key) ?? [];
    values.push(value);
    this.#values.set(key, values);
  }

  /** Something the reader must know to read the table, as a wrong answer. */
  note(text: string): void {
    this.notes.push(text);
    console.log(`  ! ${text}`);
  }

  valueOf(key: string, target: TargetName): number | undefined {
    const values = this.#values.get(`${key}|${target}`);
    return values === undefined ? undefined : median(values);
  }

  /** @returns the goal as a figure, and whether Nephos reached it; undefined where either is not known. */
  verdictOf(metric: Metric): { wanted: number; reached: boolean } | undefined {
    const { goal } = metric;
    const own = this.valueOf(metric.key, 'nephos');
    if (goal === undefined || own === undefined) return undefined;
    const base = 'value' in goal ? goal.value : this.valueOf(metric.key, goal.of);
    if (base === undefined) return undefined;
    const wanted = 'value' in goal ? base : base * goal.factor;
    return { wanted, reached: metric.better === 'higher' ? own >= wanted : own <= wanted };
  }

  toMarkdown(): string {
    const columns: TargetName[] = ['nephos', 'orthanc12', 'orthanc10', 'nginx'];
    const heads = ['', 'Nephos', 'Orthanc 1.12', 'Orthanc 1.10', 'limit', '× Orthanc 1.12', 'goal', ''];
    const rows = [...this.#metrics.values()].map((metric) => {
      const cells = columns.map((name) => this.#cell(metric, name));
      const verdict = this.verdictOf(metric);
      return [
        `${metric.label}, ${metric.unit}`,
        ...cells,
        this.#advantage(metric),
        verdict === undefined ? '' : `${metric.better === 'higher' ? '≥' : '≤'} ${figure(verdict.wanted)}`,
        verdict === undefined ? '' : verdict.reached ? 'met' : '**missed**',
      ];
    });
    const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
    return [line(heads), line(heads.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
  }

  toJSON(): unknown {
    return {
      metrics: [...this.#metrics.values()].map((metric) => ({
        ...metric,
        values: Object.fromEntries(
          [...this.#values]
            .filter(([key]) => key.startsWith(`${metric.key}|`))
            .map(([key, values]) => [key.split('|')[1], values]),
        ),
        reached: this.verdictOf(metric)?.reached,
      })),
      notes: this.notes,
    };
  }

  #cell(metric: Metric, name: TargetName): string {
    const values = this.#values.get(`${metric.key}|${name}`);
    if (values === undefined) {
      const published = metric.published?.[name];
      return published === undefined ? '' : `(${figure(published)})`;
    }
    const spread = values.length > 1 ? ` [${figure(Math.min(...values))}–${figure(Math.max(...values))}]` : '';
    return `${figure(median(values))}${spread}`;
  }

  /** How many times better than Orthanc 1.12. */
  #advantage(metric: Metric): string {
    const own = this.valueOf(metric.key, 'nephos');
    const peer = this.valueOf(metric.key, 'orthanc12') ?? metric.published?.orthanc12;
    if (own === undefined || peer === undefined || own === 0 || peer === 0) return '';
    return `${(metric.better === 'higher' ? own / peer : peer / own).toFixed(1)}`;
  }
}

/** Three significant digits, no more than two decimals. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value >= 100) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
