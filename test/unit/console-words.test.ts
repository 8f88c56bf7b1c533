import { expect, test } from 'vitest';
import { PERMISSIONS, ROLES } from '#core/access.ts';
import { AUDIT_EVENTS } from '#core/audit/event.ts';
import { ACTION_WORDS, EVENT_WORDS, ROLE_WORDS } from '../../web/src/pages/words.ts';

test.each([
  ['event of the audit trail', EVENT_WORDS, Object.keys(AUDIT_EVENTS)],
  ['role', ROLE_WORDS, ROLES],
  ['action', ACTION_WORDS, [...PERMISSIONS.admin]],
])('the console has a word for every %s, and for nothing else', (_, words, names) => {
  expect(Object.keys(words).sort()).toEqual([...names].sort());
});
