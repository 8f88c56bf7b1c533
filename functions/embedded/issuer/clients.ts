import type { Principal } from '#core/access.ts';

/** What the issuer knows of a client, by the names of RFC 7591 §2. */
export interface ClientMetadata {
  readonly client_id: string;
  readonly client_name?: string;
  readonly client_secret?: string;
  readonly token_endpoint_auth_method:
    | 'none'
    | 'client_secret_basic'
    | 'client_secret_post'
    | 'private_key_jwt'
    | 'tls_client_auth'
    | 'self_signed_tls_client_auth';
  readonly grant_types: readonly ('authorization_code' | 'refresh_token' | 'client_credentials')[];
  readonly response_types: readonly 'code'[];
  readonly redirect_uris: readonly string[];
  readonly post_logout_redirect_uris?: readonly string[];
  readonly jwks?: { readonly keys: readonly Readonly<Record<string, unknown>>[] };
  readonly scope?: string;
}

/**
 * Machines that may ask for tokens (grant client_credentials): who they are, how they prove it, and whom their tokens stand for. Asked anew with
 * every request, so that what is changed or revoked holds at once.
 */
export interface MachineClients {
  /** undefined: there is no such client, or it may not come in */
  find(clientId: string): Promise<ClientMetadata | undefined>;
  /** of clients with a secret that is kept hashed; `client_secret` of their metadata is then any text */
  holdsSecret(clientId: string, secret: string): Promise<boolean>;
  /** whom a token of the client stands for now */
  principal(clientId: string): Promise<Principal | undefined>;
}

export const NO_MACHINES: MachineClients = {
  find: async () => undefined,
  holdsSecret: async () => false,
  principal: async () => undefined,
};

/** The console, which all people sign in through: a public client (PKCE, no secret) on the archive's own origin. */
export const CONSOLE_CLIENT_ID = 'console';
export const CALLBACK_PATH = '/api/session/callback';

export const consoleClient = (origin: string): ClientMetadata => ({
  client_id: CONSOLE_CLIENT_ID,
  client_name: 'Nephos',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: [origin + CALLBACK_PATH],
  post_logout_redirect_uris: [`${origin}/`],
});
