import { expect, test } from 'vitest';
import { auditMessage } from '#core/audit/dicom-message.ts';

test('a name that holds the end of a line forges no second message of the audit trail', () => {
  const message = auditMessage(
    {
      at: 0,
      event: 'Login',
      action: 'E',
      outcome: 4,
      subject: 'eve"/>\n<?xml version="1.0"?><AuditMessage>\r\tadmin',
      roles: [],
      door: 'http',
      about: 'a\nb',
    },
    { id: 'archive', aeTitle: 'NEPHOS' },
  );
  expect(message).not.toMatch(/[\r\n\t]/);
  expect(message.match(/<AuditMessage>/g)).toHaveLength(1);
  expect(message).toContain('UserID="eve&quot;/&gt;&#10;');
});
