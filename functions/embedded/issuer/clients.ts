import { CALLBACK_PATH } from '#adapters/oidc/environment.ts';

/** The console, which all people sign in through: a public client (PKCE, no secret) on the archive's own origin. Machines have another door (/api/token). */
export const CONSOLE_CLIENT_ID = 'console';

/** Its metadata, by the names of RFC 7591 §2. */
export const consoleClient = (origin: string) => ({
  client_id: CONSOLE_CLIENT_ID,
  client_name: 'Nephos',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: [origin + CALLBACK_PATH],
  post_logout_redirect_uris: [`${origin}/`],
});
