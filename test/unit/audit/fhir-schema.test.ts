import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import type { AuditEntry } from '#core/audit/entry.ts';
import { fhirAuditEvent } from '#core/audit/fhir-event.ts';
import { EVERY_EVENT } from '#test/fixtures/audit/every-event.ts';

const require = createRequire(import.meta.url);
const Validator = require('@asymmetrik/fhir-json-schema-validator') as new () => {
  validate(resource: object): { dataPath?: string; message?: string }[];
};

/** What the JSON schema of FHIR R4 does not say: bindings and cardinalities of https://hl7.org/fhir/R4/auditevent.html. */
const REQUIRED = ['type', 'recorded', 'agent', 'source'] as const;

const source = { id: 'nephos.clinic.example', aeTitle: 'NEPHOS', site: 'North' };
const patients = new Map([['1.2.3', 'PAT-1']]);
const resources = EVERY_EVENT.map((event, n) => {
  const entry: AuditEntry = { strand: '01JD0000000000000000000000', n, prev: 'x', ...event };
  return fhirAuditEvent(entry, source, patients) as Record<string, unknown>;
});

test('every entry is an AuditEvent, and the feed a Bundle, by the schema of FHIR R4', () => {
  const validator = new Validator();
  for (const resource of resources) expect(validator.validate(resource), JSON.stringify(resource)).toEqual([]);
  const entry = resources.map((resource) => ({ resource }));
  expect(validator.validate({ resourceType: 'Bundle', type: 'collection', entry })).toEqual([]);
  expect(validator.validate({ ...resources[0], recorded: 'yesterday' })).not.toEqual([]);
});

test('what is required is there, and nothing is an empty list, an empty object or an empty text', () => {
  const check = (value: unknown, path: string): void => {
    if (value === null || typeof value !== 'object') {
      expect(value, path).not.toBe('');
      return;
    }
    expect(Object.keys(value).length, path).toBeGreaterThan(0);
    for (const [name, inner] of Object.entries(value)) check(inner, `${path}.${name}`);
  };
  for (const resource of resources) {
    for (const name of REQUIRED) expect(resource[name], name).toBeDefined();
    expect(resource.id).toMatch(/^[A-Za-z0-9\-.]{1,64}$/);
    check(resource, String((resource.type as { display: string }).display));
  }
});
