import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS, limitVariable } from '#core/limits.ts';
import { ConfigError, readConfig } from '#embedded/config.ts';

describe('configuration', () => {
  test('defaults: loopback, access control on, one server a core', () => {
    expect(readConfig({})).toMatchObject({ bind: '127.0.0.1', auth: 'on', httpPort: 8080, tenant: 'main' });
    expect(readConfig({}).hotObjectBytes).toBe(96 * 1024 * 1024);
    expect(readConfig({ NEPHOS_HOT_OBJECT_BYTES: '0' }).hotObjectBytes).toBe(0);
  });

  test.each([
    [{ NEPHOS_AUTH: 'off', NEPHOS_BIND: '0.0.0.0' }, /NEPHOS_AUTH=off is refused/],
    [{ NEPHOS_AUTH: 'maybe' }, /NEPHOS_AUTH/],
    [{ NEPHOS_HTTP_PORT: '80x' }, /NEPHOS_HTTP_PORT/],
    [{ NEPHOS_HTTP_PORT: '70000' }, /NEPHOS_HTTP_PORT/],
    [{ NEPHOS_TENANT: 'a|b' }, /NEPHOS_TENANT/],
    [{ NEPHOS_CONFLICT_POLICY: 'drop' }, /NEPHOS_CONFLICT_POLICY/],
    [{ NEPHOS_PUBLIC_URL: 'pacs.example' }, /NEPHOS_PUBLIC_URL/],
    [{ NEPHOS_LIMIT_STUDY_QUIET_MS: '-1' }, /NEPHOS_LIMIT_STUDY_QUIET_MS/],
    [{ NEPHOS_DICOM_PORT: 'none' }, /NEPHOS_DICOM_PORT/],
    [{ NEPHOS_HOT_OBJECT_BYTES: '128 MiB' }, /NEPHOS_HOT_OBJECT_BYTES/],
    [{ NEPHOS_AE_TITLE: 'SEVENTEEN_LETTERS' }, /NEPHOS_AE_TITLE/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT\\1' }, /NEPHOS_DICOM_ALLOWED_AES/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT1=delete' }, /NEPHOS_DICOM_ALLOWED_AES/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT1@ct1.local' }, /neither an address nor a network/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT1@10.0.0.0/33' }, /neither an address nor a network/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT1=store/Clinic B' }, /tenant/],
    [{ NEPHOS_DICOM_ALLOWED_AES: 'CT1=' }, /a right is one of/],
    [{ NEPHOS_DICOM_IAN: 'RIS:104' }, /NEPHOS_DICOM_IAN/],
    [{ NEPHOS_DICOM_IDENTITY: 'yes' }, /NEPHOS_DICOM_IDENTITY/],
    [{ NEPHOS_DICOM_USERS: 'users.json' }, /NEPHOS_DICOM_IDENTITY/],
    [{ NEPHOS_DICOM_DESTINATIONS: 'WS1:104' }, /NEPHOS_DICOM_DESTINATIONS/],
    [{ NEPHOS_DICOM_DESTINATIONS: 'WS1@host:70000' }, /NEPHOS_DICOM_DESTINATIONS/],
    [{ NEPHOS_DICOM_DESTINATIONS: 'WS1@host:104/ssl' }, /NEPHOS_DICOM_DESTINATIONS/],
    [{ NEPHOS_DICOM_TLS_CERT: 'cert.pem' }, /NEPHOS_DICOM_TLS_KEY/],
    [{ NEPHOS_CORS_ORIGINS: 'null' }, /NEPHOS_CORS_ORIGINS/],
    [{ NEPHOS_CORS_ORIGINS: 'https://viewer.example/' }, /NEPHOS_CORS_ORIGINS/],
    [{ NEPHOS_AUTH: 'off', NEPHOS_CORS_ORIGINS: '*' }, /NEPHOS_CORS_ORIGINS.*any page/],
  ])('%j is refused by name', (env, message) => {
    expect(() => readConfig(env)).toThrow(ConfigError);
    expect(() => readConfig(env)).toThrow(message);
  });

  test('DICOM: anybody on loopback, from a network only who is named', () => {
    expect(readConfig({}).dicom).toMatchObject({ port: 11112, aeTitle: 'NEPHOS', allowed: 'any', destinations: [] });
    expect(readConfig({ NEPHOS_DICOM_PORT: 'off' }).dicom.port).toBeUndefined();
    const bind = { NEPHOS_BIND: '0.0.0.0' };
    expect(readConfig(bind).dicom.allowed).toEqual([]);
    expect(readConfig({ ...bind, NEPHOS_DICOM_ALLOWED_AES: '*' }).dicom.allowed).toBe('any');
    expect(readConfig({ NEPHOS_DICOM_ALLOWED_AES: 'CT 1, MR@10.0.0.7=store,WS=query+retrieve' }).dicom.allowed).toEqual(
      [
        { aeTitle: 'CT 1', roles: ['modality'] },
        { aeTitle: 'MR', address: '10.0.0.7', roles: ['sender'] },
        { aeTitle: 'WS', roles: ['finder', 'retriever'] },
      ],
    );
    const more = 'CT1@10.1.0.0/16=store+commit+worklist+mpps/clinic-b,*@fd00::/8=query,MR=/clinic-c';
    expect(readConfig({ NEPHOS_DICOM_ALLOWED_AES: more }).dicom.allowed).toEqual([
      {
        aeTitle: 'CT1',
        address: '10.1.0.0/16',
        roles: ['sender', 'committer', 'worklistReader', 'performer'],
        tenant: 'clinic-b',
      },
      { aeTitle: '*', address: 'fd00::/8', roles: ['finder'] },
      { aeTitle: 'MR', roles: ['modality'], tenant: 'clinic-c' },
    ]);
    expect(readConfig({ NEPHOS_DICOM_DESTINATIONS: 'WS1@ws1.local:104,WS2@[::1]:11113' }).dicom.destinations).toEqual([
      { aeTitle: 'WS1', host: 'ws1.local', port: 104 },
      { aeTitle: 'WS2', host: '::1', port: 11_113 },
    ]);
    expect(readConfig({ NEPHOS_DICOM_IAN: 'RIS@10.0.0.9:2762/tls,RIS2@[::1]:104' }).dicom.availability).toEqual([
      { aeTitle: 'RIS', host: '10.0.0.9', port: 2762, secure: true },
      { aeTitle: 'RIS2', host: '::1', port: 104 },
    ]);
  });

  test('every limit can be set', () => {
    for (const name of Object.keys(DEFAULT_LIMITS)) {
      expect(readConfig({ [limitVariable(name)]: '77' }).limits).toEqual({ [name]: 77 });
    }
  });
});
