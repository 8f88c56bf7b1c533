import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { retrieve } from '#dimse/remote-retrieve.ts';
import { associate, contextOf, proposing } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { STUDY_ROOT_FIND, STUDY_ROOT_MOVE } from '#dimse/sop-classes.ts';
import { freePort } from '#test/fixtures/free-port.ts';

const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
let pacs: DimseServer | undefined;
afterEach(() => pacs?.close(0));

/** A PACS that moves one object, and names `originator` as who has asked for that. */
async function startPacs(originator: string, receivePort: number): Promise<{ port: number; answers: number[] }> {
  const answers: number[] = [];
  pacs = createDimseServer({
    aeTitle: 'PACS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 4,
    policy: { acceptUnknownSopClasses: false, services: new Set([STUDY_ROOT_FIND, STUDY_ROOT_MOVE]) },
    services: new Map([
      [COMMAND.cFind, ({ respond }) => respond({ Status: 0 })],
      [
        COMMAND.cMove,
        async ({ respond }) => {
          const session = await associate(
            { aeTitle: 'NEPHOS', host: '127.0.0.1', port: receivePort },
            { callingAETitle: 'PACS', contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_VR_LITTLE_ENDIAN]]) },
          );
          const { command } = await session.request(
            contextOf(session, CT_IMAGE_STORAGE),
            {
              CommandField: COMMAND.cStore,
              AffectedSOPClassUID: CT_IMAGE_STORAGE,
              AffectedSOPInstanceUID: '1.2.3',
              MoveOriginatorApplicationEntityTitle: originator,
            },
            Buffer.from([0x08, 0, 0x18, 0, 0x55, 0x49, 6, 0, ...Buffer.from('1.2.3\0')]),
          );
          answers.push(command.Status!);
          await session.release();
          await respond({ Status: 0, NumberOfCompletedSuboperations: 1 });
        },
      ],
    ]),
  });
  await new Promise<void>((resolve) => pacs!.server.listen(0, '127.0.0.1', resolve));
  return { port: (pacs.server.address() as AddressInfo).port, answers };
}

/** pynetdicom names itself: everything that it moved to us was refused with 0124. */
test.each([
  ['NEPHOS', 0],
  ['PACS', 0],
  ['ELSEWHERE', 0x0124],
])('of a C-MOVE whose originator is said to be %s, objects are answered with %i', async (originator, status) => {
  const receivePort = await freePort();
  const { port, answers } = await startPacs(originator, receivePort);
  const taken: string[] = [];
  await retrieve(
    { aeTitle: 'PACS', host: '127.0.0.1', port },
    { '00080052': { vr: 'CS', Value: ['STUDY'] }, '0020000D': { vr: 'UI', Value: ['1.2'] } },
    async ({ SOPInstanceUID }) => {
      taken.push(SOPInstanceUID);
      return 0;
    },
    { callingAETitle: 'NEPHOS', receiver: { bind: '127.0.0.1', port: receivePort } },
  );
  expect(answers).toEqual([status]);
  expect(taken).toEqual(status === 0 ? ['1.2.3'] : []);
});
