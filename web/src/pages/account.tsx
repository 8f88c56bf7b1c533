import { useState } from 'preact/hooks';
import { session } from '../api/session.ts';
import { type Account, changePassword, dropSecondFactor, getAccount } from '../api/users.ts';
import { Announcement, Empty, Failure } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { messageOf, useLoaded } from '../components/use-loaded.ts';
import { formatMoment } from '../dicom/json.ts';
import { useStore } from '../store.ts';
import { SecondFactorForm } from './second-factor.tsx';
import { ROLE_WORDS, wordFor } from './words.ts';

/** One's own account: password and second factor. */
export function AccountPage() {
  const current = useStore(session);
  return current.state === 'signedIn' && !current.hasAccount ? <NoAccount /> : <OwnAccount />;
}

/** Signed in by a token, or by an issuer elsewhere that keeps the password. */
const NoAccount = () => (
  <div class="account">
    <PageTitle title="Your account" />
    <Empty title="Nothing to change here">
      <p>You are signed in without an account of this archive: by a token, or at an issuer that keeps your password.</p>
    </Empty>
  </div>
);

function OwnAccount() {
  const { value, error, reload } = useLoaded('account', getAccount);
  const [said, setSaid] = useState('');
  const done = (text: string) => {
    setSaid(text);
    reload();
  };
  return (
    <div class="account">
      <PageTitle title="Your account">
        {value && (
          <p class="count">
            {value.displayName}, signed in as {value.name}:{' '}
            {value.roles.map((role) => wordFor(ROLE_WORDS, role)).join(', ')}
          </p>
        )}
      </PageTitle>
      <Announcement text={said} />
      {error && <Failure message={error} onRetry={reload} />}
      {value && (
        <>
          <PasswordForm account={value} onDone={() => done('Password changed.')} />
          <SecondFactor account={value} onDone={done} />
        </>
      )}
    </div>
  );
}

function PasswordForm({ account, onDone }: { account: Account; onDone: () => void }) {
  const [current, setCurrent] = useState('');
  const [password, setPassword] = useState('');
  const [repeated, setRepeated] = useState('');
  const { busy, error, act } = useAct();
  const save = (event: Event) => {
    event.preventDefault();
    void act(async () => {
      if (password !== repeated) throw new Error('The two new passwords are not the same.');
      await changePassword(current, password);
      for (const clear of [setCurrent, setPassword, setRepeated]) clear('');
      onDone();
    });
  };
  return (
    <section aria-labelledby="password">
      <h2 id="password">Password</h2>
      {account.passwordChangedAt !== undefined && (
        <p class="hint">
          Chosen {formatMoment(account.passwordChangedAt)}. A new one ends your sessions everywhere else.
        </p>
      )}
      <form onSubmit={save}>
        <input hidden readOnly autoComplete="username" value={account.name} />
        <PasswordField label="Current password" name="current-password" value={current} onInput={setCurrent} />
        <PasswordField label="New password" name="new-password" value={password} onInput={setPassword} />
        <PasswordField label="Repeat the new password" name="new-password" value={repeated} onInput={setRepeated} />
        <Problem text={error} />
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Working…' : 'Change password'}
        </button>
      </form>
    </section>
  );
}

function SecondFactor({ account, onDone }: { account: Account; onDone: (text: string) => void }) {
  const [open, setOpen] = useState(false);
  const [current, setCurrent] = useState('');
  const { busy, error, act } = useAct();
  const drop = (event: Event) => {
    event.preventDefault();
    void act(async () => {
      await dropSecondFactor(current);
      setCurrent('');
      onDone('Second factor turned off.');
    });
  };
  return (
    <section aria-labelledby="second-factor">
      <h2 id="second-factor">Second factor</h2>
      {account.totp && !open ? (
        <>
          <p>
            A code of your authenticator app is asked for when you sign in. {account.recoveryCodes} recovery code
            {account.recoveryCodes === 1 ? ' is' : 's are'} left.
          </p>
          <form onSubmit={drop}>
            <PasswordField label="Your password" name="current-password" value={current} onInput={setCurrent} />
            <Problem text={error} />
            <button type="submit" class="danger" disabled={busy}>
              {busy ? 'Working…' : 'Turn off'}
            </button>
          </form>
        </>
      ) : (
        <>
          <p>
            Sign-in then also asks for a code from an authenticator app on your phone. A stolen password alone is not
            enough.
          </p>
          {open ? (
            <SecondFactorForm
              onDone={(isOn) => {
                setOpen(false);
                onDone(isOn ? 'Second factor turned on.' : '');
              }}
            />
          ) : (
            <button type="button" onClick={() => setOpen(true)}>
              Turn on
            </button>
          )}
        </>
      )}
    </section>
  );
}

interface FieldProps {
  readonly label: string;
  readonly name: 'current-password' | 'new-password';
  readonly value: string;
  readonly onInput: (value: string) => void;
}

export function PasswordField({ label, name, value, onInput }: FieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="password"
        required
        maxLength={256}
        autoComplete={name}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  );
}

export const Problem = ({ text }: { text: string }) =>
  text === '' ? null : (
    <p class="error" role="alert">
      {text}
    </p>
  );

/** Something that takes a moment and may be refused. */
export function useAct(): { busy: boolean; error: string; act: (work: () => Promise<void>) => Promise<void> } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const act = async (work: () => Promise<void>) => {
    setBusy(true);
    setError('');
    try {
      await work();
    } catch (failure) {
      setError(messageOf(failure));
    }
    setBusy(false);
  };
  return { busy, error, act };
}
