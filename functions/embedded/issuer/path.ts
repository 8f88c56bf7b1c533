/** Where the issuer stands on the archive's own origin. */
export const ISSUER_PATH = '/oidc';
export const isIssuerPath = (path: string): boolean => path === ISSUER_PATH || path.startsWith(`${ISSUER_PATH}/`);
