import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type HeldObject, resolveHeld } from '../api/archive.ts';
import { instancePath, readMetadata } from '../api/search.ts';
import { Confirm } from '../components/confirm.tsx';
import { Failure } from '../components/notice.tsx';
import { Picture } from '../components/picture.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { useKeywords } from '../dicom/dictionary.ts';
import {
  type DataSet,
  formatBytes,
  formatDate,
  formatMoment,
  formatTag,
  nameOf,
  plural,
  textOf,
} from '../dicom/json.ts';
import { compare } from '../dicom/tag-rows.ts';

interface Props {
  readonly held: HeldObject;
  readonly kind: string;
  readonly onResolved: () => void;
}

/** What is held: beside what the archive has under its UID, or by itself where a guest has sent in something new. */
export const Comparison = (props: Props) =>
  props.held.existing.sha256 === '' ? <Newcomer {...props} /> : <Conflict {...props} />;

/** Sent in by a share link, and nothing is here under its UID. */
function Newcomer({ held, kind, onResolved }: Props) {
  const [asks, setAsks] = useState<'discard' | 'replace'>();
  const api = `/api/quarantine/${encodeURIComponent(held.id)}`;
  const { value, error, reload } = useLoaded(held.id, (signal) => readMetadata(`${api}/metadata`, signal));
  return (
    <section class="comparison" aria-labelledby="comparison-title">
      <Title>{kind}</Title>
      <div class="sides">
        <Side
          title="Held"
          path={`${api}/content`}
          picture={`${api}/rendered`}
          set={value}
          sha256={held.sha256}
          sizeBytes={held.sizeBytes}
          moment={held.receivedAt}
        />
      </div>
      {error && <Failure message={error} onRetry={reload} />}
      <div class="buttons">
        <button type="button" onClick={() => setAsks('discard')}>
          Discard…
        </button>
        <button type="button" class="primary" onClick={() => setAsks('replace')}>
          Store…
        </button>
      </div>
      {asks && (
        <Confirm
          title={asks === 'discard' ? 'Discard the held object?' : 'Store the held object?'}
          action={asks === 'discard' ? 'Discard' : 'Store'}
          reasonLabel="Reason"
          dangerous={asks === 'discard'}
          onConfirm={async (reason) => {
            await resolveHeld(held.id, asks, reason);
            onResolved();
          }}
          onClose={() => setAsks(undefined)}
        >
          <p>
            {asks === 'discard'
              ? 'It goes to the trash.'
              : 'It becomes part of the archive under the patient that it names. Check that it is the right one.'}
          </p>
        </Confirm>
      )}
    </section>
  );
}

/** The object in the archive and the one that is held, side by side, with every tag that differs. */
function Conflict({ held, kind, onResolved }: Props) {
  const keywordOf = useKeywords();
  const [asks, setAsks] = useState<'discard' | 'replace'>();
  const path = instancePath(held.existing.StudyInstanceUID, held.existing.SeriesInstanceUID, held.SOPInstanceUID);
  const api = `/api/quarantine/${encodeURIComponent(held.id)}`;
  const { value, error, reload } = useLoaded(held.id, async (signal) => {
    const [existing, incoming] = await Promise.all([
      readMetadata(`${path}/metadata`, signal),
      readMetadata(`${api}/metadata`, signal),
    ]);
    return { existing, incoming, differences: compare(existing, incoming) };
  });
  const differences = value?.differences;
  return (
    <section class="comparison" aria-labelledby="comparison-title">
      <Title>{kind}</Title>
      <div class="sides">
        <Side
          title="In the archive"
          path={`${path}?accept=application/dicom`}
          picture={`${path}/rendered`}
          set={value?.existing}
          sha256={held.existing.sha256}
          sizeBytes={held.existing.sizeBytes}
          moment={held.existing.storedAt}
        />
        <Side
          title="Held"
          path={`${api}/content`}
          picture={`${api}/rendered`}
          set={value?.incoming}
          sha256={held.sha256}
          sizeBytes={held.sizeBytes}
          moment={held.receivedAt}
        />
      </div>
      {error && <Failure message={error} onRetry={reload} />}
      {differences && (
        <>
          <h3>
            {differences.length === 0
              ? 'No tag differs'
              : `${plural(differences.length, 'tag')} ${differences.length === 1 ? 'differs' : 'differ'}`}
          </h3>
          {differences.length === 0 && (
            <p class="hint">
              Their bytes do: in the pixels, the file meta information, or how values are padded and encoded.
            </p>
          )}
          {differences.length > 0 && (
            <div class="table-frame">
              <table class="tag-list differences">
                <thead>
                  <tr>
                    <th scope="col">Tag</th>
                    <th scope="col">Keyword</th>
                    <th scope="col">In the archive</th>
                    <th scope="col">Held</th>
                  </tr>
                </thead>
                <tbody>
                  {differences.map((row) => (
                    <tr key={row.path}>
                      <td class="tag">{formatTag(row.tag)}</td>
                      <td class="keyword">{keywordOf(row.tag)}</td>
                      <td class="value" data-label="In the archive">
                        {row.existing ?? <em>absent</em>}
                      </td>
                      <td class="value" data-label="Held">
                        {row.held ?? <em>absent</em>}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </>
      )}
      <div class="buttons">
        <button type="button" onClick={() => setAsks('discard')}>
          Keep what is in the archive…
        </button>
        <button type="button" class="danger" onClick={() => setAsks('replace')}>
          Replace it with the held one…
        </button>
      </div>
      {asks && (
        <Confirm
          title={asks === 'discard' ? 'Discard the held object?' : 'Replace what is in the archive?'}
          action={asks === 'discard' ? 'Discard' : 'Replace'}
          reasonLabel="Reason"
          dangerous
          onConfirm={async (reason) => {
            await resolveHeld(held.id, asks, reason);
            onResolved();
          }}
          onClose={() => setAsks(undefined)}
        >
          <p>
            {asks === 'discard'
              ? 'Readers see no change.'
              : 'Readers will see the held object. The one it replaces goes to the trash.'}
          </p>
        </Confirm>
      )}
    </section>
  );
}

/** It stands where the list stood: who opened it begins here, by keyboard and by ear. */
function Title({ children }: { children: ComponentChildren }) {
  const title = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    title.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  return (
    <h2 ref={title} id="comparison-title" tabIndex={-1}>
      {children}
    </h2>
  );
}

interface SideProps {
  readonly title: string;
  readonly path: string;
  readonly picture: string;
  /** undefined while it is read */
  readonly set: DataSet | undefined;
  readonly sha256: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly moment: string | number | undefined;
}

function Side({ title, path, picture, set, sha256, sizeBytes, moment }: SideProps) {
  return (
    <div class="side">
      <h3>{title}</h3>
      <Picture src={picture} alt={`The image ${title.toLowerCase()}`} fallback="No picture" />
      <dl class="facts">
        <div>
          <dt>Patient</dt>
          <dd>{set ? patientOf(set) : '…'}</dd>
        </div>
        <div>
          <dt>Study</dt>
          <dd>{set ? studyOf(set) : '…'}</dd>
        </div>
        <div>
          <dt>Received</dt>
          <dd>{moment === undefined ? '–' : formatMoment(moment)}</dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>{sizeBytes === undefined ? '–' : formatBytes(sizeBytes)}</dd>
        </div>
        <div>
          <dt>SHA-256</dt>
          <dd class="uid">{sha256 ?? '–'}</dd>
        </div>
      </dl>
      <a class="button" href={path} download>
        Download
      </a>
    </div>
  );
}

/** Who decides must see whose image it is. */
const patientOf = (set: DataSet): string =>
  inOneLine([nameOf(set, 'PatientName').main, textOf(set, 'PatientID'), formatDate(textOf(set, 'PatientBirthDate'))]);

const studyOf = (set: DataSet): string =>
  inOneLine([formatDate(textOf(set, 'StudyDate')), textOf(set, 'Modality'), textOf(set, 'StudyDescription')]);

const inOneLine = (parts: readonly string[]): string => parts.filter(Boolean).join(' · ') || '–';
