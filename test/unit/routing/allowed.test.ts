import { describe, expect, test } from 'vitest';
import { Networks } from '#adapters/stow/networks.ts';
import { readPolicy } from '#core/configuration.ts';
import { destinationUrl, hostText } from '#core/routing/allowed.ts';

const allowed = readPolicy({
  NEPHOS_ROUTING_HOSTS: 'pacs.example, *.clinic.example:8443, http://10.0.0.8:8042, [2001:db8::8]',
  NEPHOS_ROUTING_NETWORKS: '10.0.0.0/24',
}).routing;

describe('where the archive may send', () => {
  test.each([
    ['https://pacs.example/dicom-web/', 'https://pacs.example/dicom-web'],
    ['https://PACS.example:443', 'https://pacs.example'],
    ['https://north.clinic.example:8443/dicomweb', 'https://north.clinic.example:8443/dicomweb'],
    ['http://10.0.0.8:8042/dicom-web', 'http://10.0.0.8:8042/dicom-web'],
    // Other writings of the same address.
    ['http://0x0a.0.0.8:8042/dicom-web', 'http://10.0.0.8:8042/dicom-web'],
  ])('%s', (text, usual) => {
    expect(destinationUrl(allowed, text).href.replace(/\/$/, '')).toBe(usual);
  });

  test.each([
    ['http://pacs.example/', 'FORBIDDEN'],
    ['https://pacs.example:8443/', 'FORBIDDEN'],
    ['https://pacs.example.evil.example/', 'FORBIDDEN'],
    ['https://clinic.example:8443/', 'FORBIDDEN'],
    ['https://evilclinic.example:8443/', 'FORBIDDEN'],
    ['http://169.254.169.254/latest/meta-data', 'FORBIDDEN'],
    ['https://user:secret@pacs.example/', 'BAD_REQUEST'],
    ['https://pacs.example/?to=elsewhere', 'BAD_REQUEST'],
    ['https://pacs.example/#x', 'BAD_REQUEST'],
    ['ftp://pacs.example/', 'BAD_REQUEST'],
    ['file:///etc/passwd', 'BAD_REQUEST'],
    ['pacs.example', 'BAD_REQUEST'],
  ])('%s is refused', (text, code) => {
    expect(() => destinationUrl(allowed, text)).toThrow(expect.objectContaining({ code }));
  });

  test('is told as it was written', () => {
    expect(allowed.hosts.map(hostText)).toEqual([
      'https://pacs.example',
      'https://*.clinic.example:8443',
      'http://10.0.0.8:8042',
      'https://[2001:db8::8]',
    ]);
  });

  test.each([
    [{ NEPHOS_ROUTING_HOSTS: 'pacs.example/path' }],
    [{ NEPHOS_ROUTING_HOSTS: '*' }],
    [{ NEPHOS_ROUTING_HOSTS: 'pacs.example:0' }],
    [{ NEPHOS_ROUTING_NETWORKS: 'clinic.example' }],
  ])('%o is no configuration', (env) => {
    expect(() => readPolicy(env)).toThrow(/NEPHOS_ROUTING_/);
  });
});

describe('which addresses are connected to', () => {
  const networks = new Networks(['10.0.0.0/24', 'fd00::/64']);
  test.each(['93.184.216.34', '10.0.0.8', '2606:2800:220:1::1', 'fd00::1', '::ffff:10.0.0.9'])('%s', (address) => {
    expect(networks.permits(address)).toBe(true);
  });
  test.each([
    '127.0.0.1',
    '10.0.1.1',
    '192.168.1.1',
    '172.20.0.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '::ffff:0:127.0.0.1',
    '3fff::1',
    '4000::1',
    'fec0::1',
    'fe80::1',
    'fc00::1',
    '2002:7f00:1::',
    'no address',
  ])('%s is not', (address) => {
    expect(networks.permits(address)).toBe(false);
  });

  test('nor what a name leads to', async () => {
    const failed = await new Promise((resolve) => networks.lookup('localhost', { all: true }, resolve as never));
    expect(failed).toMatchObject({ code: 'FORBIDDEN' });
    const found = await new Promise((resolve, reject) =>
      new Networks(['127.0.0.0/8', '::1']).lookup('localhost', { all: true }, (error, all) =>
        error ? reject(error) : resolve(all),
      ),
    );
    expect(found).toEqual(
      expect.arrayContaining([expect.objectContaining({ address: expect.stringMatching(/127|::1/) })]),
    );
  });

  test('a network that is none is a wrong configuration', () => {
    expect(() => new Networks(['10.0.0.0/64'])).toThrow('neither an address nor a network');
  });
});
