/** The words in which requests and answers are described. */

export type Schema = Record<string, unknown>;

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly schema: Schema;
}

export interface Operation {
  readonly summary: string;
  /** of the query */
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Schema;
  /** media type of the request's body, where it is not JSON */
  readonly requestType?: string;
  /** media type and schema of the answer; absent: no body (204) */
  readonly response?: { readonly type?: string; readonly schema: Schema };
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
