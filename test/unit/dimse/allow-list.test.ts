import { expect, test } from 'vitest';
import { entityOf } from '#dimse/server.ts';

const ALLOWED = [
  { aeTitle: 'CT1', address: '10.1.2.3', is: 'one machine' },
  { aeTitle: 'CT1', address: '10.1.0.0/16', is: 'one network' },
  { aeTitle: 'MR1', is: 'anywhere' },
  { aeTitle: '*', address: 'fd00:7::/32', is: 'a trusted network' },
  { aeTitle: 'US1', address: 'fe80::/10', is: 'a link of its own' },
];

test.each([
  ['CT1', '10.1.2.3', 'one machine'],
  ['CT1', '::ffff:10.1.2.3', 'one machine'],
  ['CT1', '10.1.200.1', 'one network'],
  ['CT1', '::ffff:10.1.200.1', 'one network'],
  ['CT1', '10.2.0.1', undefined],
  ['CT1', undefined, undefined],
  ['MR1', '192.0.2.1', 'anywhere'],
  ['MR1', undefined, 'anywhere'],
  ['XA9', 'fd00:7:1::5', 'a trusted network'],
  ['XA9', 'fd00:8:1::5', undefined],
  ['US1', 'fe80::1c2:3%eth0', 'a link of its own'],
  ['XA9', 'fe80::1c2:3%eth0', undefined],
  ['XA9', '10.1.2.3', undefined],
])('%s from %s', (aeTitle, address, expected) => {
  expect(entityOf(ALLOWED, aeTitle, address)?.is).toBe(expected);
});
