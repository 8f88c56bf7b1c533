import { useState } from 'preact/hooks';
import { findRestricted } from '../api/access.ts';
import { may } from '../api/session.ts';
import { EmergencyDialog } from '../components/emergency-dialog.tsx';
import { useLoaded } from '../components/use-loaded.ts';

interface Props {
  /** of the search that the list shows */
  readonly parameters: URLSearchParams;
  readonly onOpened: () => void;
}

/** Below the list: a row without any attribute for each study that a restriction keeps from whoever looks, where it may be told that there are. */
export function RestrictedStudies({ parameters, onOpened }: Props) {
  const key = String(parameters);
  const { value, reload } = useLoaded(`restricted ${key}`, (signal) => findRestricted(parameters, signal), true);
  const [asking, setAsking] = useState<string>();
  if (value === undefined || value.items.length === 0) return null;
  return (
    <section class="restricted" aria-label="Restricted studies">
      <ul>
        {value.items.map(({ StudyInstanceUID }, index) => (
          <li key={StudyInstanceUID}>
            <span class="masked">Restricted study</span>
            <button
              type="button"
              aria-label={`Emergency access to restricted study ${index + 1}`}
              onClick={() => setAsking(StudyInstanceUID)}
            >
              Emergency access…
            </button>
          </li>
        ))}
      </ul>
      {value.more && <p class="hint">There are more: narrow the search.</p>}
      {asking !== undefined && (
        <EmergencyDialog
          study={asking}
          onBegun={() => {
            reload();
            onOpened();
          }}
          onClose={() => setAsking(undefined)}
        />
      )}
    </section>
  );
}

/** For a patient whose studies do not show at all. */
export function EmergencyButton({ onOpened }: { onOpened: () => void }) {
  const [asking, setAsking] = useState(false);
  if (!may('breakGlass')) return null;
  return (
    <>
      <button type="button" class="quiet" onClick={() => setAsking(true)}>
        Emergency access…
      </button>
      {asking && <EmergencyDialog onBegun={onOpened} onClose={() => setAsking(false)} />}
    </>
  );
}
