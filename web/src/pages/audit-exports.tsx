import { useEffect, useRef, useState } from 'preact/hooks';
import { type AuditFormat, type AuditQuery, exportAudit } from '../api/audit.ts';
import { download } from '../components/download.ts';
import { messageOf } from '../components/use-loaded.ts';

const FORMATS: readonly (readonly [AuditFormat, string, string])[] = [
  ['json', 'JSON', 'json'],
  ['dicom', 'DICOM XML', 'xml-seq'],
  ['fhir', 'FHIR', 'fhir.json'],
];

/** Saves what the filters let through, all of its pages, as one file. */
export function AuditExports({ query }: { query: AuditQuery }) {
  const [said, setSaid] = useState('');
  const [error, setError] = useState('');
  const running = useRef<AbortController>(undefined);
  const [busy, setBusy] = useState(false);
  useEffect(() => () => running.current?.abort(), []);
  const save = async (format: AuditFormat, extension: string) => {
    const controller = new AbortController();
    running.current = controller;
    setBusy(true);
    setError('');
    setSaid('Exporting…');
    try {
      const onPage = (pages: number) => setSaid(`Exporting… page ${pages + 1}`);
      const { file, isCut } = await exportAudit(query, format, onPage, controller.signal);
      download(file, `audit-${new Date().toISOString().slice(0, 10)}.${extension}`);
      setSaid(isCut ? 'Exported in part: there is more than one file can hold. Narrow the time down.' : 'Exported.');
    } catch (failure) {
      if (!controller.signal.aborted) setError(messageOf(failure));
      setSaid('');
    }
    setBusy(false);
  };
  return (
    <div class="exports">
      <fieldset class="buttons">
        <legend class="hint">Export all that matches</legend>
        {FORMATS.map(([format, label, extension]) => (
          <button key={format} type="button" disabled={busy} onClick={() => void save(format, extension)}>
            {label}
          </button>
        ))}
        {busy && (
          <button type="button" class="quiet" onClick={() => running.current?.abort()}>
            Cancel
          </button>
        )}
      </fieldset>
      <span class="hint" role="status">
        {said}
      </span>
      {error && (
        <span class="error" role="alert">
          {error}
        </span>
      )}
    </div>
  );
}
