import { useState } from 'preact/hooks';
import { formatBytes, formatDate, formatMoment, plural } from '../dicom/json.ts';
import { Fact } from './door.tsx';
import { closeSession, type GuestSession, type SharedStudy, thumbnailPath, viewerPath, zipPath } from './link.ts';
import { SendFiles } from './send-files.tsx';

/** The open link: its studies, and what may be done with them. */
export function Shared({ session, onClosed }: { session: GuestSession; onClosed: () => void }) {
  const { scopes, studies, purpose, receiver, sharedBy, expiresAt, upload } = session;
  const [leaving, setLeaving] = useState(false);
  const leave = async () => {
    setLeaving(true);
    await closeSession().catch(() => undefined);
    onClosed();
  };
  const views = scopes.includes('view');
  return (
    <>
      <section class="share-card">
        <h1>{views || scopes.includes('download') ? `Images for ${receiver}` : `Images from ${receiver}`}</h1>
        <dl class="share-facts">
          <Fact label={views || scopes.includes('download') ? 'From' : 'To'} value={sharedBy} />
          <Fact label="Purpose" value={purpose} />
          <Fact label="Until" value={formatMoment(expiresAt)} />
        </dl>
        {studies.length > 1 && views && (
          <a class="button primary share-big" href={viewerPath(studies.map((study) => study.StudyInstanceUID))}>
            Open all in the viewer
          </a>
        )}
      </section>
      {(views || scopes.includes('download')) && studies.length === 0 && (
        <p class="share-quiet">There are no images yet.</p>
      )}
      {studies.map((study) => (
        <Study key={study.StudyInstanceUID} study={study} session={session} first={studies.length === 1} />
      ))}
      {upload && <SendFiles isNew={upload.into === 'new'} sharedBy={sharedBy} />}
      <footer class="share-foot">
        <button type="button" class="quiet" disabled={leaving} onClick={() => void leave()}>
          Leave
        </button>
        <span class="hint">After {formatMoment(session.endsAt)} the link has to be opened again.</span>
      </footer>
    </>
  );
}

function Study({ study, session, first }: { study: SharedStudy; session: GuestSession; first: boolean }) {
  const { StudyInstanceUID: uid, PatientName, StudyDate, StudyDescription, ModalitiesInStudy } = study;
  const views = session.scopes.includes('view');
  const name = PatientName.replace(/\^+/g, ' ').trim();
  return (
    <article class="share-card share-study">
      {views && (
        <span class="picture">
          <img src={thumbnailPath(uid)} alt="" width="96" height="96" />
        </span>
      )}
      <div>
        <h2>{StudyDescription || 'Study'}</h2>
        <p>{[name, StudyDate && formatDate(StudyDate)].filter(Boolean).join(' · ')}</p>
        <p class="hint">
          {ModalitiesInStudy.map((modality) => (
            <span key={modality} class="chip">
              {modality}
            </span>
          ))}{' '}
          {plural(study.instances, 'image')} · {formatBytes(study.sizeBytes)}
        </p>
      </div>
      <div class="share-actions">
        {views && (
          <a class={`button share-big${first ? ' primary' : ''}`} href={viewerPath([uid])}>
            Open in the viewer
          </a>
        )}
        {session.scopes.includes('download') && (
          <a class="button share-big" href={zipPath(uid)} download={`${uid}.zip`}>
            Download (zip)
          </a>
        )}
      </div>
    </article>
  );
}
