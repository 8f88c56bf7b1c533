import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { TokenStore } from '#core/tokens.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { memoryServices } from '#test/fixtures/services.ts';

/** Found by fuzzing: the log and the audit trail called it a defect of ours, with an alarm. */
test('a client that breaks off within a STOW request is no defect', async () => {
  const services = memoryServices();
  const failures: unknown[] = [];
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    everybody: { tenant: 'clinic', subject: 'ct1', roles: ['admin'] },
    corsOrigins: [],
    tenant: 'clinic',
    onFailure: (error) => failures.push(error),
  });
  const done = Promise.withResolvers<number>();
  const server = createHttpHost({
    answer: async (request) => (await app.answer(request))!,
    publicUrl: undefined,
    onDefect: (error) => failures.push(error),
    onDone: ({ status }) => done.resolve(status),
  });
  onTestFinished(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(
    'POST /dicomweb/studies HTTP/1.1\r\nHost: a\r\nContent-Type: application/dicom\r\nContent-Length: 900\r\n\r\nbegun',
  );
  // By now it reads the body.
  await once(server, 'request');
  socket.destroy();
  expect(await done.promise).toBeLessThan(500);
  expect(failures).toEqual([]);
});
