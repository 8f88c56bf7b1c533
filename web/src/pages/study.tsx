import { useState } from 'preact/hooks';
import { deleteAt } from '../api/archive.ts';
import { useArchiveEvents } from '../api/events.ts';
import { findSeries, findStudy, seriesPath } from '../api/search.ts';
import { may } from '../api/session.ts';
import { Confirm } from '../components/confirm.tsx';
import { Empty, Failure } from '../components/notice.tsx';
import { Heading, PageTitle, useTitle } from '../components/page-title.tsx';
import { Picture } from '../components/picture.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { isForViewer, ViewerLink } from '../components/viewer-link.tsx';
import {
  type DataSet,
  formatAge,
  formatDate,
  formatSex,
  formatTime,
  nameOf,
  numberOf,
  plural,
  pluralOf,
  textOf,
  textsOf,
} from '../dicom/json.ts';
import { href, navigate } from '../router.ts';
import { DeidentifyForm } from './deidentify-form.tsx';
import { ShareForm } from './share-form.tsx';
import { SeriesPanel } from './study-series.tsx';

const EVENTS = ['InstanceStored', 'Rejected', 'Deleted', 'Restored'] as const;

export function StudyPage({ study, query }: { study: string; query: URLSearchParams }) {
  const { value, error, loading, reload } = useLoaded(study, async (signal) => {
    const [found, series] = await Promise.all([findStudy(study, signal), findSeries(study, signal)]);
    return { found, series: inOrder(series) };
  });
  useArchiveEvents(EVENTS, reload);
  const [asksDeletion, setAsksDeletion] = useState(false);
  const [shares, setShares] = useState(false);
  const [deidentifies, setDeidentifies] = useState(false);
  useTitle('Study');

  if (value === undefined)
    return error ? (
      <Failure message={error} onRetry={reload} />
    ) : (
      <p class="notice" aria-busy={loading}>
        Loading the study…
      </p>
    );
  if (value.found === undefined || value.series.length === 0) {
    return (
      <>
        <PageTitle title="Study" />
        <Empty title="The archive does not hold this study">
          <a href={href('/studies')}>Go to the studies</a>
        </Empty>
      </>
    );
  }
  const wanted = query.get('series');
  const selected = value.series.find((series) => textOf(series, 'SeriesInstanceUID') === wanted) ?? value.series[0]!;
  return (
    <div class="study">
      <PatientHeader
        study={value.found}
        onShare={() => setShares(true)}
        onDeidentify={() => setDeidentifies(true)}
        onDelete={() => setAsksDeletion(true)}
      />
      {error && <Failure message={error} onRetry={reload} />}
      <div class="study-body">
        <SeriesList study={study} series={value.series} selected={selected} />
        <SeriesPanel
          key={textOf(selected, 'SeriesInstanceUID')}
          study={study}
          series={selected}
          query={query}
          onDeleted={reload}
        />
      </div>
      {deidentifies && <DeidentifyForm study={study} onClose={() => setDeidentifies(false)} />}
      {shares && <ShareForm studies={[study]} onClose={() => setShares(false)} />}
      {asksDeletion && (
        <Confirm
          title="Move this study to the trash?"
          action="Move to the trash"
          reasonLabel="Reason"
          dangerous
          onConfirm={async (reason) => {
            await deleteAt(`/dicomweb/studies/${study}`, reason);
            navigate(href('/studies'));
          }}
          onClose={() => setAsksDeletion(false)}
        >
          <p>
            {plural(value.series.length, 'series', 'series')} with{' '}
            {plural(numberOf(value.found, 'NumberOfStudyRelatedInstances') ?? 0, 'image')} will disappear from every
            list. They can be restored from the trash until it is emptied.
          </p>
        </Confirm>
      )}
    </div>
  );
}

/** SeriesNumber, then UID; those without a number last. */
function inOrder(series: readonly DataSet[]): readonly DataSet[] {
  const number = (one: DataSet) => numberOf(one, 'SeriesNumber') ?? Number.POSITIVE_INFINITY;
  return [...series].sort(
    (a, b) =>
      compareNumbers(number(a), number(b)) ||
      textOf(a, 'SeriesInstanceUID').localeCompare(textOf(b, 'SeriesInstanceUID')),
  );
}
const compareNumbers = (a: number, b: number) => (a === b ? 0 : a < b ? -1 : 1);

interface HeaderProps {
  readonly study: DataSet;
  readonly onShare: () => void;
  readonly onDeidentify: () => void;
  readonly onDelete: () => void;
}

function PatientHeader({ study, onShare, onDeidentify, onDelete }: HeaderProps) {
  const uid = textOf(study, 'StudyInstanceUID');
  const name = nameOf(study, 'PatientName');
  const birth = textOf(study, 'PatientBirthDate');
  const referrer = nameOf(study, 'ReferringPhysicianName').main;
  const facts: readonly [string, string][] = [
    ['MRN', textOf(study, 'PatientID')],
    ['Born', birth && formatDate(birth)],
    ['Sex', formatSex(textOf(study, 'PatientSex'))],
    ['Age', formatAge(textOf(study, 'PatientAge'), birth, textOf(study, 'StudyDate'))],
    ['Study date', `${formatDate(textOf(study, 'StudyDate'))} ${formatTime(textOf(study, 'StudyTime'))}`.trim()],
    ['Modality', textsOf(study, 'ModalitiesInStudy').join(', ')],
    ['Accession', textOf(study, 'AccessionNumber')],
    ['Referrer', referrer],
  ];
  const description = textOf(study, 'StudyDescription');
  return (
    <header class="patient-header">
      <div class="patient-name">
        <Heading>
          {name.main || 'No name'}
          {name.other && <span class="other-name"> {name.other}</span>}
        </Heading>
        {description && <p class="study-description">{description}</p>}
      </div>
      <dl class="facts">
        {facts
          .filter(([, value]) => value !== '')
          .map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      <div class="buttons">
        {isForViewer(textsOf(study, 'ModalitiesInStudy')) && (
          <ViewerLink study={uid} modalities={textsOf(study, 'ModalitiesInStudy')} class="button primary">
            Open in viewer
          </ViewerLink>
        )}
        <a class="button" href={`/dicomweb/studies/${uid}?accept=application/zip`} download={`${uid}.zip`}>
          Download
        </a>
        {may('share') && (
          <button type="button" onClick={onShare}>
            Share…
          </button>
        )}
        {may('deidentify') && (
          <button type="button" onClick={onDeidentify}>
            De-identified copy…
          </button>
        )}
        {may('delete') && (
          <button type="button" class="quiet danger" onClick={onDelete}>
            Delete…
          </button>
        )}
      </div>
    </header>
  );
}

function SeriesList({ study, series, selected }: { study: string; series: readonly DataSet[]; selected: DataSet }) {
  return (
    <nav class="series-list" aria-label="Series">
      <ul>
        {series.map((one) => {
          const uid = textOf(one, 'SeriesInstanceUID');
          const count = numberOf(one, 'NumberOfSeriesRelatedInstances') ?? 0;
          const modality = textOf(one, 'Modality');
          return (
            <li key={uid}>
              <a
                href={href(`/study/${study}`, { series: uid })}
                aria-current={one === selected ? 'true' : undefined}
                class="series-card"
              >
                <Picture src={`${seriesPath(study, uid)}/thumbnail`} alt="" fallback={modality || '–'} lazy />
                <span class="series-text">
                  <span class="series-name">{textOf(one, 'SeriesDescription') || 'No description'}</span>
                  <span class="series-facts">
                    <span class="chip">{modality || '?'}</span>{' '}
                    {textOf(one, 'SeriesNumber') && `№ ${textOf(one, 'SeriesNumber')} · `}
                    {pluralOf(count, modality)}
                  </span>
                  {textOf(one, 'BodyPartExamined') && (
                    <span class="series-facts">{textOf(one, 'BodyPartExamined')}</span>
                  )}
                </span>
              </a>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
