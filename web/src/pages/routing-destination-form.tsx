import { useState } from 'preact/hooks';
import { type Destination, putDestination } from '../api/routing.ts';
import { FormDialog } from '../components/dialog.tsx';
import { CheckField, NAME_INPUT, TextField } from '../components/fields.tsx';

interface Props {
  /** undefined: a new one */
  readonly known: Destination | undefined;
  readonly hosts: readonly string[];
  readonly onSaved: (name: string) => void;
  readonly onClose: () => void;
}

export const ROUTING_NAME = {
  ...NAME_INPUT,
  required: true,
  maxLength: 63,
  pattern: '[a-z0-9][a-z0-9\\-]*',
  title: 'Small letters, digits and hyphens',
} as const;

export function DestinationForm({ known, hosts, onSaved, onClose }: Props) {
  const [name, setName] = useState(known?.name ?? '');
  const [url, setUrl] = useState(known?.url ?? '');
  const [authentication, setAuthentication] = useState(known?.authentication ?? '');
  const [enabled, setEnabled] = useState(known?.enabled ?? true);
  const save = async () => {
    const credentials = authentication.trim();
    const asked = {
      url: url.trim(),
      enabled,
      ...(credentials !== '' && { authentication: credentials }),
      ...(known?.timeoutMs !== undefined && { timeoutMs: known.timeoutMs }),
    };
    await putDestination(name, asked, known?.version ?? 0);
    onSaved(name);
  };
  return (
    <FormDialog
      wide
      title={known ? `Destination ${known.name}` : 'New destination'}
      action="Save"
      onSubmit={save}
      onClose={onClose}
    >
      {!known && <TextField label="Name" {...ROUTING_NAME} value={name} onChange={setName} />}
      <TextField
        label="DICOMweb address (objects are posted to its /studies)"
        required
        spellcheck={false}
        placeholder="https://pacs.example/dicom-web"
        value={url}
        onChange={setUrl}
      />
      <p class="hint">The configuration of this archive lets it send to {hosts.join(', ')}.</p>
      <TextField
        label="Credentials: their name in the configuration (leave empty for none)"
        spellcheck={false}
        maxLength={63}
        value={authentication}
        onChange={setAuthentication}
      />
      <CheckField label="Send now (otherwise studies wait)" checked={enabled} onChange={setEnabled} />
    </FormDialog>
  );
}
