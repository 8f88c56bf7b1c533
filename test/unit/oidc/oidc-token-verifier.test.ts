import { createHmac } from 'node:crypto';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { type OidcSettings, readOidcSettings } from '#adapters/oidc/settings.ts';

const ISSUER = 'https://issuer.test/realm';
const AUDIENCE = 'nephos';
const NOW = Date.UTC(2026, 10, 22, 12);
const SECONDS = NOW / 1000;

interface Key {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}
const newKey = async (kid: string, alg = 'RS256'): Promise<Key> => ({ kid, alg, ...(await generateKeyPair(alg)) });

/** An issuer: its discovery document and its keys; counts how often it is asked. */
class Issuer {
  keys: Key[] = [];
  down = false;
  document: object = { issuer: ISSUER, jwks_uri: `${ISSUER}/keys` };
  readonly asked: string[] = [];

  fetch = async (url: string): Promise<Response> => {
    this.asked.push(url.slice(ISSUER.length));
    if (this.down) throw new TypeError('fetch failed');
    if (url === `${ISSUER}/.well-known/openid-configuration`) return Response.json(this.document);
    if (url !== `${ISSUER}/keys`) return new Response('', { status: 404 });
    const keys = this.keys.map(async ({ kid, alg, publicKey }) => ({ ...(await exportJWK(publicKey)), kid, alg }));
    return Response.json({ keys: await Promise.all(keys) });
  };
}

const signed = (key: Key, claims: JWTPayload = {}): Promise<string> =>
  new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'dr-house', exp: SECONDS + 300, roles: ['finder'], ...claims })
    .setProtectedHeader({ alg: key.alg, kid: key.kid })
    .sign(key.privateKey);

const unsigned = (header: object, claims: object): string =>
  [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');

describe('a token of an OIDC issuer', () => {
  let rsa: Key;
  let ec: Key;
  let other: Key;
  let issuer: Issuer;
  const settings = (more: Record<string, string> = {}, tenants = ['main']): OidcSettings =>
    readOidcSettings({ NEPHOS_OIDC_ISSUER: ISSUER, NEPHOS_OIDC_AUDIENCE: AUDIENCE, ...more }, tenants)!;
  const verifier = (more: Record<string, string> = {}, tenants?: string[]) =>
    new OidcTokenVerifier(settings(more, tenants), { now: () => NOW }, issuer.fetch as never);

  beforeAll(async () => {
    [rsa, ec, other] = await Promise.all([newKey('rsa'), newKey('ec', 'ES256'), newKey('other')]);
  });
  beforeEach(() => {
    issuer = new Issuer();
    issuer.keys = [rsa, ec];
  });

  test('brings the values of the claims that grants may be made to, and of no others', async () => {
    const verify = verifier({ NEPHOS_OIDC_GRANT_CLAIMS: 'department, https://clinic.test/sites,level' });
    const claims = {
      department: 'Nuclear Medicine',
      'https://clinic.test/sites': ['North', 'South'],
      level: 3,
      other: 'x',
    };
    expect((await verify.verify(await signed(rsa, claims)))?.claims).toEqual([
      'department=Nuclear Medicine',
      'https://clinic.test/sites=North',
      'https://clinic.test/sites=South',
      'level=3',
    ]);
    expect(await verify.verify(await signed(rsa))).not.toHaveProperty('claims');
    const many = await verify.verify(await signed(rsa, { department: Array.from({ length: 200 }, (_, i) => `d${i}`) }));
    expect(many?.claims).toHaveLength(100);
  });

  test('signed with RSA or an elliptic curve, it stands for its subject', async () => {
    const verify = verifier();
    const expected = { tenant: 'main', subject: 'dr-house', roles: ['finder'] };
    expect(await verify.verify(await signed(rsa))).toEqual(expected);
    expect(await verify.verify(await signed(ec))).toEqual(expected);
    expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/keys']);
  });

  test.each<[string, JWTPayload]>([
    ['expired', { exp: SECONDS - 60 }],
    ['without an end', { exp: undefined as never }],
    ['not yet valid', { nbf: SECONDS + 120 }],
    ['for another audience', { aud: 'billing' }],
    ['for nobody in particular', { aud: undefined as never }],
    ['of another issuer', { iss: 'https://issuer.test/other' }],
    ['without a subject', { sub: undefined as never }],
  ])('%s, it is worth nothing', async (_, claims) => {
    expect(await verifier().verify(await signed(rsa, claims))).toBeUndefined();
  });

  test.each(['RS384', 'RS512', 'PS256', 'PS512', 'ES384', 'ES512', 'EdDSA'])(
    'signed by %s as well: which one is the issuer’s choice',
    async (alg) => {
      const key = await newKey(alg, alg);
      issuer.keys = [key];
      expect(await verifier().verify(await signed(key))).toMatchObject({ subject: 'dr-house', roles: ['finder'] });
    },
  );

  /** What ID tokens of these issuers hold, as their makers document them; names and numbers are made up. */
  test.each([
    [
      'Microsoft Entra ID, groups by their object ids',
      { NEPHOS_OIDC_ROLES_CLAIM: 'groups', NEPHOS_OIDC_ROLES: '8c0e0e1e-55aa-4bb1-9a8f-0d4f1f2b7c11=radiologist' },
      {
        ...{ ver: '2.0', tid: '72f988bf-86f1-41af-91ab-2d7cd011db47', oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474' },
        ...{ preferred_username: 'ida@clinic.example', uti: 'x' },
        groups: ['8c0e0e1e-55aa-4bb1-9a8f-0d4f1f2b7c11', '11111111-2222-3333-4444-555555555555'],
      },
    ],
    [
      'Microsoft Entra ID, roles of the application',
      { NEPHOS_OIDC_ROLES_CLAIM: 'roles', NEPHOS_OIDC_ROLES: 'Pacs.Read=radiologist' },
      { ver: '2.0', oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474', roles: ['Pacs.Read', 'Other.App'] },
    ],
    [
      'Okta',
      { NEPHOS_OIDC_ROLES_CLAIM: 'groups', NEPHOS_OIDC_ROLES: 'PACS Readers=radiologist' },
      { ver: 1, amr: ['pwd', 'mfa'], idp: '00o1', groups: ['Everyone', 'PACS Readers'] },
    ],
    [
      'Amazon Cognito',
      { NEPHOS_OIDC_ROLES_CLAIM: 'cognito:groups' },
      { token_use: 'id', 'cognito:username': 'ida', 'cognito:groups': ['radiologist', 'eu-west-1_abc_SAML'] },
    ],
    [
      'Keycloak',
      { NEPHOS_OIDC_ROLES_CLAIM: 'realm_access.roles', NEPHOS_OIDC_ROLES: 'radiology=radiologist' },
      { typ: 'ID', azp: 'nephos', realm_access: { roles: ['offline_access', 'radiology'] }, resource_access: {} },
    ],
  ])('of %s: the groups that mean something here are roles, all others are none', async (_, settings, claims) => {
    const token = await signed(rsa, { roles: undefined, ...claims });
    expect((await verifier(settings).verify(token))?.roles).toEqual(['radiologist']);
  });

  test('of Entra where somebody is in too many groups: it names none, so he has no role, and no error', async () => {
    const settings = { NEPHOS_OIDC_ROLES_CLAIM: 'groups', NEPHOS_OIDC_ROLES: 'a=radiologist' };
    const overage = {
      _claim_names: { groups: 'src1' },
      _claim_sources: { src1: { endpoint: 'https://graph.test/me' } },
    };
    const token = await signed(rsa, { roles: undefined, ...overage });
    expect((await verifier(settings).verify(token))?.roles).toEqual([]);
  });

  test('within the tolerance of clocks it is still good', async () => {
    expect(await verifier().verify(await signed(rsa, { exp: SECONDS - 10 }))).toBeDefined();
  });

  test('one of several audiences is enough, and the client of a token without one', async () => {
    const verify = verifier({ NEPHOS_OIDC_AUDIENCE: 'console, nephos' });
    expect(await verify.verify(await signed(rsa, { aud: ['billing', 'nephos'] }))).toBeDefined();
    expect(await verify.verify(await signed(rsa, { aud: undefined as never, client_id: 'console' }))).toBeDefined();
    expect(await verify.verify(await signed(rsa, { aud: 'billing', client_id: 'console' }))).toBeUndefined();
  });

  test('without a signature, or signed with the public key as if it were a secret, it is worth nothing', async () => {
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'dr-house', exp: SECONDS + 300, roles: ['admin'] };
    const verify = verifier();
    expect(await verify.verify(`${unsigned({ alg: 'none' }, claims)}.`)).toBeUndefined();
    expect(await verify.verify(`${unsigned({ alg: 'none', kid: 'rsa' }, claims)}.`)).toBeUndefined();
    const head = unsigned({ alg: 'HS256', kid: 'rsa' }, claims);
    const secret = await exportSPKI(rsa.publicKey);
    const mac = createHmac('sha256', secret).update(head).digest('base64url');
    expect(await verify.verify(`${head}.${mac}`)).toBeUndefined();
    expect(await verify.verify('nonsense')).toBeUndefined();
    expect(await verify.verify('')).toBeUndefined();
  });

  test('changed after it was signed, or signed by another key of the same name, it is worth nothing', async () => {
    const [head, , signature] = (await signed(rsa)).split('.');
    const claims = Buffer.from(JSON.stringify({ iss: ISSUER, aud: AUDIENCE, sub: 'x', exp: SECONDS + 300 }));
    expect(await verifier().verify(`${head}.${claims.toString('base64url')}.${signature}`)).toBeUndefined();
    expect(await verifier().verify(await signed({ ...other, kid: 'rsa' }))).toBeUndefined();
  });

  test('of an unknown key: the keys are asked for again, but not with every such token', async () => {
    const verify = verifier();
    for (let i = 0; i < 5; i++) expect(await verify.verify(await signed(other))).toBeUndefined();
    expect(issuer.asked.filter((path) => path === '/keys').length).toBeLessThanOrEqual(2);
  });

  test('keys may be rotated: a new one is found without a restart, and one that was withdrawn is forgotten', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: NOW });
    try {
      const verify = verifier({ NEPHOS_OIDC_JWKS_URL: `${ISSUER}/keys` });
      expect(await verify.verify(await signed(rsa))).toBeDefined();
      issuer.keys = [other];
      vi.setSystemTime(NOW + 60_000);
      expect(await verify.verify(await signed(other))).toBeDefined();
      expect(await verify.verify(await signed(rsa))).toBeUndefined();
      expect(issuer.asked[0]).toBe('/keys');
    } finally {
      vi.useRealTimers();
    }
  });

  test('an issuer that cannot be reached is no fault of the token: BUSY, and the next token asks again', async () => {
    const verify = verifier();
    issuer.down = true;
    await expect(verify.verify(await signed(rsa))).rejects.toMatchObject({ code: 'BUSY' });
    issuer.down = false;
    expect(await verify.verify(await signed(rsa))).toBeDefined();
  });

  test('a discovery document of another issuer is not believed', async () => {
    issuer.document = { issuer: 'https://elsewhere.test', jwks_uri: `${ISSUER}/keys` };
    await expect(verifier().verify(await signed(rsa))).rejects.toMatchObject({ code: 'BUSY' });
  });

  describe('tenant and roles', () => {
    const principal = async (env: Record<string, string>, claims: JWTPayload, tenants?: string[]) =>
      verifier(env, tenants).verify(await signed(rsa, claims));

    test('the tenant is that of the claim, and must be one that is served', async () => {
      const env = { NEPHOS_OIDC_TENANT_CLAIM: 'tenant' };
      const tenants = ['north', 'south'];
      expect(await principal(env, { tenant: 'south' }, tenants)).toMatchObject({ tenant: 'south' });
      expect(await principal(env, { tenant: 'east' }, tenants)).toBeUndefined();
      expect(await principal(env, { tenant: ['south'] }, tenants)).toBeUndefined();
      expect(await principal(env, {}, tenants)).toBeUndefined();
      expect(await principal(env, {}, ['main'])).toBeUndefined();
    });

    test('names of roles may be the issuer’s; what is not mapped gives no right', async () => {
      const env = { NEPHOS_OIDC_ROLES: 'pacs-admins=admin, radiology=finder+retriever' };
      expect((await principal(env, { roles: ['radiology', 'admin'] }))?.roles).toEqual(['finder', 'retriever']);
      expect((await principal(env, { roles: 'pacs-admins radiology' }))?.roles).toEqual([
        'admin',
        'finder',
        'retriever',
      ]);
      expect((await principal({}, { roles: ['admin', 'anonymous', 'toString', 7] }))?.roles).toEqual(['admin']);
      expect((await principal({}, { roles: undefined }))?.roles).toEqual([]);
    });

    test('claims may be nested, or have names with dots', async () => {
      const nested = { realm_access: { roles: ['finder'] } };
      expect((await principal({ NEPHOS_OIDC_ROLES_CLAIM: 'realm_access.roles' }, nested))?.roles).toEqual(['finder']);
      const named = { 'https://clinic.test/roles': ['finder'] };
      expect((await principal({ NEPHOS_OIDC_ROLES_CLAIM: 'https://clinic.test/roles' }, named))?.roles).toEqual([
        'finder',
      ]);
      expect(
        (await principal({ NEPHOS_OIDC_ROLES_CLAIM: 'cognito:groups' }, { 'cognito:groups': ['sender'] }))?.roles,
      ).toEqual(['sender']);
    });
  });

  test.each([
    [{ NEPHOS_OIDC_ISSUER: 'http://issuer.test', NEPHOS_OIDC_AUDIENCE: 'x' }, /NEPHOS_OIDC_ISSUER/],
    [{ NEPHOS_OIDC_ISSUER: ISSUER }, /NEPHOS_OIDC_AUDIENCE/],
    [
      { NEPHOS_OIDC_ISSUER: ISSUER, NEPHOS_OIDC_AUDIENCE: 'x', NEPHOS_OIDC_JWKS_URL: 'ftp://x' },
      /NEPHOS_OIDC_JWKS_URL/,
    ],
    [{ NEPHOS_OIDC_ISSUER: ISSUER, NEPHOS_OIDC_AUDIENCE: 'x', NEPHOS_OIDC_ROLES: 'a=king' }, /NEPHOS_OIDC_ROLES/],
  ])('settings that are wrong are refused at the start: %j', (env, message) => {
    expect(() => readOidcSettings(env, ['main'])).toThrow(message);
  });

  test('several tenants need a claim', () => {
    expect(() => settings({}, ['north', 'south'])).toThrow(/NEPHOS_OIDC_TENANT_CLAIM/);
    expect(readOidcSettings({}, ['main'])).toBeUndefined();
  });
});
