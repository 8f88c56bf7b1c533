import { useRef, useState } from 'preact/hooks';

/** Something that is seen this once, with a button that copies it. */
export function SecretShown({ label, value }: { label: string; value: string }) {
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState('');
  const copy = async () => setCopied((await copyText(value, field.current)) ? 'Copied.' : 'Copy it by hand.');
  return (
    <div>
      <div class="token-line">
        <input
          ref={field}
          class="uid"
          readOnly
          aria-label={label}
          value={value}
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" class="primary" aria-label={`Copy: ${label}`} onClick={() => void copy()}>
          Copy
        </button>
      </div>
      <p class="hint" role="status">
        {copied}
      </p>
    </div>
  );
}

/** Pages that do not come by https or from this very machine have no clipboard of their own. */
export async function copyText(text: string, field: HTMLInputElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    field?.select();
    return document.execCommand('copy');
  }
}
