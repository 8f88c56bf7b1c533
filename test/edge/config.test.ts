import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checked, readEdgeConfig } from '#edge/config.ts';
import { ConfigError } from '#embedded/config.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-edge-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function fileOf(content: unknown): Promise<{ NEPHOS_EDGE_CONFIG: string }> {
  const path = join(folder, 'edge.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return { NEPHOS_EDGE_CONFIG: path };
}
const complaint = async (content: unknown): Promise<string> => {
  const env = await fileOf(content);
  try {
    readEdgeConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('it was taken');
};

test('an address is enough: everything else has its default', () => {
  const config = readEdgeConfig({ NEPHOS_UPSTREAM: 'https://pacs.example/dicomweb' });
  expect(config).toMatchObject({
    aeTitle: 'NEPHOS',
    allowed: 'any',
    dicom: { port: 11112, maxAssociations: 100 },
    upstreams: [
      {
        name: 'upstream',
        url: 'https://pacs.example/dicomweb',
        parallel: 4,
        evidence: 'auto',
        compression: 'none',
        bandwidth: [],
        batch: { instances: 50 },
        retry: { refusals: 3 },
      },
    ],
  });
  expect(config.dataDir).toMatch(/\/edge-data$/);
});

test('the environment sets what containers set', () => {
  const config = readEdgeConfig({
    NEPHOS_UPSTREAM: 'https://pacs.example/dicomweb',
    NEPHOS_UPSTREAM_TOKEN_FILE: '/run/secrets/token',
    NEPHOS_BIND: '0.0.0.0',
    NEPHOS_DICOM_PORT: '104',
    NEPHOS_AE_TITLE: 'EDGE1',
    NEPHOS_DATA_DIR: '/data',
    NEPHOS_DICOM_ALLOWED_AES: 'CT1@10.0.0.7=store+query, MR1',
    NEPHOS_DICOM_TLS_CERT: '/run/secrets/cert.pem',
    NEPHOS_DICOM_TLS_KEY: '/run/secrets/key.pem',
    NEPHOS_DICOM_DESTINATIONS: 'WS1@10.0.0.8:104,WS2@ws2.clinic:2762/tls',
  });
  expect(config).toMatchObject({
    aeTitle: 'EDGE1',
    dataDir: '/data',
    dicom: { port: 104 },
    allowed: [
      { aeTitle: 'CT1', address: '10.0.0.7', rights: ['store', 'query'], priority: 'routine' },
      { aeTitle: 'MR1', rights: expect.arrayContaining(['store', 'query', 'retrieve']) },
    ],
    moveDestinations: [
      { aeTitle: 'WS1', host: '10.0.0.8', port: 104 },
      {
        aeTitle: 'WS2',
        host: 'ws2.clinic',
        port: 2762,
        tls: { cert: '/run/secrets/cert.pem', key: '/run/secrets/key.pem' },
      },
    ],
    upstreams: [{ auth: { bearerToken: { file: '/run/secrets/token' } } }],
  });
});

test('on a network nobody is let in who is not named', () => {
  const config = readEdgeConfig({ NEPHOS_UPSTREAM: 'https://pacs.example', NEPHOS_BIND: '0.0.0.0' });
  expect(config.allowed).toEqual([]);
});

test('each wrong place is named, with what is wrong, and without the value', async () => {
  const message = await complaint({
    aeTitle: 'MUCH TOO LONG A TITLE',
    dicom: { port: 70_000, tls: { cert: 'a.pem' } },
    allowed: [{ aeTitle: 'CT1', rights: ['store', 'delete'], priority: 'now' }],
    upstreams: [
      { url: 'ftp://pacs', bandwith: [], auth: { bearerToken: 's3cret', basic: { user: 'x', password: 'y' } } },
      { url: 'https://a', bandwidth: [{ from: '25:00', bytesPerSecond: 1 }], when: { Colour: ['red'] } },
    ],
  });
  expect(message).toContain('edge.json is no configuration of a gateway');
  for (const place of [
    'aeTitle must match',
    'dicom/port must be <= 65535',
    "dicom/tls must have required property 'key'",
    'allowed/0/rights/1 must be one of store, query, retrieve',
    'allowed/0/priority must be one of stat, high, routine, low',
    'upstreams/0/url must match',
    'upstreams/0 must not have "bandwith"',
    'upstreams/0/auth must NOT have more than 1 properties',
    'upstreams/1/bandwidth/0/from must match',
    'upstreams/1/when must not have "Colour"',
  ])
    expect(message).toContain(place);
  expect(message).not.toContain('s3cret');
});

test('two upstreams of one name would share a queue', async () => {
  const url = 'https://pacs.example';
  expect(await complaint({ upstreams: [{ url }, { url }] })).toContain('two upstreams have the name "upstream"');
});

test('no upstream, no JSON, no file', async () => {
  expect(() => readEdgeConfig({})).toThrow(/NEPHOS_UPSTREAM/);
  expect(await complaint('{ "upstreams": [')).toContain('is not JSON');
  expect(await complaint('[]')).toContain('must hold a JSON object');
  expect(() => readEdgeConfig({ NEPHOS_EDGE_CONFIG: join(folder, 'none.json') })).toThrow(
    /none\.json cannot be read: ENOENT/,
  );
});

test('what is given is not changed', () => {
  const given = Object.freeze({ upstreams: [Object.freeze({ url: 'https://pacs.example' })] });
  expect(checked(given, 'x').upstreams[0].parallel).toBe(4);
});
