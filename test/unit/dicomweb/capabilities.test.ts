import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { capabilities } from '#dicomweb/capabilities.ts';
import { corsHeaders, preflight } from '#dicomweb/cors.ts';
import { REPRESENTATIONS } from '#dicomweb/representations.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { ask, ROOT } from './asking.ts';

describe('the capabilities document', () => {
  const routes = [
    { method: 'GET', path: '/studies', name: 'SearchForStudies' },
    { method: 'POST', path: '/studies', name: 'Store' },
    { method: 'GET', path: '/studies/{study}', name: 'Retrieve' },
    { method: 'GET', path: '/studies/{study}/bulkdata/{bulk*}', name: 'Bulkdata' },
    { method: 'OPTIONS', path: '/', name: 'RetrieveCapabilities' },
  ] as const;
  const get = (accept?: string) =>
    ask(
      memoryServices(),
      capabilities(() => routes),
      {},
      accept === undefined ? {} : { accept },
    );

  test('is WADL: the tree of the routes', async () => {
    for (const accept of [undefined, '*/*', 'application/vnd.sun.wadl+xml']) {
      const { headers, body } = await get(accept);
      expect(headers['content-type']).toBe('application/vnd.sun.wadl+xml');
      expect(body.toString()).toBe(
        '<?xml version="1.0" encoding="UTF-8"?><application xmlns="http://wadl.dev.java.net/2009/02">' +
          `<resources base="${ROOT}"><resource path="studies"><method name="GET" id="SearchForStudies"/>` +
          '<method name="POST" id="Store"/><resource path="{study}"><param name="study" style="template" required="true"/>' +
          '<method name="GET" id="Retrieve"/><resource path="bulkdata"><resource path="{bulk}">' +
          '<param name="bulk" style="template" required="true"/><method name="GET" id="Bulkdata"/>' +
          '</resource></resource></resource></resource></resources></application>',
      );
    }
  });

  test('is JSON where asked for', async () => {
    const { headers, body } = await get('application/json');
    expect(headers['content-type']).toBe('application/json');
    const { application } = JSON.parse(body.toString());
    expect(application.resources.base).toBe(ROOT);
    expect(application.resources.resource[0].method).toEqual([
      { name: 'GET', id: 'SearchForStudies' },
      { name: 'POST', id: 'Store' },
    ]);
    const { storeRequestBytes, storeInstances } = DEFAULT_LIMITS;
    expect(application.limits).toEqual({ storeRequestBytes, storeInstances });
  });

  test('says of each transaction what may be asked, sent in and had', async () => {
    const named = DICOMWEB_ROUTES.filter(({ method }) => method !== 'OPTIONS').map(({ name }) => name);
    expect(Object.keys(REPRESENTATIONS).toSorted()).toEqual(named.toSorted());
    const own = capabilities(() => DICOMWEB_ROUTES);
    const xml = (await ask(memoryServices(), own, {}, {})).body.toString();
    const [store] = /<method name="POST" id="StoreInstances">.*?<\/method>/.exec(xml) ?? [];
    expect(store).toContain(
      '<request><representation mediaType="multipart/related; type=&quot;application/dicom&quot;"/>',
    );
    expect(store).toContain('<response><representation mediaType="application/dicom+json"/>');
    const json = JSON.parse((await ask(memoryServices(), own, {}, { accept: 'application/json' })).body.toString());
    const [studies] = json.application.resources.resource;
    const search = studies.method.find(({ id }: { id: string }) => id === 'SearchStudies');
    expect(search.request.param).toContainEqual({ name: 'limit', style: 'query' });
    expect(search.response[0].representation).toContainEqual({ mediaType: 'application/dicom+json' });
  });

  test('is nothing else', async () => {
    expect((await get('image/png')).status).toBe(406);
  });
});

describe('a page of another origin', () => {
  const from = (origin?: string) => ({ headers: origin === undefined ? {} : { origin } });

  test('reads what it is allowed to, with credentials, when its origin is named', () => {
    const headers = corsHeaders(from('https://viewer.example'), ['https://viewer.example']);
    expect(headers['access-control-allow-origin']).toBe('https://viewer.example');
    expect(headers['access-control-allow-credentials']).toBe('true');
    expect(headers['access-control-expose-headers']).toMatch(/ETag.*Warning.*X-Total-Count/);
    expect(headers.vary).toBe('origin');
  });

  test('never brings credentials along when any origin is allowed', () => {
    const headers = corsHeaders(from('https://anywhere.example'), ['*']);
    expect(headers['access-control-allow-origin']).toBe('*');
    expect(headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('gets nothing when it is not named', () => {
    expect(corsHeaders(from('https://evil.example'), ['https://viewer.example'])).toEqual({ vary: 'origin' });
    expect(corsHeaders(from('null'), ['https://viewer.example'])).toEqual({ vary: 'origin' });
    expect(corsHeaders(from('https://viewer.example.evil'), ['https://viewer.example'])).toEqual({ vary: 'origin' });
    expect(corsHeaders(from('*'), ['*'])['access-control-allow-credentials']).toBeUndefined();
    expect(corsHeaders(from('https://evil.example'), [])).toEqual({});
    expect(preflight(from('https://evil.example'), ['https://viewer.example'])).toEqual({
      status: 204,
      headers: { vary: 'origin' },
    });
  });

  test('learns by preflight what it may send', () => {
    const { status, headers } = preflight(from('https://viewer.example'), ['https://viewer.example']);
    expect(status).toBe(204);
    expect(headers['access-control-allow-methods']).toContain('DELETE');
    expect(headers['access-control-allow-headers']).toMatch(/Authorization.*Content-Type.*If-None-Match.*Range/);
  });
});
