import {
  type DynamoDBClient,
  GetItemCommand,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Key } from '#core/ports/index-table.ts';
import type { RateLedger, RateOutcome, RateStep, Standing } from '#core/ports/rate-ledger.ts';
import { standingOf } from '#core/rate-accounts.ts';
import { type Attributes, decodeRecord, physicalKey } from './dynamo-items.ts';
import { type RetryPolicy, retrying } from './retry.ts';
import { ITEM } from './schema.ts';

export interface DynamoRateLedgerOptions {
  readonly client: DynamoDBClient;
  readonly tableName: string;
  readonly clock: Clock;
  /** of a global table: each region has accounts of its own, for of two regions that write one item the last one wins */
  readonly region: string;
  /** of one call (ms); nobody waits long to be told that he may go on */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 1_000;
/** A second call for connections that ended while a sandbox was frozen. */
const POLICY: RetryPolicy = { attempts: 2, firstMs: 20, mostMs: 20 };
/** how often the account may turn out to be otherwise than believed */
const ROUNDS = 4;

/**
 * RateLedger in the table of the index. One conditional update an advance, as long as what the caller believes of the account is roughly right:
 *
 *   in use   now ≤ instant ≤ notBeyond − by:  instant := instant + by    others' updates in between do no harm
 *   full     none, or instant < now:          instant := now + by
 *
 * When the condition does not hold, the answer says how the account stands: it is the other case, or there is no room.
 */
export class DynamoRateLedger implements RateLedger {
  readonly #options: DynamoRateLedgerOptions;

  constructor(options: DynamoRateLedgerOptions) {
    this.#options = options;
  }

  async advance(account: Key, name: string, step: RateStep): Promise<RateOutcome> {
    const { now, by, notBeyond = Number.POSITIVE_INFINITY } = step;
    let instant = step.believed ?? 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { done, attributes } = await this.#update(account, name, { now, by, notBeyond }, instant >= now);
      const standing = standingOf(decodeRecord(attributes));
      if (done) return { advanced: true, standing };
      instant = standing[name] ?? 0;
      if (Math.max(instant, now) + by > notBeyond) return { advanced: false, standing };
    }
    throw new PacsError('BUSY', 'too many use this account of rates at once');
  }

  async read(account: Key): Promise<Standing> {
    const { client, clock, tableName: TableName } = this.#options;
    const command = { TableName, Key: this.#keyOf(account), ConsistentRead: true };
    const { Item: attributes = {} } = await retrying({ clock, policy: POLICY, changes: false }, () =>
      client.send(new GetItemCommand(command), this.#inTime()),
    );
    return standingOf(decodeRecord(attributes));
  }

  async #update(
    account: Key,
    name: string,
    { now, by, notBeyond }: Required<Pick<RateStep, 'now' | 'by' | 'notBeyond'>>,
    inUse: boolean,
  ): Promise<{ readonly done: boolean; readonly attributes: Attributes }> {
    const { client, clock, tableName } = this.#options;
    const limited = Number.isFinite(notBeyond);
    if (!inUse && now + by > notBeyond) return { done: false, attributes: {} };
    const N = (value: number) => ({ N: String(value) });
    const input: UpdateItemCommandInput = {
      TableName: tableName,
      Key: this.#keyOf(account),
      UpdateExpression: `SET #u = ${inUse ? '#u + :by' : ':to'} ADD #v :one`,
      ConditionExpression: inUse
        ? `#u >= :now${limited ? ' AND #u <= :most' : ''}`
        : 'attribute_not_exists(#u) OR #u < :now',
      ExpressionAttributeNames: { '#u': `${ITEM.sumPrefix}${name}`, '#v': ITEM.version },
      ExpressionAttributeValues: {
        ':now': N(now),
        ':one': N(1),
        ...(inUse ? { ':by': N(by), ...(limited && { ':most': N(notBeyond - by) }) } : { ':to': N(now + by) }),
      },
      ReturnValues: 'ALL_NEW',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    };
    return retrying({ clock, policy: POLICY, changes: true }, async () => {
      try {
        const { Attributes: attributes = {} } = await client.send(new UpdateItemCommand(input), this.#inTime());
        return { done: true, attributes };
      } catch (error) {
        if ((error as Error).name !== 'ConditionalCheckFailedException') throw error;
        return { done: false, attributes: (error as { Item?: Attributes }).Item ?? {} };
      }
    });
  }

  #keyOf({ partition, sort }: Key): Attributes {
    return physicalKey({ partition, sort: `${this.#options.region}|${sort}` });
  }

  #inTime(): { readonly abortSignal: AbortSignal } {
    return { abortSignal: AbortSignal.timeout(this.#options.timeoutMs ?? TIMEOUT_MS) };
  }
}
