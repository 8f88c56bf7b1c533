import type { ComponentChildren } from 'preact';
import { href, rememberForReturn } from '../router.ts';

/** Slides are read in OHIF's microscopy mode, everything else in its basic one. */
const modeFor = (modalities: readonly string[]) =>
  modalities.length > 0 && modalities.every((one) => one === 'SM') ? '/microscopy' : '/viewer';

/** What the viewer draws nothing of by itself: reports, references and states. */
const WITHOUT_PICTURE = ['FID', 'KO', 'PLAN', 'PR', 'REG', 'RTPLAN', 'RTRECORD', 'RWV', 'SR'];

/** Whether the viewer has something to show; of a study that nothing is known of it may have. */
export const isForViewer = (modalities: readonly string[]): boolean =>
  modalities.length === 0 || !modalities.every((one) => WITHOUT_PICTURE.includes(one));

/** Of several studies at once. */
export const viewerAddress = (
  studies: readonly { readonly StudyInstanceUID: string; readonly modalities: readonly string[] }[],
): string =>
  `${modeFor(studies.flatMap(({ modalities }) => modalities))}?StudyInstanceUIDs=${studies.map((one) => one.StudyInstanceUID).join(',')}`;

interface Props {
  readonly study: string;
  readonly modalities: readonly string[];
  readonly class?: string;
  readonly label?: string;
  readonly children: ComponentChildren;
}

/** To the viewer; of a study of reports alone to its page, which reads them. */
export function ViewerLink({ study, modalities, label, children, ...rest }: Props) {
  if (!isForViewer(modalities))
    return (
      <a class={rest.class} href={href(`/study/${study}`)} aria-label={label}>
        {children}
      </a>
    );
  return (
    <a
      class={rest.class}
      href={`${modeFor(modalities)}?StudyInstanceUIDs=${study}`}
      aria-label={label}
      onClick={rememberForReturn}
    >
      {children}
    </a>
  );
}
