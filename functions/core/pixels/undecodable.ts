import { PacsError } from '../errors.ts';

/**
 * Whether reading failed for what the object is: its pixels cannot be decoded, are larger than we decode, or do not fit the transfer
 * syntax that was asked for. No defect of ours, and the same at every attempt.
 */
export const isUndecodable = (error: unknown): error is PacsError =>
  error instanceof PacsError &&
  (error.code === 'UNREADABLE_DATASET' || error.code === 'UNSUPPORTED_TRANSFER_SYNTAX' || error.code === 'TOO_LARGE');
