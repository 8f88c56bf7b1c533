/** The studies that `npm run cost` prices; their mix is a guess of what a day brings. */

export interface StudyShape {
  readonly name: 'CT' | 'MR' | 'CR' | 'MG';
  readonly instances: number;
  readonly series: number;
  /** of one object as received */
  readonly objectBytes: number;
  /** of a day's studies, of 1 */
  readonly share: number;
}

const MIB = 1024 * 1024;
export const SHAPES: readonly StudyShape[] = [
  { name: 'CT', instances: 500, series: 4, objectBytes: 0.52 * MIB, share: 0.35 },
  { name: 'MR', instances: 600, series: 10, objectBytes: 0.2 * MIB, share: 0.2 },
  { name: 'CR', instances: 2, series: 2, objectBytes: 12 * MIB, share: 0.4 },
  { name: 'MG', instances: 4, series: 4, objectBytes: 30 * MIB, share: 0.05 },
];
