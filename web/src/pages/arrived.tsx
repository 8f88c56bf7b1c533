import { useEffect, useState } from 'preact/hooks';
import { beginLaunch, type Display, endLaunch, invokeDisplay, type KeyImage, openLaunched } from '../api/display.ts';
import { ArchiveError } from '../api/http.ts';
import { loadSession } from '../api/session.ts';
import { type Arrival, setArrival } from '../arrival.ts';
import { Failure } from '../components/notice.tsx';
import { Heading } from '../components/page-title.tsx';
import { messageOf } from '../components/use-loaded.ts';
import { viewerAddress } from '../components/viewer-link.tsx';
import { formatDate } from '../dicom/json.ts';

type Shown = Extract<Arrival, { kind: 'display' | 'launched' }>;
type OnTheWay = Exclude<Arrival, Shown>;

export const isOnTheWay = (arrival: Arrival): arrival is OnTheWay =>
  arrival.kind !== 'display' && arrival.kind !== 'launched';

/** To the record system's login, and back from it; nobody need have signed in here. */
export function LaunchPage({ arrival }: { arrival: OnTheWay }) {
  const [error, setError] = useState('');
  useEffect(() => {
    document.title = 'Nephos';
    pass(arrival).catch((failure: unknown) => setError(isOver(failure) ? OVER : messageOf(failure)));
  }, [arrival]);
  return (
    <main class="message">
      <h1>{error === '' && arrival.kind !== 'refused' ? 'One moment…' : 'This cannot be opened'}</h1>
      {error !== '' && <Failure message={error} />}
      {arrival.kind === 'refused' && <p>The record system has not let you through.</p>}
      {(error !== '' || arrival.kind === 'refused') && <Away />}
    </main>
  );
}

const OVER = 'This launch is over, or was begun elsewhere. Start it again in the record system.';
/** Nobody need have signed in: it is the launch that is not known. */
const isOver = (failure: unknown): boolean => failure instanceof ArchiveError && failure.status === 401;

async function pass(arrival: OnTheWay): Promise<void> {
  if (arrival.kind === 'launch') {
    const next = await beginLaunch(arrival.iss, arrival.launch);
    setArrivalQuietly();
    location.assign(next);
  }
  if (arrival.kind !== 'return') return;
  const { id } = await endLaunch(arrival.code, arrival.state);
  // It may have signed somebody in.
  await loadSession();
  setArrival({ kind: 'launched', id });
}

/** The page goes away: nothing is to be drawn any more. */
const setArrivalQuietly = (): void => sessionStorage.removeItem('nephos.arrival');

/** What another program has asked for: the viewer where that is clear, else a choice, or why there is nothing. */
export function ArrivedPage({ arrival }: { arrival: Shown }) {
  const [display, setDisplay] = useState<Display>();
  const [error, setError] = useState('');
  useEffect(() => {
    document.title = 'Studies – Nephos';
    find(arrival)
      .then((found) => {
        if (!found.isExact || found.studies.some(({ keyImages }) => keyImages)) return setDisplay(found);
        setArrivalQuietly();
        location.replace(viewerAddress(found.studies));
      })
      .catch((failure: unknown) => setError(messageOf(failure)));
  }, [arrival]);
  if (error !== '')
    return (
      <section class="message">
        <Heading>This cannot be opened</Heading>
        <Failure message={error} />
        <Away />
      </section>
    );
  if (display === undefined) return <p class="splash">Looking for the studies…</p>;
  const { studies } = display;
  if (studies.length === 0)
    return (
      <section class="message">
        <Heading>There is nothing to show</Heading>
        <p>The archive has no study that was asked for, or your account does not reach it.</p>
        <Away />
      </section>
    );
  if (studies.some(({ keyImages }) => keyImages))
    return <KeyImages studies={studies} isDiagnostic={wantsDiagnosticQuality(arrival)} />;
  return (
    <section class="arrived">
      <Heading>Which study?</Heading>
      <p>
        {studies.length === 1 ? 'One study was found.' : `${studies.length} studies were found, the newest first.`}{' '}
        <a href={viewerAddress(studies)}>Open {studies.length === 1 ? 'it' : 'all of them'}</a>
      </p>
      <ul>
        {studies.map((study) => (
          <li key={study.StudyInstanceUID}>
            <a href={viewerAddress([study])}>
              {formatDate(study.date) || 'without a date'}: {study.description || 'no description'}
            </a>{' '}
            <span class="hint">
              {study.modalities.join(', ')} {study.patientName.replaceAll('^', ' ')}
            </span>
          </li>
        ))}
      </ul>
      <Away />
    </section>
  );
}

/** diagnosticQuality of RAD-106: the viewer has it anyway. */
const wantsDiagnosticQuality = (arrival: Shown): boolean =>
  arrival.kind === 'display' && arrival.parameters.diagnosticQuality === 'true';

/**
 * Nothing but what key objects name, each image or frame as the archive draws it; all others are one click away. For diagnosis without any
 * loss by compression, and with a word of what a picture cannot show.
 */
function KeyImages({ studies, isDiagnostic }: { studies: Display['studies']; isDiagnostic: boolean }) {
  const drawn = isDiagnostic ? '?accept=image/png' : '';
  const images = studies
    .flatMap(({ keyImages = [] }) => keyImages.flatMap(renderedAddresses))
    .map((one) => one + drawn);
  return (
    <section class="arrived">
      <Heading>Key images</Heading>
      <p>
        {images.length === 0
          ? 'No images of this study are marked as key images.'
          : `${images.length} marked as key images.`}{' '}
        <a href={viewerAddress(studies)}>Open all images</a>
      </p>
      {isDiagnostic && images.length > 0 && (
        <p class="hint">
          Drawn without loss in one window of gray levels. The viewer has every level and the pixels as they were sent.
        </p>
      )}
      <ol class="key-images">
        {images.map((address, at) => (
          <li key={address}>
            <img class="key-image" src={address} alt={`${at + 1} of ${images.length}`} loading="lazy" />
          </li>
        ))}
      </ol>
      <Away />
    </section>
  );
}

function renderedAddresses({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, frames }: KeyImage): string[] {
  const instance = `/dicomweb/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
  return frames === undefined
    ? [`${instance}/rendered`]
    : frames.map((frame) => `${instance}/frames/${frame}/rendered`);
}

const find = (arrival: Shown): Promise<Display> =>
  arrival.kind === 'display' ? invokeDisplay(arrival.parameters) : openLaunched(arrival.id);

const Away = () => (
  <p>
    <button type="button" onClick={() => setArrival(undefined)}>
      Go to the studies
    </button>
  </p>
);
