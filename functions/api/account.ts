import { PacsError } from '#core/errors.ts';
import { LOGIN_PREFIX, type Logins } from '#core/logins.ts';
import type { Users } from '#core/users/directory.ts';
import type { UserRecord } from '#core/users/records.ts';
import type { SignIn } from '#core/users/sign-in.ts';
import { totpUri } from '#core/users/totp.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';
import type { LoginDoor } from './login.ts';
import { tokenOf, withCookie } from './session.ts';

interface Own {
  readonly user: UserRecord;
  readonly users: Users;
  readonly signIn: SignIn;
  readonly logins: Logins;
  readonly address: string | undefined;
}

const nothing: HttpResponse = { status: 204, headers: { 'cache-control': 'no-store' } };

const about = ({ name, displayName, roles, totp, passwordChangedAt }: UserRecord) => ({
  ...{ name, displayName, roles, passwordChangedAt },
  totp: totp !== undefined,
  recoveryCodes: totp?.recovery.length ?? 0,
});

/**
 * What somebody does with his own account. Public in the table as no role is asked for: whoever has signed in as that person in this very
 * browser, and not by a token that only bears his name. What changes how he signs in asks for his password once more.
 */
export function accountRoutes(door: LoginDoor | undefined): Route[] {
  const own =
    (handler: (own: Own, context: Context) => Promise<HttpResponse>): Handler =>
    async (context) => {
      const { request, facts } = context;
      const carried = tokenOf(request);
      if (carried === undefined) throw new PacsError('UNAUTHENTICATED', 'sign in first');
      if (door?.people === undefined || carried.from !== 'cookie' || !carried.token.startsWith(LOGIN_PREFIX))
        throw new PacsError('FORBIDDEN', 'this is for whoever has signed in with a password of this archive');
      const principal = await door.logins.verify(carried.token);
      const user = principal && (await door.people.users.find(principal.tenant, principal.subject));
      if (principal === undefined || user === undefined) throw new PacsError('UNAUTHENTICATED', 'sign in first');
      facts.principal = principal;
      facts.about = user.name;
      return handler({ user, ...door.people, logins: door.logins, address: request.remoteAddress }, context);
    };

  const confirmed = async ({ user, signIn, address }: Own, { facts }: Context, password: unknown): Promise<void> => {
    const given = typeof password === 'string' ? password : '';
    await signIn.confirm(facts.principal!.tenant, { name: user.name, password: given, address });
  };

  const show = own(async ({ user }) => json(200, about(user)));

  const setPassword = own(async (me, context) => {
    const { current, password } = await readJson(context.request);
    await confirmed(me, context, current);
    if (typeof password !== 'string') throw new PacsError('BAD_REQUEST', 'password must be a text');
    const { tenant } = context.facts.principal!;
    await me.users.setPassword(tenant, me.user.name, password);
    // All sessions are over, this one is opened anew.
    const carried = tokenOf(context.request)!;
    const opened = await me.logins.reopen(carried.token);
    return withCookie(nothing, context.request, opened.token, Math.floor(opened.lifeMs / 1000));
  });

  const offerTotp = own(async (me, context) => {
    const { current } = await readJson(context.request);
    await confirmed(me, context, current);
    if (me.user.totp !== undefined) throw new PacsError('CONFLICT', 'Turn the second factor off first.');
    const secret = await me.signIn.offerTotp(context.facts.principal!.tenant, me.user.name);
    const issuer = `Nephos ${new URL(context.request.origin).hostname}`;
    return json(200, { secret, uri: totpUri(secret, issuer, me.user.name) });
  });

  const acceptTotp = own(async (me, { request, facts }) => {
    const { code } = await readJson(request);
    const recoveryCodes = await me.signIn.acceptTotp(facts.principal!.tenant, me.user.name, String(code ?? ''));
    return json(200, { recoveryCodes });
  });

  const dropTotp = own(async (me, context) => {
    const { current } = await readJson(context.request);
    await confirmed(me, context, current);
    await me.signIn.dropTotp(context.facts.principal!.tenant, me.user.name);
    return nothing;
  });

  const row = (method: Route['method'], path: string, name: string, handler: Handler): Route => ({
    ...{ method, path, action: 'public', name, handler },
    ...(method !== 'GET' && { recordedAs: ['UserSecurityAttributes', 'U'] as const }),
  });
  return [
    row('GET', '/account', 'GetAccount', show),
    row('POST', '/account/password', 'ChangePassword', setPassword),
    row('POST', '/account/totp', 'OfferTotp', offerTotp),
    row('PUT', '/account/totp', 'AcceptTotp', acceptTotp),
    // A body with DELETE would be lost on the way by some.
    row('POST', '/account/totp/drop', 'DropTotp', dropTotp),
  ];
}
