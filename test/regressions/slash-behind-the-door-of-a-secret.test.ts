import { expect, test } from 'vitest';
import { anArchive } from '#test/unit/share-links/receiver.ts';

test.each(['/api/session', '/api/token', '/api/guest/look', '/api/enrolments/exchange'])(
  'guesses at %s are counted with a slash behind it, too',
  async (path) => {
    const { ask, share } = await anArchive({ rates: { failuresPerMinute: 3 } });
    const { id } = await share();
    const target = path.startsWith('/api/guest') ? `/s/${id}${path}/` : `${path}/`;
    const body =
      path === '/api/token'
        ? Buffer.from('grant_type=client_credentials&client_id=x&client_secret=y')
        : { token: 'nephos_wrong', secret: 'wrong', code: '0000-0000-0000', key: await aKey() };
    const headers = path === '/api/token' ? { 'content-type': 'application/x-www-form-urlencoded' } : {};
    const statuses: number[] = [];
    for (let n = 0; n < 5; n++) statuses.push((await ask('POST', target, { body, headers, from: '192.0.2.7' })).status);
    expect(statuses.slice(0, 3).every((status) => status === 401 || status === 404)).toBe(true);
    expect(statuses.slice(3)).toEqual([429, 429]);
  },
);

async function aKey() {
  const { exportJWK, generateKeyPair } = await import('jose');
  return exportJWK((await generateKeyPair('ES256')).publicKey);
}
