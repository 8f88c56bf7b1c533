import type { AssociationError } from './association.ts';
import type { Command } from './command-set.ts';
import type { IncomingDataSet, Message } from './messages.ts';

export interface Response {
  readonly command: Command;
  readonly dataSet: IncomingDataSet | undefined;
}

/** Our requests on an association whose final response has not come, by their message ids. */
export class AwaitedResponses {
  readonly #awaited = new Map<number, (response: Response | AssociationError) => void>();
  #lastMessageId = 0;

  get size(): number {
    return this.#awaited.size;
  }

  /** A new request: its message id, and its responses as they come. `end` when no more are wanted. */
  begin(): { readonly MessageID: number; next(): Promise<Response | AssociationError>; end(): void } {
    const MessageID = this.#nextMessageId();
    const responses: (Response | AssociationError)[] = [];
    let wake = (): void => {};
    this.#awaited.set(MessageID, (response) => {
      responses.push(response);
      wake();
    });
    return {
      MessageID,
      next: async () => {
        for (;;) {
          const response = responses.shift();
          if (response !== undefined) return response;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      },
      end: () => void this.#awaited.delete(MessageID),
    };
  }

  /** A response has come. One that nobody awaits is let go. */
  settle({ command, dataSet }: Message): void {
    const settle = this.#awaited.get(command.MessageIDBeingRespondedTo ?? -1);
    if (settle) settle({ command, dataSet });
    else dataSet?.discard();
  }

  /** No more will come. */
  settleAll(error: AssociationError): void {
    for (const settle of this.#awaited.values()) settle(error);
    this.#awaited.clear();
  }

  #nextMessageId(): number {
    do this.#lastMessageId = (this.#lastMessageId % 0xffff) + 1;
    while (this.#awaited.has(this.#lastMessageId));
    return this.#lastMessageId;
  }
}
