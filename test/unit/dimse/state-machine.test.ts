import { describe, expect, test } from 'vitest';
import { ACTIONS, actionFor, type Event, STATES, type State } from '#dimse/state-machine.ts';

const EVENTS: readonly Event[] = [
  'associateRequest',
  'transportConfirmed',
  'associateAcPdu',
  'associateRjPdu',
  'transportIndication',
  'associateRqPdu',
  'associateAccept',
  'associateReject',
  'dataRequest',
  'dataPdu',
  'releaseRequest',
  'releaseRqPdu',
  'releaseRpPdu',
  'releaseResponse',
  'abortRequest',
  'abortPdu',
  'transportClosed',
  'artimExpired',
  'invalidPdu',
];
const PDU_EVENTS = EVENTS.filter((event) => /Pdu$/.test(event));

describe('the protocol machine (PS3.8 Table 9-10)', () => {
  test('has as many transitions as the standard', () => {
    const transitions = EVENTS.flatMap((event) => STATES.map((state) => actionFor(state, event))).filter(Boolean);
    expect(transitions).toHaveLength(123);
  });

  test('knows what to do with any PDU wherever there is a peer', () => {
    const withPeer = STATES.filter((state) => state !== 'Sta1' && state !== 'Sta4');
    for (const state of withPeer)
      for (const event of PDU_EVENTS) expect(actionFor(state, event), `${event} in ${state}`).toBeDefined();
  });

  test('every action is used, and every state can be reached and left', () => {
    const used = new Set(EVENTS.flatMap((event) => STATES.map((state) => actionFor(state, event))));
    expect(Object.keys(ACTIONS).filter((action) => !used.has(action as keyof typeof ACTIONS))).toEqual([]);
    const reached = new Set<State>(['Sta1']);
    for (let size = 0; size < reached.size; ) {
      size = reached.size;
      for (const state of [...reached])
        for (const event of EVENTS) {
          const action = actionFor(state, event);
          for (const next of action === undefined ? [] : ACTIONS[action]) reached.add(next);
        }
    }
    expect([...reached].sort()).toEqual([...STATES].sort());
  });

  test.each([
    ['Sta2', 'dataPdu', 'AA-1'],
    ['Sta6', 'dataPdu', 'DT-2'],
    ['Sta7', 'dataPdu', 'AR-6'],
    ['Sta8', 'dataRequest', 'AR-7'],
    ['Sta7', 'releaseRqPdu', 'AR-8'],
    ['Sta10', 'releaseRpPdu', 'AR-10'],
    ['Sta13', 'associateRqPdu', 'AA-7'],
    ['Sta13', 'transportClosed', 'AR-5'],
    ['Sta6', 'artimExpired', undefined],
    ['Sta7', 'dataRequest', undefined],
  ] as const)('in %s %s leads to %s', (state, event, action) => {
    expect(actionFor(state, event)).toBe(action);
  });
});
