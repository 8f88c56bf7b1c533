import { postJson } from './http.ts';

/** Studies that another program means (functions/core/image-display.ts). */
export interface Display {
  readonly studies: readonly {
    readonly StudyInstanceUID: string;
    readonly patientName: string;
    readonly date: string;
    readonly description: string;
    readonly modalities: readonly string[];
    /** where nothing but these was asked for */
    readonly keyImages?: readonly KeyImage[];
  }[];
  /** nothing is left to choose */
  readonly isExact: boolean;
}

export interface KeyImage {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  /** from 1 */
  readonly frames?: readonly number[];
}

export const invokeDisplay = async (parameters: Readonly<Record<string, string>>): Promise<Display> =>
  (await postJson('/api/image-display', parameters)).json();

/** Where the record system has its login. */
export const beginLaunch = async (iss: string, launch: string): Promise<string> =>
  (await (await postJson('/api/launches', { iss, launch })).json()).next;

export const endLaunch = async (code: string, state: string): Promise<{ readonly id: string }> =>
  (await postJson('/api/launches/return', { code, state })).json();

export const openLaunched = async (id: string): Promise<Display> =>
  (await postJson('/api/launches/open', { id })).json();
