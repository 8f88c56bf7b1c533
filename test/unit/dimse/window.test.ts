import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { COMMAND, encodeCommand } from '#dimse/command-set.ts';
import { negotiate } from '#dimse/negotiation.ts';
import { dataHeader, encodeAssociateRequest } from '#dimse/pdu.ts';
import { PduStream } from '#dimse/pdu-stream.ts';
import { contextOf } from '#dimse/scu.ts';
import { type ServiceTable, Session } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { CT_IMAGE_STORAGE } from '#test/fixtures/dicom-builder.ts';
import { NATIVE, POLICY, requestOf, sessionPair } from './pairs.ts';

test('sixteen operations are performed at the same time, and may be answered in any order', async () => {
  const started: (() => void)[] = [];
  let most = 0;
  const services: ServiceTable = new Map([
    [
      COMMAND.cEcho,
      async ({ respond }) => {
        most = Math.max(most, started.length + 1);
        // Nobody is answered before all sixteen have begun; then the last one first.
        await new Promise<void>((resolve) => {
          started.push(resolve);
          if (started.length === 16) for (const go of started.toReversed()) go();
        });
        await respond({ Status: 0 });
      },
    ],
  ]);
  const { scu } = await sessionPair({ services, user: { asynchronousOperations: { invoked: 16, performed: 1 } } });
  const context = contextOf(scu, VERIFICATION);
  const fields = { CommandField: COMMAND.cEcho, AffectedSOPClassUID: VERIFICATION };
  const answers = await Promise.all(Array.from({ length: 16 }, () => scu.request(context, fields)));
  expect(answers.map(({ command }) => command.Status)).toEqual(answers.map(() => 0));
  expect(most).toBe(16);
  await scu.release();
});

test('a P-DATA-TF PDU of 4 MB is taken though 128 KB are announced; what goes out keeps to what the peer takes', async () => {
  const [near, far] = duplexPair({ allowHalfOpen: false });
  let received = 0;
  const services: ServiceTable = new Map([
    [
      COMMAND.cStore,
      async ({ dataSet, respond }) => {
        for await (const chunk of dataSet!) received += chunk.length;
        // A comment of a length that does not fit one fragment of the peer's.
        await respond({ Status: 0xc000, ErrorComment: 'x'.repeat(64) });
      },
    ],
  ]);
  Session.accept(far, { services, decide: (request) => negotiate(request, POLICY) });
  const fragments: number[] = [];
  const answered = new Promise<void>((resolve) => {
    const stream = new PduStream({
      control: () => {},
      data: (_id, control, bytes, ends) => {
        fragments.push(bytes.length);
        if (ends && (control & 2) !== 0) resolve();
      },
    });
    near.on('data', (chunk: Buffer) => stream.push(chunk));
  });
  const contexts = [{ id: 1, abstractSyntax: CT_IMAGE_STORAGE, transferSyntaxes: NATIVE }];
  near.write(encodeAssociateRequest(requestOf(contexts, { maxPduBytes: 64 })));
  const command = encodeCommand({
    CommandField: COMMAND.cStore,
    MessageID: 1,
    AffectedSOPClassUID: CT_IMAGE_STORAGE,
    AffectedSOPInstanceUID: '1.2.3',
    CommandDataSetType: 0,
  });
  const body = Buffer.alloc(4 * 1024 * 1024);
  near.write(Buffer.concat([dataHeader(1, true, true, command.length), command]));
  near.write(dataHeader(1, false, true, body.length));
  near.write(body);
  await answered;
  expect(received).toBe(body.length);
  expect(Math.max(...fragments)).toBeLessThanOrEqual(64 - 6);
  expect(fragments.length).toBeGreaterThan(2);
  near.destroy();
});
