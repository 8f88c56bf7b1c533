import type { AuditSource, PatientIDs } from './dicom-message.ts';
import type { AuditEntry } from './entry.ts';
import { AUDIT_EVENTS } from './event.ts';

const DCM = 'http://dicom.nema.org/resources/ontology/DCM';

/** The FHIR R4 AuditEvent of an entry (https://hl7.org/fhir/R4/auditevent.html), as JSON. Its id is the entry's place in its strand. */
export function fhirAuditEvent(entry: AuditEntry, source: AuditSource, patients: PatientIDs = new Map()): object {
  const { code, meaning, type } = AUDIT_EVENTS[entry.event] as {
    code: string;
    meaning: string;
    type?: readonly [string, string];
  };
  const studies = entry.studies ?? [];
  const patientIDs = [...new Set(studies.flatMap((uid) => patients.get(uid) ?? []))];
  const entity = [
    ...studies.map((uid) => ({
      what: { identifier: { system: 'urn:dicom:uid', value: `urn:oid:${uid}` } },
      type: { system: 'http://terminology.hl7.org/CodeSystem/audit-entity-type', code: '2' },
      ...(entry.event === 'DataDeidentified' && {
        lifecycle: { system: 'http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle', code: '7' },
      }),
      ...details({ NumberOfInstances: entry.instances, Repeated: entry.repeated }),
    })),
    ...patientIDs.map((PatientID) => ({
      what: { identifier: { value: PatientID } },
      type: { system: 'http://terminology.hl7.org/CodeSystem/audit-entity-type', code: '1' },
      role: { system: 'http://terminology.hl7.org/CodeSystem/object-role', code: '1' },
    })),
    ...(entry.about === undefined
      ? []
      : [
          {
            what: { identifier: { value: entry.about } },
            type: { system: 'http://terminology.hl7.org/CodeSystem/audit-entity-type', code: '1' },
            role: { system: 'http://terminology.hl7.org/CodeSystem/object-role', code: '11' },
          },
        ]),
    ...((entry.keys ?? []).length === 0
      ? []
      : [
          {
            type: { system: 'http://terminology.hl7.org/CodeSystem/audit-entity-type', code: '2' },
            role: { system: 'http://terminology.hl7.org/CodeSystem/object-role', code: '24' },
            query: Buffer.from(entry.keys!.join('&')).toString('base64'),
          },
        ]),
  ];
  return {
    resourceType: 'AuditEvent',
    id: `${entry.strand}-${entry.n}`,
    type: { system: DCM, code, display: meaning },
    ...(type && { subtype: [{ system: DCM, code: type[0], display: type[1] }] }),
    action: entry.action,
    recorded: new Date(entry.at).toISOString(),
    outcome: String(entry.outcome),
    ...(entry.error !== undefined && { outcomeDesc: entry.error }),
    ...(entry.purpose !== undefined && { purposeOfEvent: [{ text: entry.purpose }] }),
    agent: [
      {
        who: { identifier: { value: entry.subject } },
        requestor: true,
        ...(entry.roles.length > 0 && { role: entry.roles.map((role) => ({ text: role })) }),
        ...(entry.from !== undefined && { network: { address: entry.from, type: '2' } }),
      },
      ...(entry.destination === undefined
        ? []
        : [{ who: { identifier: { value: entry.destination } }, requestor: false }]),
      // what stood between the caller and us
      ...(entry.via === undefined ? [] : [{ requestor: false, network: { address: entry.via, type: '2' } }]),
    ],
    source: {
      ...(source.site !== undefined && { site: source.site }),
      observer: { identifier: { value: source.id } },
      type: [{ system: 'http://terminology.hl7.org/CodeSystem/security-source-type', code: '4' }],
    },
    // FHIR has no empty lists.
    ...(entity.length > 0 && { entity }),
  };
}

function details(values: Readonly<Record<string, number | undefined>>): object {
  const detail = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([type, value]) => ({ type, valueString: String(value) }));
  return detail.length > 0 ? { detail } : {};
}
