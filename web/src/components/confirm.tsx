import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { FormDialog } from './dialog.tsx';
import { TextField } from './fields.tsx';

interface Props {
  readonly title: string;
  readonly action: string;
  /** ask for a reason, which is kept with what was done */
  readonly reasonLabel?: string;
  readonly dangerous?: boolean;
  readonly children?: ComponentChildren;
  readonly onConfirm: (reason: string) => Promise<unknown>;
  readonly onClose: () => void;
}

/** Asks before something is done. Escape and Cancel leave everything as it was. */
export function Confirm({ reasonLabel, children, onConfirm, ...dialog }: Props) {
  const [reason, setReason] = useState('');
  return (
    <FormDialog {...dialog} onSubmit={() => onConfirm(reason.trim())}>
      {children}
      {reasonLabel && (
        <TextField label={reasonLabel} type="text" required maxLength={200} value={reason} onChange={setReason} />
      )}
    </FormDialog>
  );
}
