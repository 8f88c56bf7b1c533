import { useEffect, useRef, useState } from 'preact/hooks';
import { renderSVG } from 'uqr';
import { acceptSecondFactor, offerSecondFactor } from '../api/users.ts';
import { PasswordField, Problem, useAct } from './account.tsx';

type Step =
  | { readonly kind: 'confirm' }
  | { readonly kind: 'scan'; readonly secret: string; readonly uri: string }
  | { readonly kind: 'recovery'; readonly codes: readonly string[] };

/** Turns the second factor on, in three steps: who is it, does the app show the right code, are the recovery codes kept. */
export function SecondFactorForm({ onDone }: { onDone: (isOn: boolean) => void }) {
  const [step, setStep] = useState<Step>({ kind: 'confirm' });
  const [current, setCurrent] = useState('');
  const [code, setCode] = useState('');
  const { busy, error, act } = useAct();
  const field = useRef<HTMLInputElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    field.current?.focus();
    heading.current?.focus();
  }, [step.kind]);
  if (step.kind === 'confirm')
    return (
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void act(async () => setStep({ kind: 'scan', ...(await offerSecondFactor(current)) }));
        }}
      >
        <PasswordField label="Your password" name="current-password" value={current} onInput={setCurrent} />
        <Problem text={error} />
        <Buttons busy={busy} action="Go on" onCancel={() => onDone(false)} />
      </form>
    );
  if (step.kind === 'scan')
    return (
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void act(async () => setStep({ kind: 'recovery', codes: await acceptSecondFactor(code.trim()) }));
        }}
      >
        <p>Scan this with your authenticator app, or type the key into it. Then enter the code that it shows.</p>
        <img class="qr" alt="The key as a QR code" width="200" height="200" src={pictureOf(step.uri)} />
        <p>
          Key: <code class="key">{step.secret.replace(/(.{4})(?=.)/g, '$1 ')}</code>
        </p>
        <label class="field">
          <span>Code</span>
          <input
            ref={field}
            required
            inputMode="numeric"
            autoComplete="one-time-code"
            maxLength={10}
            value={code}
            onInput={(event) => setCode(event.currentTarget.value)}
          />
        </label>
        <Problem text={error} />
        <Buttons busy={busy} action="Turn on" onCancel={() => onDone(false)} />
      </form>
    );
  return (
    <div class="recovery">
      <h3 ref={heading} tabIndex={-1}>
        Your recovery codes
      </h3>
      <p>
        Each of them lets you in once when your phone is lost. Keep them where the phone is not: they are shown this
        once.
      </p>
      <ul>
        {step.codes.map((one) => (
          <li key={one}>
            <code>{one}</code>
          </li>
        ))}
      </ul>
      <button type="button" class="primary" onClick={() => onDone(true)}>
        I have kept them
      </button>
    </div>
  );
}

/** Drawn here: the key goes nowhere. Black on white in every scheme, as cameras want it. */
const pictureOf = (uri: string): string =>
  `data:image/svg+xml,${encodeURIComponent(renderSVG(uri, { ecc: 'M', border: 2 }))}`;

function Buttons({ busy, action, onCancel }: { busy: boolean; action: string; onCancel: () => void }) {
  return (
    <div class="buttons">
      <button type="button" onClick={onCancel}>
        Cancel
      </button>
      <button type="submit" class="primary" disabled={busy}>
        {busy ? 'Working…' : action}
      </button>
    </div>
  );
}
