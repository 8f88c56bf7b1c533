import type { DataSet } from '../dicom/json.ts';
import { after, type PageOf } from './archive.ts';
import { askJson } from './http.ts';

/** What the archive knows of the state of its objects. */
export interface Verification {
  /** objects that are known to be damaged */
  readonly damaged: number;
  /** the pass that goes on, or the last one; absent: there was none yet */
  readonly pass?: {
    /** ms since 1970 */
    readonly startedAt: number;
    /** absent: it goes on */
    readonly endedAt?: number;
    readonly objects: number;
    readonly bytes: number;
  };
}

export interface DamagedObject {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  /** where its bytes stand, below the folder of objects */
  readonly blobKey: string;
  readonly problem: 'missing' | 'altered' | 'unreadable';
  /** ms since 1970 */
  readonly foundAt: number;
  /** whose it is; absent where its study is not found (any more) */
  readonly attributes?: DataSet;
}

export const getVerification = (signal: AbortSignal): Promise<Verification> => askJson('/api/verification', { signal });

export const listDamaged = (cursor?: string): Promise<PageOf<DamagedObject>> =>
  askJson(`/api/verification/damaged${after(cursor)}`);
