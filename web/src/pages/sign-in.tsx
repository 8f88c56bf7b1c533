import { useEffect, useRef, useState } from 'preact/hooks';
import { loadSession, loadSignInOffer, signIn, startSignIn, takeSignInProblem } from '../api/session.ts';
import { messageOf } from '../components/use-loaded.ts';
import { plural } from '../dicom/json.ts';
import { useStore } from '../store.ts';
import { upload } from '../upload/queue.ts';

interface Props {
  readonly unreachable: string | undefined;
  readonly expired: boolean;
}

export function SignInPage({ unreachable, expired }: Props) {
  const [token, setToken] = useState('');
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const [offer, setOffer] = useState<boolean>();
  const [problem, setProblem] = useState<string>();
  const input = useRef<HTMLInputElement>(null);
  const door = useRef<HTMLAnchorElement>(null);
  const files = useStore(upload).filter(({ state }) => state === 'waiting' || state === 'sending').length;
  useEffect(() => {
    document.title = 'Sign in – Nephos';
    setProblem(takeSignInProblem());
    void loadSignInOffer().then(setOffer);
  }, []);
  // When it is known what there is to offer; whoever has begun to type meanwhile goes on where he is.
  useEffect(() => {
    if (offer === undefined || document.activeElement === input.current) return;
    (door.current ?? input.current)?.focus();
  }, [offer]);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    try {
      await signIn(token.trim());
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
      input.current?.select();
    }
  };
  return (
    <main class="sign-in">
      <img src="/nephos.svg" alt="" width="44" height="44" />
      <h1>Nephos</h1>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {expired && unreachable === undefined && (
        <p role="status">
          Your session has ended. Sign in to go on where you were.
          {files > 0 && ` ${plural(files, 'file')} of your upload wait until then.`}
        </p>
      )}
      {offer && unreachable === undefined && (
        <>
          <a
            ref={door}
            class="button primary"
            href="/api/session/start"
            target={files > 0 ? '_blank' : undefined}
            onClick={(event) => {
              // This page would go away, and the files with it: the upload goes on here when somebody comes back to this tab.
              if (files > 0) return;
              event.preventDefault();
              startSignIn();
            }}
          >
            {files > 0 ? 'Sign in, in a new tab' : 'Sign in'}
          </a>
          <p class="or">or</p>
        </>
      )}
      {unreachable === undefined ? (
        <form onSubmit={submit}>
          <label class="field">
            <span>Access token</span>
            <input
              ref={input}
              type="password"
              autoComplete="current-password"
              spellcheck={false}
              required
              value={token}
              aria-invalid={error !== ''}
              aria-describedby="sign-in-help"
              onInput={(event) => setToken(event.currentTarget.value)}
            />
          </label>
          <p id="sign-in-help" class="hint">
            An administrator gives it to you; the archive prints the first one when it is started for the first time.
          </p>
          {error && (
            <p class="error" role="alert">
              {error}
            </p>
          )}
          <button type="submit" class={offer ? '' : 'primary'} disabled={busy}>
            {busy ? 'Signing in…' : offer ? 'Sign in with the token' : 'Sign in'}
          </button>
        </form>
      ) : (
        <div class="notice failure" role="alert">
          <p>{unreachable}</p>
          <button type="button" onClick={() => void loadSession()}>
            Try again
          </button>
        </div>
      )}
    </main>
  );
}
