import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { messageOf } from './use-loaded.ts';

interface DialogProps {
  readonly wide?: boolean;
  readonly onClose: () => void;
  /** what stands in it; its heading has the id */
  readonly children: (titleId: string) => ComponentChildren;
}

/** A modal dialog, open as long as it is drawn. Escape closes it. */
export function Dialog({ wide = false, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  // Before anything is drawn: an Escape that comes at once must find it open.
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class={wide ? 'wide' : undefined} aria-labelledby={titleId} onClose={onClose}>
      {children(titleId)}
    </dialog>
  );
}

interface FormProps {
  readonly title: string;
  /** on the button that submits */
  readonly action: string;
  /** on it meanwhile */
  readonly busyAction?: string;
  readonly dangerous?: boolean;
  readonly children?: ComponentChildren;
  /** does what the form is for; the message of what it throws is shown, and the form stays */
  readonly onSubmit: () => Promise<unknown>;
  readonly onClose: () => void;
}

/** The form of a dialog: its fields, what went wrong, Cancel and the button that submits. */
export function DialogForm({
  titleId,
  title,
  action,
  busyAction = 'Working…',
  dangerous = false,
  children,
  onSubmit,
  onClose,
}: FormProps & { readonly titleId: string }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError('');
    try {
      await onSubmit();
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  };
  return (
    <form onSubmit={submit}>
      <h2 id={titleId}>{title}</h2>
      {children}
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class={dangerous ? 'danger' : 'primary'} disabled={busy}>
          {busy ? busyAction : action}
        </button>
      </div>
    </form>
  );
}

/** A dialog that is a form, and closes when that has been done. */
export function FormDialog({ wide = false, onSubmit, onClose, ...form }: FormProps & { readonly wide?: boolean }) {
  const submit = async () => {
    await onSubmit();
    onClose();
  };
  return (
    <Dialog wide={wide} onClose={onClose}>
      {(titleId) => <DialogForm titleId={titleId} {...form} onSubmit={submit} onClose={onClose} />}
    </Dialog>
  );
}
