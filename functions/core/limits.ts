/** Every limit of the archive, named, with its default. A host may set any of them (NEPHOS_LIMIT_<NAME>). */
export const DEFAULT_LIMITS = {
  /** bytes of all that stands before the pixel data and is held while an object is scanned */
  headerBytes: 128 * 1024 * 1024,
  /** values longer than this are BulkData: skipped, never held (bytes) */
  inlineValueBytes: 64 * 1024,
  /** binary values (OB OW UN …) longer than this become BulkDataURI instead of InlineBinary (bytes) */
  inlineBinaryBytes: 256,
  /** objects up to this size are gathered and written in one go; larger ones are streamed (bytes) */
  wholeObjectBytes: 2 * 1024 * 1024,
  /** objects of one STOW request that are being made durable at the same time */
  storeConcurrency: 64,
  /** bytes of objects of one STOW request that are held while they are being made durable */
  storeInFlightBytes: 16 * 1024 * 1024,
  /** items within items */
  sequenceDepth: 64,
  /** data elements of one object, nested ones included */
  elements: 2_000_000,
  /** inflated bytes allowed for each deflated byte */
  inflateRatio: 1_032,
  /** inflated bytes of a deflated data set */
  inflatedBytes: 4 * 1024 * 1024 * 1024,
  /** metadata text that still stands in the index; longer goes to a blob (bytes) */
  metadataInIndexBytes: 200_000,
  /** frame tables up to this size stand in the instance's record (bytes; 16 a frame) */
  frameTableInIndexBytes: 4_096,
  /** instances of one STOW request */
  storeInstances: 100_000,
  /** bytes of one STOW request */
  storeRequestBytes: 1024 * 1024 * 1024 * 1024,
  /** bytes of the DICOM JSON or XML part of a STOW request */
  storeMetadataBytes: 256 * 1024 * 1024,
  /** instances, and bytes, of one request for storage commitment by HTTP */
  commitmentInstances: 50_000,
  /** instances that one rejection note hides before they have come; those that it names beyond are shown when they come */
  rejectedAheadInstances: 10_000,
  commitmentRequestBytes: 32 * 1024 * 1024,
  /** QIDO: results of one response when `limit` is absent, and the most that may be asked */
  searchDefaultResults: 1_000,
  searchMaxResults: 5_000,
  /** QIDO: records read for one request before the answer is cut with a Warning header */
  searchRecords: 20_000,
  /** pixels of a rendered image's longer side */
  renderedSidePixels: 8_192,
  /** decoded bytes of one frame that is transcoded or rendered */
  decodedFrameBytes: 512 * 1024 * 1024,
  /** time without a new instance after which a study is quiet (ms) */
  studyQuietMs: 30_000,
  /** how long deleted and rejected objects stay recoverable (ms) */
  trashMs: 30 * 24 * 60 * 60 * 1000,
  /** after so long without a sweep the clock may have leapt (ms) … */
  clockLeapMs: 7 * 24 * 60 * 60 * 1000,
  /** … and for so long nothing is removed for good from trash and worklist (ms) */
  purgeHoldMs: 24 * 60 * 60 * 1000,
  /** how often who waits in C-MOVE or C-GET, for a restore or an upstream, hears that it is still pending (ms) */
  retrievePendingMs: 10_000,
  /** how long a C-MOVE or C-GET waits for restores from slow media; what is not back by then has failed (ms) */
  retrieveRestoreMs: 30 * 60 * 1000,
  /** objects that are read or converted at a time for all C-MOVE and C-GET of a process; who is more urgent gets the next turn */
  retrieveReads: 8,
  /** worklist items that began longer ago than this are not answered unless their date is asked for (ms) */
  worklistPastMs: 2 * 24 * 60 * 60 * 1000,
  /** worklist items that began, and were last changed, longer ago than this are removed (ms) */
  worklistKeepMs: 90 * 24 * 60 * 60 * 1000,
  /** objects smaller than this are given no colder tier: moving them costs more than keeping them (bytes) */
  tierLeastBytes: 128 * 1024,
  /** smaller studies are not placed: a placement bills a least size (bytes) */
  placementLeastBytes: 5 * 1024 * 1024,
  /** metadata of a placement that are held for one request, as text; what is beyond them is the archive's own (bytes) */
  placedMetadataBytes: 64 * 1024 * 1024,
  /** how often a restore from slow media is looked after, and the Retry-After of who waits for it (ms) */
  restorePollMs: 15 * 60 * 1000,
  /** objects of one store transaction */
  transactionObjects: 1_000,
  /** bytes of one object of a store transaction */
  transactionObjectBytes: 1024 * 1024 * 1024 * 1024,
  /** bytes of the objects of one store transaction */
  transactionBytes: 16 * 1024 * 1024 * 1024 * 1024,
  /** bytes of a part of an object; more where it would have over 10,000 */
  transactionPartBytes: 16 * 1024 * 1024,
  /** how long a store transaction lasts from its creation, and its answer is kept (ms) */
  transactionMs: 5 * 24 * 60 * 60 * 1000,
  /** how long what is given out for uploading a part by itself holds (ms) */
  transactionGrantMs: 15 * 60 * 1000,
  /** a committed transaction with fewer bytes is stored by the request that commits it; others by the queue */
  transactionInlineBytes: 128 * 1024 * 1024,
  /** how long a commit waits for the queue before it says "later" (ms) */
  transactionWaitMs: 20_000,
  /** committed transactions that are not done after this time are given to the queue again (ms) */
  transactionRetryMs: 30 * 60 * 1000,
  /** bytes of one response; larger ones are refused before they begin where the size is known */
  responseBytes: 1024 * 1024 * 1024 * 1024,
  /** objects larger than this are read from a signed URL, where the store can sign (bytes) */
  redirectBytes: 1024 * 1024 * 1024 * 1024,
  /** how long such a URL holds (ms) */
  redirectMs: 15 * 60 * 1000,
  /** how often an open stream of events looks for new ones (ms) */
  eventPollMs: 250,
  /** how long a process goes by the rules about who reaches what that it has read; 0: every request reads whether they have changed (ms) */
  accessPolicyMs: 0,
  /** a begun store older than this is an interrupted one (ms) */
  pendingMs: 60 * 60 * 1000,
  /** how long an access token of a machine client holds; its client may be revoked before (ms) */
  clientTokenMs: 10 * 60 * 1000,
  /** how long an assertion by which a client shows who it is may hold (ms) */
  clientAssertionMs: 5 * 60 * 1000,
  /** enrolment codes that one address, and all together, may try in ten minutes */
  enrolmentAttempts: 20,
  enrolmentAttemptsOfAll: 300,
  /** how long somebody who is sent here by a record system may take to come back from its login (ms) */
  launchMs: 10 * 60 * 1000,
  /** how long emergency access (break-glass) lasts (ms) */
  emergencyMs: 60 * 60 * 1000,
  /** how old what a request knows about who reaches what may get while it lasts (ms); each request begins with what holds then */
  reachStaleMs: 1_000,
  /** least characters of a person's password */
  passwordCharacters: 12,
  /** how long the link holds by which somebody chooses a password (ms) */
  userLinkMs: 24 * 60 * 60 * 1000,
  /** how long somebody who has signed in by an issuer stays so, however often it renews his tokens (ms) */
  loginMs: 12 * 60 * 60 * 1000,
  /** how long a browser may take for a sign-in, from here to the issuer and back (ms) */
  loginStateMs: 15 * 60 * 1000,
  /** the same access by the same person is one entry of the audit trail, and a count, for this long (ms) */
  auditRepeatMs: 60 * 1000,
  /** acts that are being counted so, of one process; the oldest is settled for a new one */
  auditRepeatedActs: 10_000,
  /** while the audit trail cannot be written, one act is let through this often to see whether it can be again (ms) */
  auditProbeMs: 5_000,
  /** accesses that one process has answered and whose entries in the audit trail are not durable yet; what comes beyond waits for its own */
  auditEntriesUnderWay: 200,
  /** entries of one sealed segment of the audit trail */
  auditSegmentEntries: 1_000,
  /** how long a share link lasts where nobody says, and at most (ms) */
  shareDefaultMs: 7 * 24 * 60 * 60 * 1000,
  shareMostMs: 90 * 24 * 60 * 60 * 1000,
  /** studies of one share link */
  shareStudies: 25,
  /** how long whoever has opened a share link may look without opening it again (ms) */
  shareSessionMs: 60 * 60 * 1000,
  /** sessions of one share link at a time; the oldest ends for a new one */
  shareSessions: 50,
  /** wrong PINs that lock a share link for good */
  sharePinGuesses: 5,
  /** what may be sent in by one share link, in all (bytes) */
  shareUploadBytes: 20 * 1024 * 1024 * 1024,
  /** while a study is arriving, rules that want each instance at once look for new ones this often (ms) */
  routingStoredMs: 2_000,
  /** instances, and bytes, that one request takes to another archive; of larger objects one */
  routingRequestInstances: 40,
  routingRequestBytes: 256 * 1024 * 1024,
  /** how long another archive may be silent where a destination does not say (ms) */
  routingTimeoutMs: 60_000,
  /** after this time the rest of a study that is being sent elsewhere is left to the next job (ms) */
  routingTurnMs: 60_000,
  /** a sender that is not heard of for this long has died (ms) */
  routingLeaseMs: 5 * 60 * 1000,
  /** how long what failed on its way to another archive waits: first, and at most, however often it has failed (ms) */
  routingFirstRetryMs: 5_000,
  routingMostRetryMs: 15 * 60 * 1000,
  /** what could not be sent for this long is held until a person decides (ms) */
  routingGiveUpMs: 3 * 24 * 60 * 60 * 1000,
  /** an instance that another archive has refused so often is held */
  routingRefusals: 3,
  /** how often an answer that is still on its way to a guest looks whether the link has been revoked (ms) */
  shareCheckMs: 2_000,
} as const;

export type Limits = { readonly [name in keyof typeof DEFAULT_LIMITS]: number };

/** The environment variable that sets a limit: `studyQuietMs` is NEPHOS_LIMIT_STUDY_QUIET_MS. */
export const limitVariable = (name: string): string =>
  `NEPHOS_LIMIT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
