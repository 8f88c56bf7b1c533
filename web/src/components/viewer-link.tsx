import type { ComponentChildren } from 'preact';
import { rememberForReturn } from '../router.ts';

/** Slides are read in OHIF's microscopy mode, everything else in its basic one. */
const modeFor = (modalities: readonly string[]) =>
  modalities.length > 0 && modalities.every((one) => one === 'SM') ? '/microscopy' : '/viewer';

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

export function ViewerLink({ study, modalities, label, children, ...rest }: Props) {
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
