import { type DamagedObject, getVerification, listDamaged, type Verification } from '../api/verification.ts';
import { PagedTable } from '../components/list-table.tsx';
import { Empty } from '../components/notice.tsx';
import { PageTitle } from '../components/page-title.tsx';
import { useLoaded } from '../components/use-loaded.ts';
import { usePages } from '../components/use-pages.ts';
import { Whose, whoseInWords } from '../components/whose.tsx';
import { formatBytes, formatMoment, plural } from '../dicom/json.ts';
import { href } from '../router.ts';

const PROBLEMS: Record<DamagedObject['problem'], string> = {
  missing: 'Its file is missing',
  altered: 'Its bytes are not those that arrived',
  unreadable: 'Its file cannot be read',
};

/** Which images the disk has spoiled, and when they were looked at. */
export function IntegrityPage() {
  const { value } = useLoaded('verification', getVerification);
  const pages = usePages(listDamaged);
  return (
    <div class="integrity">
      <PageTitle title="Integrity">
        <p class="count">
          The archive compares each image, again and again, with the checksum it had when it arrived.{' '}
          {value && passInWords(value)}
        </p>
      </PageTitle>
      {value !== undefined && value.damaged > 0 && (
        <div class="notice failure" role="alert">
          <p class="notice-title">{plural(value.damaged, 'image')} damaged</p>
          <p>
            Send the same images again, or import them: their bytes take the place of the spoiled ones at once. Or put
            the files back from a backup that is older than the damage, but not older than the image; the next pass, or{' '}
            <code>npm run nephos -- verify</code>, says whether they are sound.
          </p>
        </div>
      )}
      <PagedTable
        pages={pages}
        name="Damaged images"
        columns={['What', 'Problem', 'Found']}
        empty={<Empty title="No image is known to be damaged" />}
        row={(one) => (
          <tr key={one.blobKey}>
            <td>
              <Whose set={one.attributes} />
              <span class="uid">{one.blobKey}</span>
            </td>
            <td data-label="Problem">{PROBLEMS[one.problem]}</td>
            <td data-label="Found">{formatMoment(one.foundAt)}</td>
            <td class="actions">
              <a
                class="button quiet"
                href={href(`/study/${one.StudyInstanceUID}`)}
                aria-label={`Study of ${whoseInWords(one.attributes, one.SOPInstanceUID)}`}
              >
                Study
              </a>
            </td>
          </tr>
        )}
      />
    </div>
  );
}

function passInWords({ pass }: Verification): string {
  if (pass === undefined)
    return 'None has been looked at yet: on one machine that begins soon after the start; on AWS the storage does it by itself.';
  const read = `${plural(pass.objects, 'image')} (${formatBytes(pass.bytes)}) read`;
  return pass.endedAt === undefined
    ? `Under way since ${formatMoment(pass.startedAt)}: ${read} so far.`
    : `Last done on ${formatMoment(pass.endedAt)}: ${read}.`;
}
