import { expect, test } from 'vitest';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { AssociationError } from '#dimse/association.ts';
import type { Command } from '#dimse/command-set.ts';
import type { AcceptedContext } from '#dimse/negotiation.ts';
import type { Arriving } from '#dimse/services/retrieve.ts';
import { sendAll } from '#dimse/services/suboperations.ts';
import type { Operation, Session } from '#dimse/session.ts';
import { CT_IMAGE_STORAGE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

// It stayed taken, read by nobody: what brings it from upstream waited for its reader for ever, and kept its turn.
test('an object that is passed on as it arrives is let go of when its receiver hangs up before its first byte', async () => {
  let isLetGo = false;
  const context: AcceptedContext = {
    id: 1,
    abstractSyntax: CT_IMAGE_STORAGE,
    transferSyntax: EXPLICIT_VR_LITTLE_ENDIAN,
  } as AcceptedContext;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield new Uint8Array(65_536);
    } finally {
      isLetGo = true;
    }
  }
  const arriving: Arriving = {
    arriving: true,
    StudyInstanceUID: uid(1),
    SOPInstanceUID: uid(3),
    SOPClassUID: CT_IMAGE_STORAGE,
    transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN,
    take: bytes,
    stored: new Promise(() => {}),
  };
  const session = standIn<Session>({
    isOpen: true,
    contexts: new Map([[1, context]]),
    error: undefined,
    // Open when it was asked, and gone when the first bytes were there.
    request: async () => {
      throw new AssociationError('closed', 'the association is not open');
    },
  });
  const statuses: number[] = [];
  const operation = standIn<Operation>({
    signal: new AbortController().signal,
    command: standIn<Command>({}),
    context,
    respond: async ({ Status }: { Status: number }) => void statuses.push(Status),
  });
  const selection = {
    count: 1,
    encodings: new Map(),
    async *instances() {
      yield arriving;
    },
  };
  await sendAll(memoryServices(), operation, selection, { session, contexts: [context] });
  expect(statuses).toHaveLength(1);
  expect(isLetGo).toBe(true);
});
