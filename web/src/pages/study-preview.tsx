import { useState } from 'preact/hooks';
import { ask } from '../api/http.ts';
import { instancePath } from '../api/search.ts';
import { Picture } from '../components/picture.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { type DataSet, numberOf, textOf } from '../dicom/json.ts';

interface Props {
  readonly study: string;
  readonly series: string;
  readonly instance: DataSet;
  /** undefined where there is none */
  readonly onBefore: (() => void) | undefined;
  readonly onAfter: (() => void) | undefined;
}

/** A look at one image, rendered by the archive. It is for finding the right one, not for reading: that is the viewer's. */
export function InstancePreview({ study, series, instance, onBefore, onAfter }: Props) {
  const uid = textOf(instance, 'SOPInstanceUID');
  const frames = numberOf(instance, 'NumberOfFrames') ?? 1;
  const [chosen, setChosen] = useState({ uid, frame: 1 });
  const frame = chosen.uid === uid ? chosen.frame : 1;
  const path = instancePath(study, series, uid);
  const kind = kindOf(instance);
  const label = `${kind} ${textOf(instance, 'InstanceNumber') || ''}${frames > 1 ? `, frame ${frame} of ${frames}` : ''}`;
  return (
    <figure class="preview">
      {kind === 'Report' ? (
        <ReportText path={path} />
      ) : kind === 'Document' ? (
        <p class="document">
          <a class="button" href={`${path}/rendered`} target="_blank" rel="noreferrer">
            Open the document
          </a>
        </p>
      ) : (
        <Picture
          src={frames > 1 ? `${path}/frames/${frame}/rendered` : `${path}/rendered`}
          alt={label}
          fallback="This object has no picture. Its tags tell what it holds."
        />
      )}
      <figcaption>
        <button type="button" disabled={onBefore === undefined} onClick={onBefore} aria-label={`${kind} before`}>
          ‹
        </button>
        <span>{label}</span>
        <button type="button" disabled={onAfter === undefined} onClick={onAfter} aria-label={`${kind} after`}>
          ›
        </button>
      </figcaption>
      {frames > 1 && kind === 'Image' && (
        <label class="frames">
          <span>Frame</span>
          <input
            type="range"
            min={1}
            max={frames}
            value={frame}
            onInput={(event) => setChosen({ uid, frame: Number(event.currentTarget.value) })}
          />
        </label>
      )}
    </figure>
  );
}

const SOP = '1.2.840.10008.5.1.4.1.1.';

/** Structured reports are read as text, encapsulated documents opened by the browser; all else is looked at. */
export function kindOf(instance: DataSet): 'Image' | 'Report' | 'Document' {
  const uid = textOf(instance, 'SOPClassUID');
  if (uid.startsWith(`${SOP}88.`)) return 'Report';
  return uid.startsWith(`${SOP}104.`) ? 'Document' : 'Image';
}

function ReportText({ path }: { readonly path: string }) {
  const { value, error } = useLoaded(
    path,
    async (signal) => (await ask(`${path}/rendered`, { headers: { accept: 'text/plain' }, signal })).text(),
    true,
  );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a long report is scrolled by the keyboard
    <section class="report" tabIndex={0} aria-label="Report" aria-busy={value === undefined && error === undefined}>
      {error ?? value ?? ''}
    </section>
  );
}
