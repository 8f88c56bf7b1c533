import { flag, object, text, time } from './openapi-schema.ts';

const texts = { type: 'array', items: text };

const user = object(
  {
    name: text,
    displayName: text,
    roles: texts,
    isDisabled: flag,
    createdAt: time,
    createdBy: text,
    lastLoginAt: time,
    passwordChangedAt: time,
    hasPassword: flag,
    hasTotp: flag,
    hasLink: { type: 'boolean', description: 'a one-time link has been given out and not been used' },
  },
  ['lastLoginAt', 'passwordChangedAt'],
);
const link = object({ url: { type: 'string', description: 'good once; shown this once' }, expiresAt: time });
const confirmed = object({ current: { type: 'string', description: 'the password of whoever asks' } });

/** Operations of signing in, of one's own account, and of people (login.ts, account.ts, users.ts), by route name. */
export const LOGIN_OPERATIONS = {
  GetSignInOptions: {
    summary: 'Whether people sign in at an issuer, and whether the archive keeps them itself',
    response: { schema: object({ signIn: flag, people: flag }) },
  },
  StartSignIn: {
    status: 303,
    summary: 'For browsers: 303 to the issuer (authorization code with PKCE)',
    parameters: [{ name: 'returnTo', description: 'path of this archive to come back to', schema: text }],
  },
  FinishSignIn: {
    status: 303,
    summary: 'For browsers that come back from the issuer: opens the session, 303 to where they wanted to go',
    parameters: [
      { name: 'code', description: 'of the issuer', schema: text },
      { name: 'state', description: 'of the sign-in that this browser began', schema: text },
    ],
  },
  GetAccount: {
    summary: 'The account of whoever has signed in with a password of this archive',
    response: {
      schema: object({
        name: text,
        displayName: text,
        roles: texts,
        passwordChangedAt: time,
        totp: { type: 'boolean', description: 'a second factor is asked for' },
        recoveryCodes: { type: 'integer', minimum: 0, description: 'that are left' },
      }),
    },
  },
  ChangePassword: {
    summary: 'Choose another password; all other sessions of the person are over',
    requestBody: object({ current: text, password: text }),
  },
  OfferTotp: {
    summary: 'A secret for an authenticator app, which holds when a code of it has been shown',
    requestBody: confirmed,
    response: { schema: object({ secret: text, uri: { type: 'string', description: 'for a QR code' } }) },
  },
  AcceptTotp: {
    summary: 'Turn the second factor on; the recovery codes are shown this once',
    requestBody: object({ code: text }),
    response: { schema: object({ recoveryCodes: texts }) },
  },
  DropTotp: { summary: 'Turn the second factor off', requestBody: confirmed },
  ListUsers: {
    summary: 'The people who sign in at this archive, and the roles that the caller may give',
    response: {
      schema: object({
        items: { type: 'array', items: user },
        roles: { type: 'array', items: object({ role: text, permits: texts }) },
      }),
    },
  },
  CreateUser: {
    status: 201,
    summary: 'Make an account, and the link by which its person chooses a password',
    requestBody: object({ name: text, displayName: text, roles: texts }, ['displayName']),
    response: { schema: object({ user, link }) },
  },
  ChangeUser: {
    summary: 'Change name and roles; whoever is disabled is out with his next request',
    requestBody: object({ displayName: text, roles: texts, isDisabled: flag }, ['displayName', 'roles', 'isDisabled']),
    response: { schema: user },
  },
  RenewUserLink: {
    status: 201,
    summary: 'A link by which somebody chooses a new password',
    response: { schema: link },
  },
  ClearUserTotp: { summary: 'Take a lost second factor from somebody' },
};
