/**
 * The DICOM upper layer protocol machine, PS3.8 §9.2: Tables 9-1 to 9-10 as they stand there. What an action does is
 * association.ts' business; which one follows from an event in a state is decided here alone.
 */
export type State = (typeof STATES)[number];
export const STATES = [
  'Sta1', // idle
  'Sta2', // transport connection open, awaiting A-ASSOCIATE-RQ
  'Sta3', // awaiting the local A-ASSOCIATE response
  'Sta4', // awaiting the transport connection to open
  'Sta5', // awaiting A-ASSOCIATE-AC or -RJ
  'Sta6', // association established, ready for data
  'Sta7', // awaiting A-RELEASE-RP
  'Sta8', // awaiting the local A-RELEASE response
  'Sta9', // release collision, requestor: awaiting the local A-RELEASE response
  'Sta10', // release collision, acceptor: awaiting A-RELEASE-RP
  'Sta11', // release collision, requestor: awaiting A-RELEASE-RP
  'Sta12', // release collision, acceptor: awaiting the local A-RELEASE response
  'Sta13', // awaiting the transport connection to close
] as const;

export type Event =
  | 'associateRequest' // Evt1, local
  | 'transportConfirmed' // Evt2
  | 'associateAcPdu' // Evt3
  | 'associateRjPdu' // Evt4
  | 'transportIndication' // Evt5
  | 'associateRqPdu' // Evt6
  | 'associateAccept' // Evt7, local
  | 'associateReject' // Evt8, local
  | 'dataRequest' // Evt9, local
  | 'dataPdu' // Evt10
  | 'releaseRequest' // Evt11, local
  | 'releaseRqPdu' // Evt12
  | 'releaseRpPdu' // Evt13
  | 'releaseResponse' // Evt14, local
  | 'abortRequest' // Evt15, local
  | 'abortPdu' // Evt16
  | 'transportClosed' // Evt17
  | 'artimExpired' // Evt18
  | 'invalidPdu'; // Evt19

export type Action = keyof typeof ACTIONS;

/** Tables 9-6 to 9-9: the state that follows each action. AE-6 and AR-8 depend: the first of the two is the usual one. */
export const ACTIONS = {
  'AE-1': ['Sta4'], // issue TRANSPORT CONNECT
  'AE-2': ['Sta5'], // send A-ASSOCIATE-RQ
  'AE-3': ['Sta6'], // confirm: accepted
  'AE-4': ['Sta1'], // confirm: rejected; close
  'AE-5': ['Sta2'], // start ARTIM
  'AE-6': ['Sta3', 'Sta13'], // stop ARTIM; acceptable: indicate; otherwise send A-ASSOCIATE-RJ, start ARTIM
  'AE-7': ['Sta6'], // send A-ASSOCIATE-AC
  'AE-8': ['Sta13'], // send A-ASSOCIATE-RJ, start ARTIM
  'DT-1': ['Sta6'], // send P-DATA-TF
  'DT-2': ['Sta6'], // indicate data
  'AR-1': ['Sta7'], // send A-RELEASE-RQ
  'AR-2': ['Sta8'], // indicate release
  'AR-3': ['Sta1'], // confirm release; close
  'AR-4': ['Sta13'], // send A-RELEASE-RP, start ARTIM
  'AR-5': ['Sta1'], // stop ARTIM
  'AR-6': ['Sta7'], // indicate data
  'AR-7': ['Sta8'], // send P-DATA-TF
  'AR-8': ['Sta9', 'Sta10'], // release collision: the requestor of the association, its acceptor
  'AR-9': ['Sta11'], // send A-RELEASE-RP
  'AR-10': ['Sta12'], // confirm release
  'AA-1': ['Sta13'], // send A-ABORT of the user, start ARTIM
  'AA-2': ['Sta1'], // stop ARTIM; close
  'AA-3': ['Sta1'], // indicate abort; close
  'AA-4': ['Sta1'], // indicate abort
  'AA-5': ['Sta1'], // stop ARTIM
  'AA-6': ['Sta13'], // ignore
  'AA-7': ['Sta13'], // send A-ABORT of the provider
  'AA-8': ['Sta13'], // send A-ABORT of the provider, indicate abort, start ARTIM
} as const satisfies Record<string, readonly State[]>;

/** Table 9-10. A column a state, Sta1 to Sta13; `-`: the event cannot occur there. */
const TABLE = `
associateRequest    AE-1 -    -    -    -    -    -    -    -    -     -    -    -
transportConfirmed  -    -    -    AE-2 -    -    -    -    -    -     -    -    -
associateAcPdu      -    AA-1 AA-8 -    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
associateRjPdu      -    AA-1 AA-8 -    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
transportIndication AE-5 -    -    -    -    -    -    -    -    -     -    -    -
associateRqPdu      -    AE-6 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
associateAccept     -    -    AE-7 -    -    -    -    -    -    -     -    -    -
associateReject     -    -    AE-8 -    -    -    -    -    -    -     -    -    -
dataRequest         -    -    -    -    -    DT-1 -    AR-7 -    -     -    -    -
dataPdu             -    AA-1 AA-8 -    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
releaseRequest      -    -    -    -    -    AR-1 -    -    -    -     -    -    -
releaseRqPdu        -    AA-1 AA-8 -    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
releaseRpPdu        -    AA-1 AA-8 -    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
releaseResponse     -    -    -    -    -    -    -    AR-4 AR-9 -     -    AR-4 -
abortRequest        -    -    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 -
abortPdu            -    AA-2 AA-3 -    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
transportClosed     -    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
artimExpired        -    AA-2 -    -    -    -    -    -    -    -     -    -    AA-2
invalidPdu          -    AA-1 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
`;

const transitions = new Map<string, Action>();
for (const line of TABLE.trim().split('\n')) {
  const [event, ...actions] = line.split(/ +/);
  for (const [i, action] of actions.entries()) {
    if (action !== '-') transitions.set(`${event}|${STATES[i]}`, action as Action);
  }
}

/** The action for an event in a state; undefined where the event cannot occur (for local events: is not permitted). */
export const actionFor = (state: State, event: Event): Action | undefined => transitions.get(`${event}|${state}`);
