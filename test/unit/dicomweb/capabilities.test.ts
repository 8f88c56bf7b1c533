import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { capabilities } from '#dicomweb/capabilities.ts';
import { corsHeaders, preflight } from '#dicomweb/cors.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { ask, ROOT } from './asking.ts';

describe('the capabilities document', () => {
  const routes = [
    { method: 'GET', path: '/studies', name: 'SearchForStudies' },
    { method: 'POST', path: '/studies', name: 'StoreInstances' },
    { method: 'GET', path: '/studies/{study}', name: 'RetrieveStudy' },
    { method: 'GET', path: '/studies/{study}/bulkdata/{bulk*}', name: 'RetrieveBulkdata' },
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
          '<method name="POST" id="StoreInstances"/><resource path="{study}"><param name="study" style="template" required="true"/>' +
          '<method name="GET" id="RetrieveStudy"/><resource path="bulkdata"><resource path="{bulk}">' +
          '<param name="bulk" style="template" required="true"/><method name="GET" id="RetrieveBulkdata"/>' +
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
      { name: 'POST', id: 'StoreInstances' },
    ]);
    const { storeRequestBytes, storeInstances } = DEFAULT_LIMITS;
    expect(application.limits).toEqual({ storeRequestBytes, storeInstances });
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
