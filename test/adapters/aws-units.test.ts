import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { s3Client } from '#adapters/aws/clients.ts';
import { decodeRecord, encodeRecord, physicalKey, physicalPartitions } from '#adapters/aws/dynamo-items.ts';
import { keyCondition } from '#adapters/aws/dynamo-range.ts';
import { failureOf, retrying } from '#adapters/aws/retry.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { S3DirectAccess } from '#adapters/aws/s3-direct-access.ts';
import { ITEM } from '#adapters/aws/schema.ts';
import { encodeMessage, parseMessage } from '#adapters/aws/sqs-message.ts';
import { compareUtf8 } from '#adapters/index-rules.ts';
import { keys } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import type { RangeQuery } from '#core/ports/index-table.ts';
import { TestClock } from '#test/fixtures/services.ts';

const clock = new TestClock();
const aws = (name: string, httpStatusCode?: number, code?: string): Error =>
  Object.assign(new Error(name), { name, code, ...(httpStatusCode && { $metadata: { httpStatusCode } }) });

describe('what an error of AWS says about the call', () => {
  test.each([
    [aws('ThrottlingException', 400), 'throttled'],
    [aws('ProvisionedThroughputExceededException', 400), 'throttled'],
    [aws('SlowDown', 503), 'throttled'],
    [aws('KMS.ThrottlingException', 400), 'throttled'],
    [aws('TransactionConflictException', 400), 'throttled'],
    [aws('TooManyRequestsException', 429), 'throttled'],
    [aws('Error', undefined, 'ECONNREFUSED'), 'throttled'],
    [aws('Error', undefined, 'EHOSTUNREACH'), 'throttled'],
    [aws('Error', undefined, 'ECONNRESET'), 'ambiguous'],
    [aws('TimeoutError'), 'ambiguous'],
    [aws('InternalServerError', 500), 'ambiguous'],
    [aws('ServiceUnavailable', 503), 'ambiguous'],
    [aws('AccessDeniedException', 400), 'refused'],
    [aws('ValidationException', 400), 'refused'],
    [aws('TypeError'), 'refused'],
    [new PacsError('CONFLICT', 'no'), 'refused'],
    [undefined, 'refused'],
  ])('%s is %s', (error, failure) => {
    expect(failureOf(error)).toBe(failure);
  });

  test('a machine whose clock is an hour behind is refused once, and heard then', async () => {
    const HOUR_MS = 3_600_000;
    const dates: string[] = [];
    const server = createServer((request, response) => {
      const date = String(request.headers['x-amz-date']);
      dates.push(date);
      const at = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'));
      const now = Date.now() + HOUR_MS;
      response.setHeader('date', new Date(now).toUTCString());
      if (Math.abs(now - at) < HOUR_MS / 2) return response.writeHead(200, { 'content-length': '5' }).end('bytes');
      return response
        .writeHead(403, { 'content-type': 'application/xml' })
        .end('<?xml version="1.0"?><Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>');
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = s3Client({
      ...{ region: 'us-east-1', endpoint, forcePathStyle: true },
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
    const read = () => client.send(new GetObjectCommand({ Bucket: 'archive', Key: 'key' }));
    const answer = await retrying({ clock, changes: false }, read);
    expect(await answer.Body?.transformToString()).toBe('bytes');
    expect(dates).toHaveLength(2);
    client.destroy();
    server.close();
  });

  test.each([
    ['throttled each time', [aws('ThrottlingException', 400)], 'BUSY'],
    ['silent once', [aws('ThrottlingException', 400), aws('TimeoutError')], 'OUTCOME_UNKNOWN'],
  ])('a write that is %s ends as %s, after as many calls as allowed', async (_, errors, code) => {
    let calls = 0;
    const call = (): Promise<never> => Promise.reject(errors[calls++ % errors.length]);
    const policy = { attempts: 5, firstMs: 1, mostMs: 4 };
    await expect(retrying({ clock, policy, changes: true }, call)).rejects.toMatchObject({ code });
    expect(calls).toBe(5);
  });

  test('what is refused is thrown at once, as it is', async () => {
    let calls = 0;
    const error = aws('AccessDeniedException', 400);
    const call = (): Promise<never> => {
      calls++;
      return Promise.reject(error);
    };
    await expect(retrying({ clock, changes: true }, call)).rejects.toBe(error);
    expect(calls).toBe(1);
  });
});

describe('records as items of DynamoDB', () => {
  const key = { partition: 'p', sort: 's' };

  test('are deflated where that is shorter, and come back as they were', () => {
    const items = [
      {},
      { version: 7, text: 'short' },
      { version: 'text', n: 1 },
      { text: 'a long text that repeats itself, '.repeat(100), bytes: new Uint8Array([1, 2]) },
      { bytes: Uint8Array.from({ length: 3_000 }, (_, i) => (i * 2_654_435_761) >>> 24) },
    ];
    for (const item of items) {
      const { data, version } = encodeRecord(key, item);
      expect(data.length).toBeLessThan(JSON.stringify(item).length + 20);
      const attributes = {
        ...physicalKey(key),
        [ITEM.data]: { B: data },
        ...(version !== undefined && { [ITEM.version]: { N: String(version) } }),
      };
      expect(decodeRecord(attributes)).toStrictEqual(item);
    }
    expect(encodeRecord(key, items[3]!).data.length).toBeLessThan(200);
  });

  test('do not repeat their own key, nor what all of them have: an instance of many UIDs is a write unit', () => {
    const uids = Array.from({ length: 3 }, (_, i) => `1.2.840.113619.6.44.27869055555925760330826317906456${i}144783`);
    const [study = '', series = '', sop = ''] = uids;
    const place = keys.instance('main', study, series, sop);
    const item = {
      StudyInstanceUID: study,
      SeriesInstanceUID: series,
      SOPInstanceUID: sop,
      blobKey: `main/${study}/${series}/${sop}.01HNFP7TG06YZRHCYHW6EXJA2Y.dcm`,
      attributes: { '00280010': { vr: 'US', Value: [512] }, '00280011': { vr: 'US', Value: [512] } },
    };
    const { data } = encodeRecord(place, item);
    expect(data.length).toBeLessThan(JSON.stringify(item).length / 4);
    expect(decodeRecord({ ...physicalKey(place), [ITEM.data]: { B: data } })).toStrictEqual(item);
  });

  test('sums are added to the numbers of the record, and stand alone where there is none', () => {
    const { data } = encodeRecord(key, { n: 2, name: 'x' });
    expect(decodeRecord({ d: { B: data }, 'n:n': { N: '5' }, 'n:name': { N: '1' } })).toStrictEqual({ n: 7, name: 1 });
    expect(decodeRecord({ 'n:n': { N: '-0.5' }, v: { N: '3' } })).toStrictEqual({ n: -0.5, version: 3 });
  });

  test('lie where a query looks for them', () => {
    for (const partition of [
      't|pending',
      't|unfolded',
      't|metadata|1.2|1.3',
      't|instances|1.2|1.3',
      't|study|1.2',
      't|x|word|pending',
    ])
      for (const prefix of ['', 'd', 'delta|', 'delta|01', 'series|'])
        for (let n = 0; n < 50; n++) {
          const physical = physicalKey({ ...key, partition, sort: `${prefix}0001${n}` }).p?.S;
          expect(physicalPartitions(partition, prefix)).toContain(physical);
        }
    expect(physicalPartitions('t|pending')).toHaveLength(16);
    expect(physicalPartitions('t|study|1.2', 'series|')).toStrictEqual(['t|study|1.2']);
    expect(physicalPartitions('t|study|1.2', 'delta|')).toHaveLength(4);
    expect(physicalPartitions('t|study|1.2', 'delta|')).not.toContain('t|study|1.2');
    expect(physicalPartitions('t|study|1.2')).toHaveLength(5);
  });
});

test('a condition on sort keys takes in what the range does, but for the key it says is to be dropped', () => {
  const text = fc
    .array(fc.constantFrom('a', 'b', 'é', '\ud7ff', '\ue000', '\u{10ffff}'), { maxLength: 3 })
    .map((x) => x.join(''));
  const bound = fc.option(text, { nil: undefined });
  const range = fc.record({ prefix: bound, from: bound, to: bound, after: bound, descending: fc.boolean() });
  const sortKeys = fc.uniqueArray(
    text.filter((key) => key !== ''),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(
    fc.property(range, sortKeys, (bounds, sorts) => {
      const given = Object.fromEntries(Object.entries(bounds).filter(([, value]) => value !== undefined));
      const query = { partition: 'p', limit: 10, ...given } as RangeQuery;
      const { prefix = '', from = '', to, after, descending } = query;
      const expected = sorts.filter(
        (sort) =>
          sort.startsWith(prefix) &&
          compareUtf8(sort, from) >= 0 &&
          (to === undefined || compareUtf8(sort, to) < 0) &&
          (after === undefined || (descending ? compareUtf8(sort, after) < 0 : compareUtf8(sort, after) > 0)),
      );
      const condition = keyCondition(query);
      const { ':low': low, ':high': high } = condition?.values ?? {};
      const taken = sorts.filter(
        (sort) =>
          condition !== undefined &&
          sort !== condition.drop &&
          (low?.S === undefined || compareUtf8(sort, low.S) >= 0) &&
          (high?.S === undefined || compareUtf8(sort, high.S) <= (condition.expression.includes('BETWEEN') ? 0 : -1)),
      );
      expect(taken).toStrictEqual(expected);
    }),
    { numRuns: 2_000 },
  );
});

describe('S3', () => {
  const identity = { region: 'eu-central-1', credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' } };

  /** A store on a client that answers instead of S3. */
  function storeThat(answer: (command: string) => unknown, options: object = {}) {
    const client = s3Client(identity);
    const asked: { command: string; input: Record<string, unknown> }[] = [];
    client.middlewareStack.add(
      (_, { commandName = '' }) =>
        async ({ input }) => {
          asked.push({ command: commandName, input: input as Record<string, unknown> });
          const output = await answer(commandName);
          return { output, response: undefined } as never;
        },
      { step: 'initialize', priority: 'high', name: 'answers' },
    );
    return { store: new S3BlobStore({ client, bucket: 'archive', clock, ...options }), asked };
  }

  test.each([
    [{}, 'ONLINE'],
    [{ StorageClass: 'GLACIER_IR' }, 'ONLINE'],
    [{ StorageClass: 'INTELLIGENT_TIERING' }, 'ONLINE'],
    [{ StorageClass: 'DEEP_ARCHIVE' }, 'OFFLINE'],
    [{ StorageClass: 'GLACIER' }, 'OFFLINE'],
    [{ StorageClass: 'INTELLIGENT_TIERING', ArchiveStatus: 'DEEP_ARCHIVE_ACCESS' }, 'OFFLINE'],
    [{ StorageClass: 'DEEP_ARCHIVE', Restore: 'ongoing-request="true"' }, 'NEARLINE'],
    [
      { StorageClass: 'DEEP_ARCHIVE', Restore: 'ongoing-request="false", expiry-date="Fri, 21 Dec 2030 00:00:00 GMT"' },
      'ONLINE',
    ],
  ])('an object of %j is %s', async (head, availability) => {
    const { store } = storeThat(() => ({ ContentLength: 10, ...head }));
    expect(await store.availability('a/b')).toBe(availability);
  });

  test('what lies in a Glacier class throws ARCHIVED, and is restored once, for some days', async () => {
    const { store, asked } = storeThat(
      (command) => {
        if (command === 'GetObjectCommand') throw aws('InvalidObjectState', 403);
        if (command === 'RestoreObjectCommand' && asked.length > 5) throw aws('RestoreAlreadyInProgress', 409);
        return { ContentLength: 10, StorageClass: 'DEEP_ARCHIVE' };
      },
      { restoreDays: 3, restoreTier: 'Bulk' },
    );
    await expect(store.readBytes('a/b')).rejects.toMatchObject({ code: 'ARCHIVED', details: { key: 'a/b' } });
    expect(await store.restore('a/b')).toBe('NEARLINE');
    expect(await store.restore('a/b')).toBe('NEARLINE');
    expect(await store.restore('a/b')).toBe('NEARLINE');
    const [first] = asked.filter(({ command }) => command === 'RestoreObjectCommand');
    expect(first?.input.RestoreRequest).toStrictEqual({ Days: 3, GlacierJobParameters: { Tier: 'Bulk' } });
  });

  test('a defect of ours or of the deployment is not called busy', async () => {
    const { store } = storeThat(() => {
      throw aws('AccessDenied', 403);
    });
    await expect(store.readBytes('a/b')).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(store.put('a/b', new Uint8Array(1))).rejects.toMatchObject({ name: 'AccessDenied' });
  });

  test('a signed write is bound to its length and SHA-256; a URL never outlives what was asked for', async () => {
    const direct = new S3DirectAccess({ client: s3Client(identity), bucket: 'landing', clock });
    const sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    const { url, headers, expiresAt } = await direct.signWrite('_uploads/a/1', {
      expiresInMs: 90_900,
      sizeBytes: 5,
      sha256,
    });
    const query = new URL(url).searchParams;
    expect(query.get('X-Amz-Expires')).toBe('90');
    expect(expiresAt).toBe(clock.now() + 90_000);
    expect(query.get('X-Amz-SignedHeaders')).toBe('content-length;host;if-none-match;x-amz-checksum-sha256');
    expect(headers).toStrictEqual({
      'if-none-match': '*',
      'x-amz-checksum-sha256': '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
    });
    const read = await direct.signRead('a/b', { expiresInMs: 10 ** 12, contentType: 'application/dicom' });
    expect(new URL(read.url).searchParams.get('X-Amz-Expires')).toBe('604800');
    expect(new URL(read.url).searchParams.get('response-content-type')).toBe('application/dicom');
  });
});

describe('messages of queues', () => {
  test('are JSON that people can read, and keep binary values too', () => {
    const plain = encodeMessage({ payload: { tenant: 'a', study: '1.2' }, notBefore: 5 });
    expect(JSON.parse(plain)).toStrictEqual({ payload: { tenant: 'a', study: '1.2' }, notBefore: 5 });
    const binary = { payload: { bytes: new Uint8Array([0, 255]) }, attempt: 3 };
    expect(parseMessage(encodeMessage(binary))).toStrictEqual(binary);
  });

  test.each(['', 'not JSON', '{}', '{"payload":"text"}'])('%j is none of ours', (body) => {
    expect(() => parseMessage(body)).toThrowError(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
