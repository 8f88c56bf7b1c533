/** Status codes of PS3.7 Annex C and PS3.4 (B.2.3, C.4) beside those of core's errors. */
export const STATUS = {
  success: 0x0000,
  /** stored; elements were supplied (warning) */
  coerced: 0xb000,
  cancel: 0xfe00,
  pending: 0xff00,
  /** some optional keys were not heeded */
  pendingWarning: 0xff01,
  /** N-CREATE, N-SET, N-GET: there is no such attribute, or it may not be set */
  noSuchAttribute: 0x0105,
  invalidAttributeValue: 0x0106,
  /** N-GET: some of the attributes asked for are not there (warning) */
  attributeListError: 0x0107,
  processingFailure: 0x0110,
  /** N-CREATE: there is such an instance */
  duplicateInstance: 0x0111,
  /** N-ACTION, N-EVENT-REPORT, N-SET, N-GET: there is no such instance */
  noSuchInstance: 0x0112,
  /** storage commitment: the instance is of another class */
  classInstanceConflict: 0x0119,
  missingAttribute: 0x0120,
  missingAttributeValue: 0x0121,
  sopClassNotSupported: 0x0122,
  refusedNotAuthorized: 0x0124,
  noSuchAction: 0x0123,
  unrecognizedOperation: 0x0211,
  resourceLimitation: 0x0213,
  /** C-FIND, C-MOVE, C-GET: out of resources */
  outOfResources: 0xa700,
  /** C-MOVE, C-GET: out of resources, no sub-operation could be performed */
  cannotPerformSuboperations: 0xa702,
  moveDestinationUnknown: 0xa801,
  identifierDoesNotMatch: 0xa900,
  unableToProcess: 0xc000,
  /** sub-operations complete, one or more failures or warnings */
  suboperationsWarning: 0xb000,
} as const;

/** FF00 and FF01 (PS3.7 Annex C): more responses follow. */
export const isPending = (status: number | undefined): boolean => status !== undefined && (status & 0xff00) === 0xff00;

/** What an SCU makes of a status (PS3.7 Annex C.1). */
export const statusClass = (status: number): 'success' | 'warning' | 'pending' | 'cancel' | 'failure' => {
  if (status === 0) return 'success';
  if (status === STATUS.cancel) return 'cancel';
  if (isPending(status)) return 'pending';
  if (status === 0x0001 || status === 0x0107 || status === 0x0116 || (status & 0xf000) === 0xb000) return 'warning';
  return 'failure';
};
