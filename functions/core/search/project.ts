import type { DataSet, Element } from '../dicom/types.ts';
import { ATTRIBUTES, type Level, searchAttribute } from './attributes.ts';
import type { InstanceRow } from './instances.ts';
import type { Query } from './query.ts';
import type { SeriesRow } from './series.ts';
import type { StudyRow } from './study-list.ts';

/** What a result holds and how it is written: DICOM JSON, attributes in tag order (PS3.18 §10.6.3.3, F.2.2). */

const RETRIEVE_URL = '00081190';

const defaults = (level: Level): string[] => ATTRIBUTES[level].filter((row) => row.byDefault).map((row) => row.tag);
const DEFAULTS: Readonly<Record<Level, readonly string[]>> = {
  study: defaults('study'),
  series: defaults('series'),
  instance: defaults('instance'),
};
const UIDS = ['0020000D', '0020000E'];

/** Results of one query, all of which hold the same attributes as far as they have them. */
export class Projection {
  readonly #root: string;
  readonly #query: Query;
  /** for level study: what goes beyond the default */
  readonly #more: ReadonlySet<string> | 'all';
  /** for the other levels: ascending */
  readonly #tags: readonly string[];

  /** @param root absolute DICOMweb root, without a trailing slash, free of characters that JSON escapes */
  constructor(query: Query, root: string) {
    this.#root = root;
    this.#query = query;
    const { level, include } = query;
    this.#more =
      include === 'all'
        ? 'all'
        : new Set([...include].filter((tag) => !DEFAULTS.study.includes(tag) && searchAttribute('study', tag)));
    const tags = new Set([...DEFAULTS[level], ...UIDS, ...(include === 'all' ? [] : include)]);
    // PS3.18 §10.6.3.3.2 and .3: attributes of the levels above that the path leaves open.
    if (level === 'instance' && query.SeriesInstanceUID === undefined) for (const tag of DEFAULTS.series) tags.add(tag);
    if (level !== 'study' && query.StudyInstanceUID === undefined) for (const tag of DEFAULTS.study) tags.add(tag);
    this.#tags = [...tags].sort();
  }

  studyJson(row: StudyRow): string {
    return row.json(this.#studyURL(row), this.#more);
  }

  study(row: StudyRow): DataSet {
    return row.dataSet(this.#studyURL(row), this.#more);
  }

  series(row: SeriesRow): DataSet {
    const { StudyInstanceUID, SeriesInstanceUID } = row.record;
    const url = `${this.#root}/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}`;
    return this.#pick([row.dataSet], row.study, url);
  }

  instance(row: InstanceRow): DataSet {
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = row.record;
    const url = `${this.#root}/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
    return this.#pick([row.dataSet, row.series.dataSet], row.series.study, url);
  }

  #studyURL(row: StudyRow): string {
    return `${this.#root}/studies/${row.StudyInstanceUID}`;
  }

  /** The first of the data sets, then the study, that has an attribute gives it. */
  #pick(dataSets: readonly DataSet[], study: StudyRow, url: string): DataSet {
    const own = dataSets[0] as DataSet;
    let tags = this.#tags;
    if (this.#query.include === 'all') tags = [...new Set([...tags, ...Object.keys(own)])].sort();
    const result: DataSet = {};
    for (const tag of tags) {
      const element =
        tag === RETRIEVE_URL
          ? { vr: 'UR', Value: [url] }
          : (dataSets.find((dataSet) => dataSet[tag])?.[tag] ?? this.#ofStudy(study, tag));
      if (element !== undefined) result[tag] = element;
    }
    return result;
  }

  #ofStudy(study: StudyRow, tag: string): Element | undefined {
    return searchAttribute('study', tag) === undefined ? undefined : study.element(tag);
  }
}
