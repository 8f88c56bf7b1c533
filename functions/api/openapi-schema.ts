/** The words in which requests and answers are described. */

export type Schema = Record<string, unknown>;

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly schema: Schema;
}

interface OtherAnswer {
  readonly description: string;
  readonly type?: string;
  /** absent: no body */
  readonly schema?: Schema;
}

export interface Operation {
  readonly summary: string;
  /** of the query */
  readonly parameters?: readonly Parameter[];
  readonly headers?: readonly Parameter[];
  readonly requestBody?: Schema;
  /** media type of the request's body, where it is not JSON */
  readonly requestType?: string;
  /** media type and schema of the answer; absent: no body */
  readonly response?: {
    readonly type?: string;
    readonly schema: Schema;
    /** other media types that may be asked for */
    readonly alsoAs?: Readonly<Record<string, Schema>>;
  };
  /** of success; absent: 200, without a body 204 */
  readonly status?: number;
  /** further answers that are no failures, and what they mean */
  readonly alsoAnswers?: Readonly<Record<number, OtherAnswer>>;
}

export const text: Schema = { type: 'string' };
/** bytes as they are */
export const binary: Schema = { type: 'string', format: 'binary' };
export const flag: Schema = { type: 'boolean' };
export const whole: Schema = { type: 'integer', minimum: 0 };
export const time: Schema = { type: 'integer', description: 'ms since 1970-01-01T00:00Z' };
export const list = (items: Schema): Schema => ({ type: 'array', items });
export const object = (properties: Record<string, Schema>, optional: readonly string[] = []): Schema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});
export const page = (items: Schema): Schema => object({ items: list(items), next: text }, ['next']);
export const paging: readonly Parameter[] = [
  { name: 'after', description: 'continue behind this cursor (`next` of the page before)', schema: text },
  { name: 'limit', description: 'entries of the page', schema: { type: 'integer', minimum: 1 } },
];

/** A change that is meant for one version of a record. */
export const ifMatch: Parameter = {
  name: 'If-Match',
  description: 'the ETag that was read, as `"3"`; 412 when the record is another by now',
  schema: text,
};
export const ifNoneMatch: Parameter = {
  name: 'If-None-Match',
  description: '`*`: 412 when there is such a record',
  schema: { enum: ['*'] },
};
