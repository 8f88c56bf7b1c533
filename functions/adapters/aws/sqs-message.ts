import { PacsError } from '#core/errors.ts';
import type { Item } from '#core/ports/index-table.ts';
import { decodeItem, encodeItem } from '../item-codec.ts';

/** What a message of our queues holds: JSON that people can read, unless the payload has binary values. */
export interface QueueMessage {
  readonly payload: Item;
  /** ms since 1970: not to be worked on before, where SQS cannot delay so long */
  readonly notBefore?: number | undefined;
  /** of a dead letter: the message that it was */
  readonly id?: string | undefined;
  /** of a dead letter: receives before it was given up */
  readonly attempt?: number | undefined;
}

/** The item codec's mark of binary values. */
const WITH_BINARY = 1;

export function encodeMessage({ payload, ...rest }: QueueMessage): string {
  const bytes = encodeItem(payload);
  return JSON.stringify(
    bytes[0] === WITH_BINARY ? { binary: bytes.toString('base64'), ...rest } : { payload, ...rest },
  );
}

/** @throws PacsError BAD_REQUEST when the text is no message of ours */
export function parseMessage(body: string): QueueMessage {
  let message: Partial<QueueMessage> & { readonly binary?: string };
  try {
    message = JSON.parse(body);
  } catch (error) {
    throw new PacsError('BAD_REQUEST', 'a message is not JSON', { cause: error });
  }
  const { payload, binary, ...rest } = message;
  if (typeof binary === 'string') {
    const bytes = Buffer.from(binary, 'base64');
    return { payload: decodeItem(bytes, bytes.length), ...rest };
  }
  if (typeof payload !== 'object' || payload === null) throw new PacsError('BAD_REQUEST', 'a message has no payload');
  return { payload, ...rest };
}
