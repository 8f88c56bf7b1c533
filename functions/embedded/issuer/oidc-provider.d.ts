/** What we use of oidc-provider 9, which comes without types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http';

  export interface Context {
    readonly oidc: {
      readonly route: string;
      readonly provider: Provider;
      readonly client?: { readonly clientId: string };
      readonly params?: Readonly<Record<string, string | undefined>>;
      readonly session?: Session;
      readonly entities: Readonly<Record<string, unknown>>;
      readonly account?: { readonly accountId: string };
      urlFor(name: string): string;
    };
    readonly cookies: { set(name: string, value: null, options?: Record<string, unknown>): void };
    readonly req: IncomingMessage;
    status: number;
    type: string;
    body: unknown;
    redirect(url: string): void;
    set(headers: Record<string, string>): void;
  }

  export interface Session {
    readonly uid: string;
    accountId?: string;
    readonly loginTs?: number;
    readonly state?: Readonly<Record<string, string | undefined>>;
    grantIdFor(clientId: string): string | undefined;
    resetIdentifier(): void;
    destroy(): Promise<void>;
  }

  export interface Interaction {
    readonly uid: string;
    readonly returnTo: string;
    readonly prompt: { readonly name: string; readonly reasons: readonly string[] };
    readonly params: Readonly<Record<string, string | undefined>>;
    readonly session?: { readonly accountId: string };
    readonly exp: number;
    result?: Readonly<Record<string, unknown>>;
    save(ttlSeconds: number): Promise<string>;
    destroy(): Promise<void>;
  }

  export interface Grant {
    readonly jti: string;
    readonly accountId?: string;
    addOIDCScope(scope: string): void;
    save(): Promise<string>;
    destroy(): Promise<void>;
  }

  export class Provider {
    constructor(issuer: string, configuration: Record<string, unknown>);
    readonly issuer: string;
    proxy: boolean;
    readonly Grant: {
      new (properties: { readonly clientId: string; readonly accountId: string }): Grant;
      find(id: string): Promise<Grant | undefined>;
    };
    callback(): (request: IncomingMessage, response: ServerResponse) => void;
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>;
    interactionResult(
      request: IncomingMessage,
      response: ServerResponse,
      result: Readonly<Record<string, unknown>>,
      options?: { readonly mergeWithLastSubmission?: boolean },
    ): Promise<string>;
    on(event: string, listener: (...values: never[]) => void): this;
  }

  export const errors: {
    readonly InvalidGrant: new (description: string) => Error;
  };
  export const interactionPolicy: { base(): { remove(name: string): void } };
  export default Provider;
}
