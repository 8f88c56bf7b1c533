import { createHmac } from 'node:crypto';
import type { DataSet } from '../dicom/types.ts';
import { hashedUID } from '../ids.ts';

/** Bytes of the secret of a project. */
export const PROJECT_KEY_BYTES = 32;
const PSEUDONYM_LETTERS = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
const PSEUDONYM_LENGTH = 12;
/** dates are moved back by 1 day up to this many */
const SHIFT_DAYS = 3_650;

/** Who a patient is in the source, and in the copies. */
export interface Patient {
  readonly pseudonym: string;
  /** days that all dates of the patient are moved by; negative: into the past */
  readonly shiftDays: number;
  readonly PatientID: string;
  readonly IssuerOfPatientID: string;
  readonly PatientName: string;
}

const firstText = (dataSet: DataSet, tag: string): string => {
  const value = dataSet[tag]?.Value?.[0];
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return value !== null && typeof value === 'object' ? ((value as { Alphabetic?: string }).Alphabetic ?? '') : '';
};

/**
 * The pseudonyms of a project: keyed hashes (HMAC-SHA-256), so the same patient and UID have the same ones whenever and wherever they are met, other
 * projects others, and nobody without the key can tell which is whose, also who guesses the source.
 */
export class Pseudonyms {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  #hash(kind: string, ...parts: readonly string[]): Buffer {
    return createHmac('sha256', this.#key)
      .update([kind, ...parts].join('\0'))
      .digest();
  }

  /** Below 2.25. UIDs that DICOM itself registers stay: they name nothing of anybody's. */
  uid(uid: string): string {
    if (uid.startsWith('1.2.840.10008.')) return uid;
    return hashedUID(this.#hash('uid', uid));
  }

  /** A patient is told by PatientID and its issuer; without an ID by name and birth date, and without those a study is a patient of its own. */
  patient(dataSet: DataSet): Patient {
    const PatientID = firstText(dataSet, '00100020');
    const IssuerOfPatientID = firstText(dataSet, '00100021');
    const PatientName = firstText(dataSet, '00100010');
    const identity =
      PatientID !== ''
        ? ['id', PatientID, IssuerOfPatientID]
        : PatientName !== ''
          ? ['name', PatientName, firstText(dataSet, '00100030')]
          : ['study', firstText(dataSet, '0020000D')];
    const name = this.#hash('patient', ...identity);
    let pseudonym = '';
    for (const byte of name.subarray(0, PSEUDONYM_LENGTH)) pseudonym += PSEUDONYM_LETTERS[byte & 31];
    const shiftDays = -1 - (this.#hash('shift', ...identity).readUInt32BE(0) % SHIFT_DAYS);
    return { pseudonym, shiftDays, PatientID, IssuerOfPatientID, PatientName };
  }
}
