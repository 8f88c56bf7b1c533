import { describe, expect, test } from 'vitest';
import type { Principal } from '#core/access.ts';
import { anArchive, SHARED } from '#test/unit/share-links/receiver.ts';

const confined: Principal = {
  tenant: 'main',
  subject: 'integration',
  roles: ['admin'],
  reach: [{ studies: [SHARED] }],
};

describe('who administers by a token that reaches some studies alone', () => {
  test.each([
    ['/api/tokens', { name: 'x', subject: 'me', roles: ['admin'] }],
    ['/api/tokens', { name: 'x', subject: 'me', roles: ['viewer'], reach: [{}] }],
    ['/api/clients', { name: 'x', roles: ['viewer'], method: 'client_secret' }],
    ['/api/enrolments', { gateway: 'site-a' }],
  ])('hands on nothing that reaches all of them: POST %s', async (path, body) => {
    const { ask, staff } = await anArchive();
    expect((await ask('POST', path, { as: confined, body })).status).toBe(403);
    expect((await ask('POST', path, { as: staff(), body })).status).toBe(201);
  });

  test('sends none of them elsewhere by rules', async () => {
    const { ask } = await anArchive();
    const destination = { url: 'https://partner.test/dicomweb' };
    for (const path of ['/api/routing/destinations/partner', '/api/routing/rules/all'])
      expect((await ask('PUT', path, { as: confined, body: destination })).status, path).toBe(403);
  });
});

test.each(['/api/tokens', '/api/clients'])(
  'a role is a text, not a list that reads like one: POST %s',
  async (path) => {
    const { ask, staff } = await anArchive();
    const body = { name: 'x', subject: 'me', method: 'client_secret', roles: [['viewer']] };
    expect((await ask('POST', path, { as: staff(), body })).status).toBe(400);
  },
);
