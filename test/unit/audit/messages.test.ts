import { SaxesParser } from 'saxes';
import { describe, expect, test } from 'vitest';
import { type AuditSource, auditMessage, syslogLine } from '#core/audit/dicom-message.ts';
import { AUDIT_EVENTS, type AuditEvent, type AuditEventName } from '#core/audit/event.ts';
import { fhirAuditEvent } from '#core/audit/fhir-event.ts';

const source: AuditSource = { id: 'nephos.clinic.example', aeTitle: 'NEPHOS', site: 'North <wing>' };
const patients = new Map([['1.2.3', 'PAT-1']]);
const base: AuditEvent = {
  at: Date.UTC(2026, 10, 22, 9, 30),
  event: 'InstancesAccessed',
  action: 'R',
  outcome: 0,
  subject: 'dr.o&apos;hara',
  roles: ['radiologist'],
  door: 'http',
  from: '10.1.2.3',
  transaction: 'RetrieveStudy',
  studies: ['1.2.3'],
  instances: 12,
};

interface Read {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: Read[];
}

/** A message as a tree; fails on XML that is not well formed. */
function read(xml: string): Read {
  const root: Read = { name: '', attributes: {}, children: [] };
  const open = [root];
  const parser = new SaxesParser();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name, attributes }) => {
    const made: Read = { name, attributes: attributes as Record<string, string>, children: [] };
    open.at(-1)!.children.push(made);
    open.push(made);
  });
  parser.on('closetag', () => {
    open.pop();
  });
  parser.write(xml).close();
  return root.children[0]!;
}
const named = (node: Read, name: string): Read[] => node.children.filter((child) => child.name === name);

describe('an audit message (PS3.15 A.5)', () => {
  test.each(Object.keys(AUDIT_EVENTS) as AuditEventName[])('%s has what the schema asks for, in its order', (event) => {
    const message = read(auditMessage({ ...base, event, keys: ['PatientName'] }, source, patients));
    expect(message.name).toBe('AuditMessage');
    const order = message.children.map(({ name }) => name);
    const ranks = [
      'EventIdentification',
      'ActiveParticipant',
      'AuditSourceIdentification',
      'ParticipantObjectIdentification',
    ];
    expect(order).toEqual([...order].sort((a, b) => ranks.indexOf(a) - ranks.indexOf(b)));
    const [identification] = named(message, 'EventIdentification');
    expect(identification!.attributes).toEqual({
      EventActionCode: 'R',
      EventDateTime: '2026-11-22T09:30:00.000Z',
      EventOutcomeIndicator: '0',
    });
    expect(named(identification!, 'EventID')[0]!.attributes).toEqual({
      'csd-code': AUDIT_EVENTS[event].code,
      codeSystemName: 'DCM',
      originalText: AUDIT_EVENTS[event].meaning,
    });
    const participants = named(message, 'ActiveParticipant');
    expect(participants.length).toBeGreaterThanOrEqual(2);
    expect(participants.filter(({ attributes }) => attributes.UserIsRequestor === 'true')).toHaveLength(1);
    expect(named(message, 'AuditSourceIdentification')[0]!.attributes).toEqual({
      AuditEnterpriseSiteID: 'North <wing>',
      AuditSourceID: 'nephos.clinic.example',
    });
  });

  test('of an access names study and patient, and who looked from where', () => {
    const message = read(auditMessage(base, source, patients));
    const reader = named(message, 'ActiveParticipant').find((one) => one.attributes.UserIsRequestor === 'true')!;
    expect(reader.attributes).toMatchObject({
      UserID: 'dr.o&apos;hara',
      NetworkAccessPointID: '10.1.2.3',
      NetworkAccessPointTypeCode: '2',
    });
    const [study, patient] = named(message, 'ParticipantObjectIdentification');
    expect(study!.attributes).toEqual({
      ParticipantObjectID: '1.2.3',
      ParticipantObjectTypeCode: '2',
      ParticipantObjectTypeCodeRole: '3',
    });
    expect(patient!.attributes).toEqual({
      ParticipantObjectID: 'PAT-1',
      ParticipantObjectTypeCode: '1',
      ParticipantObjectTypeCodeRole: '1',
    });
  });

  test('of a call that came through a front names both: who is said to have asked, and where the connection came from', () => {
    const behind: AuditEvent = { ...base, from: '203.0.113.9', via: '130.176.1.1' };
    const points = named(read(auditMessage(behind, source)), 'ActiveParticipant').map(({ attributes }) => [
      attributes.UserIsRequestor,
      attributes.NetworkAccessPointID,
    ]);
    expect(points).toContainEqual(['true', '203.0.113.9']);
    expect(points).toContainEqual(['false', '130.176.1.1']);
    const entry = { strand: '01JD0000000000000000000000', n: 0, prev: 'x', ...behind };
    expect(fhirAuditEvent(entry, source)).toMatchObject({
      agent: [
        { requestor: true, network: { address: '203.0.113.9' } },
        { requestor: false, network: { address: '130.176.1.1' } },
      ],
    });
  });

  test('of a store has the sender as source and the archive as destination, by their AE titles', () => {
    const stored: AuditEvent = { ...base, event: 'InstancesTransferred', action: 'C', door: 'dicom', subject: 'CT_1' };
    const roles = named(read(auditMessage(stored, source)), 'ActiveParticipant').map((one) => [
      one.attributes.AlternativeUserID,
      named(one, 'RoleIDCode')[0]!.attributes['csd-code'],
    ]);
    expect(roles).toEqual([
      ['AETITLE=CT_1', '110153'],
      ['AETITLE=NEPHOS', '110152'],
    ]);
  });

  test('of a query says which attributes were asked about, not their values', () => {
    const xml = auditMessage({ ...base, event: 'Query', studies: [], keys: ['PatientName', 'StudyDate'] }, source);
    expect(xml).toContain(`<ParticipantObjectQuery>${Buffer.from('PatientName&StudyDate').toString('base64')}<`);
  });

  test('travels as a syslog line (PS3.15 A.6, RFC 5424)', () => {
    const line = syslogLine('<AuditMessage/>', base.at, 'pacs', 42).toString();
    expect(line).toBe('<85>1 2026-11-22T09:30:00.000Z pacs nephos 42 DICOM+RFC3881 - \uFEFF<AuditMessage/>');
  });
});

test('a FHIR AuditEvent says the same', () => {
  const entry = { ...base, strand: '01HZX', n: 3, prev: 'ab', outcome: 4 as const, error: 'FORBIDDEN' as const };
  expect(fhirAuditEvent(entry, source, patients)).toMatchObject({
    resourceType: 'AuditEvent',
    id: '01HZX-3',
    type: { system: 'http://dicom.nema.org/resources/ontology/DCM', code: '110103' },
    action: 'R',
    recorded: '2026-11-22T09:30:00.000Z',
    outcome: '4',
    outcomeDesc: 'FORBIDDEN',
    agent: [{ who: { identifier: { value: 'dr.o&apos;hara' } }, requestor: true, network: { address: '10.1.2.3' } }],
    source: { observer: { identifier: { value: 'nephos.clinic.example' } } },
    entity: [
      { what: { identifier: { system: 'urn:dicom:uid', value: 'urn:oid:1.2.3' } } },
      { what: { identifier: { value: 'PAT-1' } } },
    ],
  });
});
