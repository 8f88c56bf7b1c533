import { createHash } from 'node:crypto';
import type { AuditEvent } from '../audit/event.ts';
import type { AuditTrail } from '../audit/trail.ts';
import { PacsError } from '../errors.ts';
import { networkOf } from '../network-address.ts';
import type { Clock } from '../ports/clock.ts';
import type { IndexTable } from '../ports/index-table.ts';
import type { SecretBox } from '../ports/secret-box.ts';
import { type Attempt, Attempts, type Reserved } from './attempts.ts';
import type { Users } from './directory.ts';
import { normalName, type UserRecord } from './records.ts';
import { newRecoveryCodes, newTotpSecret, normalRecoveryCode, totpStep } from './totp.ts';

/** `code`: the password is right, a code of the second factor is asked for. `refused`: says no more than that, whatever was wrong. */
export type SignInOutcome = { readonly kind: 'in' | 'code'; readonly user: UserRecord } | { readonly kind: 'refused' };

export interface SecondStep {
  readonly name: string;
  readonly code: string;
  readonly address?: string | undefined;
  /** of the password that the first step was passed with (ms since 1970) */
  readonly passwordChangedAt: number | undefined;
}

export interface Credentials {
  readonly name: string;
  readonly password: string;
  /** IP address of who asks; undefined: not known, or this machine itself */
  readonly address?: string | undefined;
}

/** Finds out whether somebody is who he says he is. Every guess is counted before it is made, and leaves a record. */
export class SignIn {
  readonly #users: Users;
  readonly #clock: Clock;
  readonly #audit: AuditTrail;
  readonly #attempts: Attempts;
  readonly #secrets: SecretBox;

  constructor(
    ports: { readonly index: IndexTable; readonly clock: Clock; readonly audit: AuditTrail },
    users: Users,
    secrets: SecretBox,
  ) {
    this.#users = users;
    this.#clock = ports.clock;
    this.#audit = ports.audit;
    this.#attempts = new Attempts(ports);
    this.#secrets = secrets;
  }

  /** @throws PacsError TOO_MANY_REQUESTS with `details.retryAfterSeconds`; BUSY */
  async byPassword(tenant: string, { name: typed, password, address }: Credentials): Promise<SignInOutcome> {
    this.#audit.admit(true);
    const name = normalName(typed).slice(0, 256);
    const reserved = await this.#reserve({ tenant, name, address: networkOf(address) });
    const user = await this.#users.find(tenant, name);
    const isRight = await this.#users.passwords.verify(password, user?.password);
    if (!isRight || user === undefined || user.isDisabled) {
      await this.#recordWrong(reserved, user?.name, address);
      return { kind: 'refused' };
    }
    if (user.totp !== undefined) {
      await this.#attempts.takeBack(reserved);
      return { kind: 'code', user };
    }
    return this.#admit(reserved, password, user.name);
  }

  /**
   * The second step: a code of the authenticator app, or one of the recovery codes, each good once. For whom the first step was passed a
   * moment ago. @throws as byPassword
   */
  async byCode(tenant: string, { name, code, address, passwordChangedAt }: SecondStep): Promise<SignInOutcome> {
    this.#audit.admit(true);
    const reserved = await this.#reserve({ tenant, name, address: networkOf(address) });
    try {
      const user = await this.#spend(tenant, name, code, passwordChangedAt);
      await this.#attempts.forget(reserved);
      return { kind: 'in', user };
    } catch (error) {
      if (!(error instanceof PacsError && error.code === 'UNAUTHENTICATED')) throw error;
      await this.#recordWrong(reserved, name, address);
      return { kind: 'refused' };
    }
  }

  /**
   * Whether it is the person's password, of somebody who is signed in and is about to change what he signs in by.
   * @throws PacsError FORBIDDEN in words for him; TOO_MANY_REQUESTS
   */
  async confirm(tenant: string, { name, password, address }: Credentials): Promise<UserRecord> {
    const reserved = await this.#reserve({ tenant, name, address: networkOf(address) });
    const user = await this.#users.find(tenant, name);
    if (user !== undefined && (await this.#users.passwords.verify(password, user.password))) {
      await this.#attempts.takeBack(reserved);
      return user;
    }
    await this.#recordWrong(reserved, name, address);
    throw new PacsError('FORBIDDEN', 'This is not your password.', { details: { parameter: 'current' } });
  }

  /** A new secret for an authenticator app, which holds when a code of it has been shown. @returns the secret in base32 */
  async offerTotp(tenant: string, name: string): Promise<string> {
    const secret = newTotpSecret(this.#clock);
    const sealed = this.#secrets.seal(secret, contextOf(tenant, name));
    await this.#users.update(tenant, name, (user) => ({ user: { ...user, totpOffered: sealed } }));
    return secret;
  }

  /** Turns the second factor on. @returns recovery codes, which nobody can be told again. @throws PacsError BAD_REQUEST for a wrong code */
  async acceptTotp(tenant: string, name: string, code: string): Promise<string[]> {
    const codes = newRecoveryCodes(this.#clock);
    await this.#users.update(tenant, name, ({ totpOffered, ...user }) => {
      const secret = totpOffered && this.#secrets.open(totpOffered, contextOf(tenant, name));
      const lastStep = secret ? totpStep(secret, code, this.#clock.now(), 0) : undefined;
      if (totpOffered === undefined || lastStep === undefined)
        throw new PacsError('BAD_REQUEST', 'This is not the code that the app shows now.', {
          details: { parameter: 'code' },
        });
      const recovery = codes.map((one) => digestOf(tenant, name, normalRecoveryCode(one)));
      return { user: { ...user, totp: { secret: totpOffered, lastStep, recovery } } };
    });
    return codes;
  }

  async dropTotp(tenant: string, name: string): Promise<void> {
    await this.#users.update(tenant, name, ({ totp: _, totpOffered: __, ...user }) => ({ user }));
  }

  /** @throws PacsError UNAUTHENTICATED for a code that is wrong or has been used, whoever else uses it at the same moment */
  async #spend(tenant: string, name: string, code: string, passwordChangedAt: number | undefined): Promise<UserRecord> {
    const wrong = (): PacsError => new PacsError('UNAUTHENTICATED', 'the code is not valid');
    return this.#users
      .update(tenant, name, (user) => {
        if (user.totp === undefined || user.isDisabled || user.passwordChangedAt !== passwordChangedAt) throw wrong();
        const { secret, lastStep, recovery } = user.totp;
        const now = this.#clock.now();
        const step = totpStep(this.#secrets.open(secret, contextOf(tenant, name)), code, now, lastStep);
        if (step !== undefined) return { user: { ...user, lastLoginAt: now, totp: { ...user.totp, lastStep: step } } };
        const digest = digestOf(tenant, name, normalRecoveryCode(code));
        if (!recovery.includes(digest)) throw wrong();
        const left = recovery.filter((one) => one !== digest);
        return { user: { ...user, lastLoginAt: now, totp: { ...user.totp, recovery: left } } };
      })
      .catch((error: unknown) => {
        throw error instanceof PacsError && error.code === 'NOT_FOUND' ? wrong() : error;
      });
  }

  async #admit(reserved: Reserved, password: string, name: string): Promise<SignInOutcome> {
    const { tenant } = reserved;
    await this.#attempts.forget(reserved);
    const { passwords } = this.#users;
    const before = await this.#users.find(tenant, name);
    const anew =
      before?.password !== undefined && passwords.isOutdated(before.password)
        ? await passwords.hash(password)
        : undefined;
    const user = await this.#users.update(tenant, name, (current) => ({
      user: {
        ...current,
        lastLoginAt: this.#clock.now(),
        ...(anew !== undefined && current.password === before?.password && { password: anew }),
      },
    }));
    // Disabled, or given another password, while the old one was looked at.
    if (user.isDisabled || user.passwordChangedAt !== before?.passwordChangedAt) return { kind: 'refused' };
    return { kind: 'in', user };
  }

  async #reserve(attempt: Attempt): Promise<Reserved> {
    try {
      return await this.#attempts.reserve(attempt);
    } catch (error) {
      if (error instanceof PacsError && error.code === 'TOO_MANY_REQUESTS') {
        const known = await this.#users.find(attempt.tenant, attempt.name);
        const event = this.#event(known?.name, attempt.address, error.code);
        await this.#audit.recordOnce(attempt.tenant, `locked ${known?.name} ${attempt.address}`, event);
      }
      throw error;
    }
  }

  /** @param name of the person, where there is one of that name: what else was typed is nobody's to keep */
  async #recordWrong(
    { tenant, locks }: Reserved,
    name: string | undefined,
    address: string | undefined,
  ): Promise<void> {
    await this.#audit.record(tenant, this.#event(name, address, 'UNAUTHENTICATED'));
    if (!locks || name === undefined) return;
    await this.#audit.record(tenant, {
      ...this.#event(undefined, address, undefined),
      event: 'UserSecurityAttributes',
      action: 'U',
      outcome: 0,
      subject: 'nephos',
      door: 'system',
      transaction: 'LockOut',
      about: name,
    });
  }

  #event(name: string | undefined, address: string | undefined, error: AuditEvent['error']): AuditEvent {
    return {
      at: this.#clock.now(),
      event: 'Login',
      action: 'E',
      outcome: 4,
      subject: name ?? 'nobody',
      roles: [],
      door: 'http',
      transaction: 'SignIn',
      ...(address !== undefined && { from: address }),
      ...(error !== undefined && { error }),
    };
  }
}

const contextOf = (tenant: string, name: string): string => `totp ${tenant} ${name}`;
const digestOf = (tenant: string, name: string, code: string): string =>
  createHash('sha256').update(`recovery|${tenant}|${name}|${code}`).digest('base64url');
