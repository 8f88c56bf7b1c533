import type { DataSet } from '../dicom/json.ts';
import { ask, askJson, postJson } from './http.ts';

/** A conflict that the archive holds aside: the same UIDs came again with other bytes. */
export interface HeldObject {
  readonly id: string;
  readonly kind: string;
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  /** ms since 1970 */
  readonly receivedAt: number;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** whose it says it is; absent in what was held before the archive noted it */
  readonly attributes?: DataSet;
  /** the one in the archive; it may stand in another study or series */
  readonly existing: {
    readonly sha256: string;
    readonly sizeBytes: number;
    readonly storedAt: number;
    readonly StudyInstanceUID: string;
    readonly SeriesInstanceUID: string;
  };
  readonly reason?: string;
}

export interface TrashEntry {
  readonly id: string;
  readonly kind: 'deleted' | 'rejected' | 'replaced';
  readonly level: 'study' | 'series' | 'instance';
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID?: string;
  readonly SOPInstanceUID?: string;
  readonly instanceCount: number;
  /** whose it is; absent in what was deleted before the archive noted it */
  readonly attributes?: DataSet;
  /** ms since 1970 */
  readonly deletedAt: number;
  /** null: kept until a person decides */
  readonly purgeAt: number | null;
  readonly reason?: string;
  readonly by?: string;
}

export interface PageOf<T> {
  readonly items: readonly T[];
  /** cursor of the next page; absent on the last */
  readonly next?: string | null;
}

/** The cursor as a query. */
export const after = (cursor: string | undefined): string => (cursor ? `?after=${encodeURIComponent(cursor)}` : '');

export const listQuarantine = (cursor?: string): Promise<PageOf<HeldObject>> =>
  askJson(`/api/quarantine${after(cursor)}`);
export const listTrash = (cursor?: string): Promise<PageOf<TrashEntry>> => askJson(`/api/trash${after(cursor)}`);

export const resolveHeld = (id: string, action: 'discard' | 'replace', reason: string): Promise<Response> =>
  postJson(`/api/quarantine/${encodeURIComponent(id)}`, { action, reason });

export const restoreFromTrash = (id: string): Promise<Response> =>
  postJson(`/api/trash/${encodeURIComponent(id)}`, { action: 'restore' });

/** `path` is a study, series or instance under /dicomweb; what it names goes to the trash. */
export const deleteAt = (path: string, reason: string): Promise<Response> =>
  ask(`${path}?${new URLSearchParams({ reason })}`, { method: 'DELETE' });
