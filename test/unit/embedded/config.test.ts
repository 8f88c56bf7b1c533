import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { ConfigError, limitVariable, readConfig } from '#embedded/config.ts';

describe('configuration', () => {
  test('defaults: loopback, access control on, one server a core', () => {
    expect(readConfig({})).toMatchObject({ bind: '127.0.0.1', auth: 'on', httpPort: 8080, tenant: 'main' });
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
  ])('%j is refused by name', (env, message) => {
    expect(() => readConfig(env)).toThrow(ConfigError);
    expect(() => readConfig(env)).toThrow(message);
  });

  test('every limit can be set', () => {
    for (const name of Object.keys(DEFAULT_LIMITS)) {
      expect(readConfig({ [limitVariable(name)]: '77' }).limits).toEqual({ [name]: 77 });
    }
  });
});
