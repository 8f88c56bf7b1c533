import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Action, authorize, PERMISSIONS, type Role } from '#core/access.ts';

const roles = Object.keys(PERMISSIONS) as Role[];
const actions = [...PERMISSIONS.admin].sort();

/** The table of docs/roles.md, as it must be. */
function table(): string {
  const shown = roles.filter((role) => role !== 'anonymous');
  const head = `| action | ${shown.join(' | ')} |\n| --- |${' :-: |'.repeat(shown.length)}\n`;
  const rows = actions.map((action) => {
    const cells = shown.map((role) => (PERMISSIONS[role].has(action) ? 'x' : ' '));
    return `| \`${action}\` | ${cells.join(' | ')} |\n`;
  });
  return head + rows.join('');
}

test('docs/roles.md shows the permissions that the code has', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/roles.md'), 'utf8');
  const shown = /<!-- roles -->\n([\s\S]*?)<!-- \/roles -->/.exec(text)?.[1];
  expect(shown).toBe(table());
});

test('a role may do what its row says and nothing else', () => {
  for (const role of roles)
    for (const action of actions as Action[]) {
      const ask = () => authorize({ tenant: 'clinic', subject: 'x', roles: [role] }, action);
      if (PERMISSIONS[role].has(action)) expect(ask().roles).toEqual([role]);
      else expect(ask, `${role} ${action}`).toThrow('does not permit');
    }
  expect(actions.length).toBeGreaterThan(12);
});

test('nobody may do anything, an auditor sees no image, roles add up', () => {
  expect(() => authorize(undefined, 'search')).toThrow('authentication is required');
  expect(PERMISSIONS.anonymous.size).toBe(0);
  expect([...PERMISSIONS.auditor]).toEqual(['readAudit']);
  const both = { tenant: 'clinic', subject: 'x', roles: ['finder', 'sender'] as const };
  expect(authorize(both, 'store')).toBe(both);
  expect(authorize(both, 'search')).toBe(both);
});
