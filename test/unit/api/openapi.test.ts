import { expect, test } from 'vitest';
import { OPERATIONS, openApiDocument } from '#api/openapi.ts';
import { apiRoutes } from '#api/routes.ts';
import { TokenStore } from '#core/tokens.ts';
import { memoryServices } from '#test/fixtures/services.ts';

const routes = apiRoutes(new TokenStore(memoryServices()));

test('every route is described, and nothing else is', () => {
  expect(Object.keys(OPERATIONS).sort()).toEqual(routes.map(({ name }) => name).sort());
});

test('the document names every route with its method and policy', () => {
  const document = openApiDocument(routes) as { paths: Record<string, Record<string, Record<string, unknown>>> };
  for (const { method, path, name, action } of routes) {
    expect(document.paths[`/api${path}`]?.[method.toLowerCase()]).toMatchObject({
      operationId: name,
      'x-nephos-action': action,
    });
  }
});
