import { useState } from 'preact/hooks';
import { instancePath } from '../api/search.ts';
import { Picture } from '../components/picture.tsx';
import { type DataSet, numberOf, textOf } from '../dicom/json.ts';

interface Props {
  readonly study: string;
  readonly series: string;
  readonly instance: DataSet;
  /** -1: the image before, 1: the one after */
  readonly onStep: (step: number) => void;
}

/** A look at one image, rendered by the archive. It is for finding the right one, not for reading: that is the viewer's. */
export function InstancePreview({ study, series, instance, onStep }: Props) {
  const uid = textOf(instance, 'SOPInstanceUID');
  const frames = numberOf(instance, 'NumberOfFrames') ?? 1;
  const [chosen, setChosen] = useState({ uid, frame: 1 });
  const frame = chosen.uid === uid ? chosen.frame : 1;
  const path = instancePath(study, series, uid);
  const label = `Image ${textOf(instance, 'InstanceNumber') || ''}${frames > 1 ? `, frame ${frame} of ${frames}` : ''}`;
  return (
    <figure class="preview">
      <Picture
        src={frames > 1 ? `${path}/frames/${frame}/rendered` : `${path}/rendered`}
        alt={label}
        fallback="This object has no picture. Its tags tell what it holds."
      />
      <figcaption>
        <button type="button" onClick={() => onStep(-1)} aria-label="Image before">
          ‹
        </button>
        <span>{label}</span>
        <button type="button" onClick={() => onStep(1)} aria-label="Image after">
          ›
        </button>
      </figcaption>
      {frames > 1 && (
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
