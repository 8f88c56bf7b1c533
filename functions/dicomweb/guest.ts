import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import { watermarkText } from '#core/share-links/guest.ts';
import type { ShareScope } from '#core/share-links/records.ts';
import type { HttpRequest } from './http.ts';
import type { Route } from './router.ts';

/** What a viewer asks for to show a study, and no more of it: frames and rendered images one by one, never an object or a study as files. */
const VIEW = [
  'SearchStudies',
  'SearchSeries',
  'SearchInstances',
  'SearchStudySeries',
  'SearchStudyInstances',
  'SearchSeriesInstances',
  'RetrieveStudyMetadata',
  'RetrieveSeriesMetadata',
  'RetrieveInstanceMetadata',
  'RetrieveFrames',
  'RetrieveBulkdata',
  'RetrieveRenderedInstance',
  'RetrieveRenderedFrames',
  'RetrieveStudyThumbnail',
  'RetrieveSeriesThumbnail',
  'RetrieveInstanceThumbnail',
  'RetrieveFrameThumbnail',
] as const;
/** The objects as received, one by one or as a zip. */
const DOWNLOAD = ['RetrieveStudy', 'RetrieveSeries', 'RetrieveInstance'] as const;
const UPLOAD = ['StoreInstances', 'StoreStudyInstances'] as const;
/** How a link is opened, looked at and closed; the handlers see to it who asks. */
export const GUEST_DOOR = ['LookAtShare', 'OpenShare', 'GetGuestSession', 'CloseGuestSession'] as const;

/** Everything there is below the address of a share link, by route, and the scope it takes. What is not listed does not exist there. */
export const GUEST_ROUTES: ReadonlyMap<string, ShareScope | 'anybody'> = new Map<string, ShareScope | 'anybody'>([
  ...VIEW.map((name) => [name, 'view'] as const),
  ...DOWNLOAD.map((name) => [name, 'download'] as const),
  ...UPLOAD.map((name) => [name, 'upload'] as const),
  ...GUEST_DOOR.map((name) => [name, 'anybody'] as const),
]);
const DOOR: ReadonlySet<string> = new Set(GUEST_DOOR);

/** What viewers read only as whole objects, and lay over the images: segmentations, RT structure sets (PS3.4 Annex B). */
const READ_WHOLE: ReadonlySet<string> = new Set([
  '1.2.840.10008.5.1.4.1.1.66.4',
  '1.2.840.10008.5.1.4.1.1.66.7',
  '1.2.840.10008.5.1.4.1.1.481.3',
]);

const PIXEL_DATA = /^7FE0001[08]|^7FE00009/i;

/**
 * The fence around share links, in front of the policy point: below a link's address there is what the link is for, and nothing of it
 * is anywhere else.
 * @throws PacsError NOT_FOUND; UNAUTHENTICATED without a session; FORBIDDEN beyond the link's scopes
 */
export function admitGuest(
  { name }: Pick<Route, 'name'>,
  { link, principal }: Pick<HttpRequest, 'link' | 'principal'>,
  params: Readonly<Record<string, string>>,
): void {
  if (link === undefined) {
    if (DOOR.has(name) || principal?.guest !== undefined) throw notHere();
    return;
  }
  const scope = GUEST_ROUTES.get(name);
  if (scope === undefined) throw notHere();
  if (scope === 'anybody') return;
  const guest = principal?.guest;
  if (guest === undefined || guest.link !== link)
    throw new PacsError('UNAUTHENTICATED', 'the link has not been opened, or its session is over');
  if (!guest.scopes.includes(scope) && !(name === 'RetrieveInstance' && guest.scopes.includes('view')))
    throw new PacsError('FORBIDDEN', `the link is not for this: ${scope}`, { details: { scope } });
  if (params.study !== undefined && !guest.studies.includes(params.study)) throw notHere();
  if (name === 'RetrieveBulkdata' && PIXEL_DATA.test(params.bulk ?? '') && !guest.scopes.includes('download'))
    throw new PacsError('FORBIDDEN', 'pixel data can be had by frames alone', { details: { scope: 'download' } });
}

const EXPORTS: ReadonlySet<string> = new Set(DOWNLOAD);
/** Whether objects leave as files for somebody outside (PS3.15 A.5.3.5), each time. */
export const isGuestExport = ({ name }: Pick<Route, 'name'>, principal: Principal | undefined): boolean =>
  principal?.guest?.scopes.includes('download') === true && EXPORTS.has(name);

const notHere = (): PacsError => new PacsError('NOT_FOUND', 'there is no such resource');

/**
 * Whether an object may leave as a whole: to who may download, and of what a viewer cannot read otherwise also to who may look.
 * @throws PacsError FORBIDDEN
 */
export function admitObject({ guest }: Principal, { SOPClassUID }: { readonly SOPClassUID: string }): void {
  if (mayLookOnly({ guest }) && !READ_WHOLE.has(SOPClassUID))
    throw new PacsError('FORBIDDEN', 'the link is not for this: download', { details: { scope: 'download' } });
}

/** Who has opened a link to look at its studies, and not to have their objects. */
export const mayLookOnly = ({ guest }: Pick<Principal, 'guest'>): boolean =>
  guest !== undefined && !guest.scopes.includes('download');

/** What guests find on every picture that is drawn for them. */
export const watermarkOf = ({ guest }: Principal, clock: Pick<Clock, 'now'>): { readonly watermark?: string } =>
  guest === undefined ? {} : { watermark: watermarkText(guest, clock.now()) };
