import { expect, test } from 'vitest';
import { readConfig } from '#embedded/config.ts';
import { notedEnvironment } from '#embedded/unread-variables.ts';

const unreadOf = (env: Record<string, string>): string[] => {
  const noted = notedEnvironment(env);
  readConfig(noted.env);
  return noted.unread();
};

test('a name that nothing reads is told, with those that are like it', () => {
  expect(unreadOf({ NEPHOS_DATADIR: '/data' })).toEqual([
    'NEPHOS_DATADIR has no effect: nothing reads it; did you mean NEPHOS_DATA_DIR?',
  ]);
  expect(unreadOf({ NEPHOS_PORT: '8042' })).toEqual([
    expect.stringMatching(/^NEPHOS_PORT has no effect: nothing reads it; did you mean .*\bNEPHOS_HTTP_PORT\b/),
  ]);
  expect(unreadOf({ NEPHOS_LIMIT_TRASH: '1' })).toEqual([
    expect.stringContaining('did you mean NEPHOS_LIMIT_TRASH_MS?'),
  ]);
  expect(unreadOf({ NEPHOS_WORKRES: '1' })).toEqual([
    'NEPHOS_WORKRES has no effect: nothing reads it (see the settings in README.md)',
  ]);
});

test('what is read, what is not ours, and what Kubernetes sets for a service of that name is not', () => {
  const ofService = {
    NEPHOS_SERVICE_HOST: '10.0.0.1',
    NEPHOS_SERVICE_PORT: '80',
    NEPHOS_SERVICE_PORT_HTTP: '80',
    NEPHOS_PORT: 'tcp://10.0.0.1:80',
    NEPHOS_PORT_80_TCP: 'tcp://10.0.0.1:80',
    NEPHOS_PORT_80_TCP_ADDR: '10.0.0.1',
    NEPHOS_EDGE_SERVICE_HOST: '10.0.0.2',
  };
  const read = { NEPHOS_DATA_DIR: '/data', NEPHOS_HTTP_PORT: '8080', NEPHOS_LIMIT_TRASH_MS: '1000', PATH: '/bin' };
  expect(unreadOf({ ...ofService, ...read })).toEqual([]);
});
