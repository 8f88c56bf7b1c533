import { expect, test } from 'vitest';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const router = new Router(memoryServices(), '/dicomweb', DICOMWEB_ROUTES);
const asked = async (method: string, path: string) => {
  const { response } = await router.handle({
    method,
    path,
    query: new URLSearchParams(),
    headers: {},
    body: (async function* () {})(),
    origin: 'http://pacs.example',
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
  });
  return { status: response.status, ...JSON.parse(String(response.body)) };
};

/** A client of UPS-RS took the 404 for that of one workitem (PS3.18 Table 11.5.3-1). */
test.each([
  ['GET', '/workitems', 'Worklist Service'],
  ['POST', '/workitems', 'Worklist Service'],
  ['PUT', '/workitems/1.2.3/state', 'Worklist Service'],
  ['POST', '/workitems/1.2.3/subscribers/AET', 'Worklist Service'],
  ['GET', '/color-palettes', 'Non-Patient Instance Service'],
  ['GET', '/modality-scheduled-procedure-steps', 'Modality Scheduled Procedure Step Service'],
  ['POST', '/modality-performed-procedure-steps/1.2.3', 'Modality Performed Procedure Step Service'],
])('%s %s says that it is the service that is not there', async (method, path, service) => {
  const { status, code, title } = await asked(method, `/dicomweb${path}`);
  expect({ status, code }).toEqual({ status: 404, code: 'NOT_FOUND' });
  expect(title).toContain(service);
  expect(title).toContain('is not offered; OPTIONS /dicomweb says what is');
});

test('of any other path only that there is nothing', async () => {
  for (const path of ['/nothing', '/', '/studies/1.2/workitems'])
    expect(await asked('GET', `/dicomweb${path}`)).toMatchObject({ title: expect.not.stringContaining('offered') });
});
