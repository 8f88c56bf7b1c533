import { PROFILE_ROWS } from '#core/deidentify/actions.ts';
import type { Profile } from '#core/deidentify/profile.ts';
import { PROFILE_EDITION } from '#core/deidentify/profile-table.ts';
import { table } from './markdown.ts';

/** Form of PS3.2 N.8.4.4. */
export function confidentiality(): string {
  const offered: readonly (readonly [string, keyof Profile | undefined, string])[] = [
    ['Basic Profile', undefined, ''],
    ['Clean Pixel Data', 'cleanPixelData', 'rectangles by rule; of ultrasound all but the regions'],
    ['Clean Recognizable Visual Features', undefined, 'not supported'],
    ['Clean Graphics', 'cleanGraphics', 'overlays and curves are removed'],
    ['Clean Structured Content', 'cleanStructuredContent', ''],
    ['Clean Descriptors', 'cleanDescriptors', 'words of a vocabulary'],
    ['Retain Longitudinal Temporal Information with Full Dates', 'dates', '`keep`'],
    ['Retain Longitudinal Temporal Information with Modified Dates', 'dates', '`shift`'],
    ['Retain Patient Characteristics', 'retainPatientCharacteristics', ''],
    ['Retain Device Identity', 'retainDeviceIdentity', ''],
    ['Retain Institution Identity', 'retainInstitutionIdentity', ''],
    ['Retain UIDs', 'retainUIDs', 'on the command line only'],
    ['Retain Safe Private', 'retainSafePrivate', 'Table E.3.10-1'],
  ];
  return `## 9. Attribute confidentiality

De-identifier of the Basic Application Level Confidentiality Profile (PS3.15 Annex E; ${PROFILE_EDITION}, ${PROFILE_ROWS.size} attributes and the private ones); no re-identifier, no Encrypted Attributes Sequence. Attributes of later editions
are removed. Replaced UIDs are the same across all studies of a project, however often they are processed. [docs/deidentification.md](docs/deidentification.md) has the action for each attribute, and what is refused.

${table(
  ['profile or option', 'de-identifier', 'option', ''],
  offered.map(([name, option, note]) => [
    name,
    note === 'not supported' ? 'N' : 'Y',
    option === undefined ? '' : `\`${option}\``,
    note === 'not supported' ? '' : note,
  ]),
)}`;
}
