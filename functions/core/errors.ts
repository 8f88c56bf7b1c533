/**
 * The taxonomy: one row per code gives what every wire says and whether a sender may send again.
 * STOW FailureReason: PS3.18 Table I.2-2 and PS3.4 Annex B.2.3. DIMSE status: PS3.7 Annex C, PS3.4 Table B.2-1.
 */
export type ErrorCode = keyof typeof ERRORS;

/** `never`: the same bytes fail again. `safe`: nothing was accepted. `checkFirst`: ask before sending again. `alarm`: a defect. */
export type Resend = 'never' | 'later' | 'safe' | 'checkFirst' | 'alarm';

interface ErrorRow {
  readonly http: number;
  readonly dimse: number;
  readonly failureReason: number;
  readonly resend: Resend;
}

const row = (http: number, dimse: number, failureReason: number, resend: Resend): ErrorRow => ({
  http,
  dimse,
  failureReason,
  resend,
});

export const ERRORS = {
  BAD_REQUEST: row(400, 0xc000, 0xc000, 'never'),
  UNAUTHENTICATED: row(401, 0x0124, 0x0124, 'never'),
  FORBIDDEN: row(403, 0x0124, 0x0124, 'never'),
  NOT_FOUND: row(404, 0xc000, 0xc000, 'never'),
  METHOD_NOT_ALLOWED: row(405, 0xc000, 0xc000, 'never'),
  NOT_ACCEPTABLE: row(406, 0xc000, 0xc000, 'never'),
  GONE: row(410, 0xc000, 0xc000, 'never'),
  PRECONDITION_FAILED: row(412, 0xc000, 0xc000, 'never'),
  TOO_LARGE: row(413, 0xa700, 0xa700, 'never'),
  UNSUPPORTED_MEDIA: row(415, 0xc000, 0xc000, 'never'),
  RANGE_NOT_SATISFIABLE: row(416, 0xc000, 0xc000, 'never'),
  UNREADABLE_DATASET: row(409, 0xc000, 0xc000, 'never'),
  DATASET_MISMATCH: row(409, 0xa900, 0xa900, 'never'),
  UNSUPPORTED_SOP_CLASS: row(409, 0x0122, 0x0122, 'never'),
  UNSUPPORTED_TRANSFER_SYNTAX: row(406, 0xc000, 0xc122, 'never'),
  TOO_MANY_REQUESTS: row(429, 0xa700, 0xa700, 'safe'),
  CONFLICT: row(409, 0x0110, 0x0110, 'never'),
  BEING_STORED: row(409, 0xa700, 0xa700, 'later'),
  BUSY: row(503, 0xa700, 0xa700, 'safe'),
  /** the bytes lie on slow media and are on their way back; `details.retryAfterSeconds` (PS3.4 Table C.4-2, A702) */
  ARCHIVED: row(503, 0xa702, 0xa700, 'later'),
  OUT_OF_SPACE: row(507, 0xa700, 0xa700, 'later'),
  OUTCOME_UNKNOWN: row(504, 0x0110, 0x0110, 'checkFirst'),
  INTERNAL: row(500, 0x0110, 0x0110, 'alarm'),
} as const satisfies Record<string, ErrorRow>;

/**
 * The one error class. `message` is for people and never holds values of a data set (no patient data);
 * `details` holds UIDs, tags, offsets, limits. Anything that is not a PacsError is a defect: 500.
 */
export class PacsError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PacsError';
    this.code = code;
    this.details = options.details ?? {};
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}

/** Turns whatever was thrown into a PacsError; what we did not foresee becomes INTERNAL with the original as its cause. */
export function asPacsError(error: unknown): PacsError {
  return error instanceof PacsError ? error : new PacsError('INTERNAL', 'internal error', { cause: error });
}

/** What of an error may stand in a log: code, message and stack of our own; the same of what caused it, but no values. */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error };
  const described: Record<string, unknown> = { error: error.name, message: error.message };
  if ('code' in error) described.code = error.code;
  if (error.stack !== undefined)
    described.stack = error.stack
      .split('\n')
      .slice(1, 6)
      .map((line) => line.trim());
  if (error.cause !== undefined) described.cause = describeError(error.cause);
  return described;
}
