import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { COMMAND, encodeCommand, RESPONSE } from '#dimse/command-set.ts';
import { negotiate } from '#dimse/negotiation.ts';
import { dataHeader, encodeAssociateAccept, encodeReleaseRequest, PDU } from '#dimse/pdu.ts';
import { PduStream } from '#dimse/pdu-stream.ts';
import { sendEcho } from '#dimse/scu.ts';
import { Session } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { POLICY, requestOf } from '../unit/dimse/pairs.ts';

/** On a busy machine a peer's answer and its release arrive together: the answer was lost, and commitment reported twice. */
test('a response that arrives in one chunk with the release behind it is a response', async () => {
  const [near, far] = duplexPair({ allowHalfOpen: false });
  const stream = new PduStream({
    control: (type) => {
      if (type === PDU.associateRequest) far.write(encodeAssociateAccept(negotiate(requestOf(), POLICY).accept));
    },
    data: (_id, _control, _bytes, ends) => {
      if (!ends) return;
      const answer = encodeCommand({
        CommandField: COMMAND.cEcho | RESPONSE,
        MessageIDBeingRespondedTo: 1,
        AffectedSOPClassUID: VERIFICATION,
        CommandDataSetType: 0x0101,
        Status: 0,
      });
      far.write(Buffer.concat([dataHeader(1, true, true, answer.length), answer, encodeReleaseRequest()]));
    },
  });
  far.on('data', (chunk: Buffer) => stream.push(chunk));
  const session = await Session.request(near, requestOf());
  expect(await sendEcho(session, VERIFICATION)).toBe(0);
  expect((await session.ended).error).toBeUndefined();
});
