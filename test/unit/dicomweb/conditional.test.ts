import { beforeAll, describe, expect, test } from 'vitest';
import { rangedResponse } from '#dicomweb/conditional.ts';
import { deleteResource } from '#dicomweb/delete.ts';
import { retrieveFrames } from '#dicomweb/retrieve-frames.ts';
import { retrieveInstance } from '#dicomweb/retrieve-instances.ts';
import { retrieveInstanceMetadata } from '#dicomweb/retrieve-metadata.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from './asking.ts';

const services = memoryServices();
const instance = { study: uid(1), series: uid(2), instance: uid(3), frames: '1' };
beforeAll(async () => {
  expect(await store(services, buildDicom())).toMatchObject({ kind: 'stored' });
});
const get = (headers: Record<string, string>, handler = retrieveInstance, accept = 'application/dicom') =>
  ask(services, handler, instance, { accept, headers });

/** Whoever puts ranges together must not be given those of two states: the conditions were not heeded. */
describe('a GET that asks for one state', () => {
  test('by If-Match gets that, or 412', async () => {
    const { headers } = await get({});
    const { etag } = headers as { etag: string };
    for (const match of [etag, '*', `"other", ${etag}`]) expect((await get({ 'if-match': match })).status).toBe(200);
    for (const match of ['"other"', `W/${etag}`]) expect((await get({ 'if-match': match })).status).toBe(412);
    expect((await get({ 'if-match': etag, range: 'bytes=0-9' })).status).toBe(206);
    expect((await get({ 'if-match': '"other"', range: 'bytes=0-9' })).status).toBe(412);
    // It is looked at first.
    expect((await get({ 'if-match': '"other"', 'if-none-match': etag })).status).toBe(412);
    expect((await get({ 'if-match': etag, 'if-none-match': etag })).status).toBe(304);
  });

  test('by If-Unmodified-Since likewise, unless If-Match decides', async () => {
    const { headers } = await get({});
    const stored = headers['last-modified']!;
    const before = new Date(Date.parse(stored) - 1000).toUTCString();
    expect((await get({ 'if-unmodified-since': stored })).status).toBe(200);
    expect((await get({ 'if-unmodified-since': before })).status).toBe(412);
    expect((await get({ 'if-unmodified-since': 'yesterday' })).status).toBe(200);
    expect((await get({ 'if-unmodified-since': before, 'if-match': '*' })).status).toBe(200);
  });

  test('of metadata and frames, too', async () => {
    for (const [handler, accept] of [
      [retrieveInstanceMetadata, 'application/dicom+json'],
      [retrieveFrames, 'application/octet-stream'],
    ] as const) {
      const { etag } = (await get({}, handler, accept)).headers as { etag: string };
      expect((await get({ 'if-match': etag }, handler, accept)).status).toBe(200);
      expect((await get({ 'if-match': '"other"' }, handler, accept)).status).toBe(412);
    }
  });

  test('a HEAD is of the whole, whatever range it names (RFC 9110 §14.2)', async () => {
    const representation = { sizeBytes: 10, validators: { etag: '"x"' }, headers: {} };
    const asked = { method: 'HEAD', headers: { range: 'bytes=0-3' } };
    const { status, headers } = await rangedResponse(asked, representation, async () => Buffer.alloc(10));
    expect({ status, length: headers['content-length'] }).toEqual({ status: 200, length: '10' });
  });

  test('a deletion of one state is of that alone', async () => {
    const removing = memoryServices();
    expect(await store(removing, buildDicom())).toMatchObject({ kind: 'stored' });
    const { frames: _, ...params } = instance;
    const remove = (headers: Record<string, string>, of: Record<string, string> = params) =>
      ask(removing, deleteResource, of, { headers });
    const { etag } = (await ask(removing, retrieveInstance, params, { accept: 'application/dicom' })).headers;
    expect((await remove({ 'if-match': '"other"' })).status).toBe(412);
    expect((await remove({ 'if-match': etag! }, { study: uid(1) })).status).toBe(412);
    expect((await remove({ 'if-match': etag! })).status).toBe(204);
  });

  test('never gets it by a name that is weak', async () => {
    const xml = 'multipart/related; type="application/dicom+xml"';
    const { etag } = (await get({}, retrieveInstanceMetadata, xml)).headers as { etag: string };
    expect(etag).toMatch(/^W\//);
    expect((await get({ 'if-match': etag }, retrieveInstanceMetadata, xml)).status).toBe(412);
    const representation = { sizeBytes: 10, validators: { etag }, headers: {} };
    const ranged = rangedResponse({ headers: { range: 'bytes=0-3', 'if-range': etag } }, representation, async () =>
      Buffer.alloc(10),
    );
    expect((await ranged).status).toBe(200);
  });
});
