import { SPACES } from '#core/pixels/icc/spaces.ts';
import { DOCUMENT_TYPES } from '#core/pixels/renderable.ts';
import { COMPRESSED_MEDIA_TYPES, OCTET_STREAM } from '#core/retrieve/media-types.ts';

/** What a transaction takes and gives, for the capabilities document (PS3.18 Annex H). */
export interface Representations {
  readonly query?: readonly string[];
  /** media types of what is sent in */
  readonly request?: readonly string[];
  /** media types of what is sent back, where the resource has them; the first is the default */
  readonly response: readonly string[];
}

const multipart = (type: string): string => `multipart/related; type="${type}"`;

const RESULTS = ['application/dicom+json', multipart('application/dicom+xml')];
const OBJECTS = [multipart('application/dicom'), 'application/zip', multipart(OCTET_STREAM)];
const DICOM_TEXT = ['application/dicom+json', 'application/dicom+xml'];
const FRAMES = [multipart(OCTET_STREAM), OCTET_STREAM, ...COMPRESSED_MEDIA_TYPES.map(({ type }) => multipart(type))];
const VIDEOS = COMPRESSED_MEDIA_TYPES.map(({ type }) => type).filter((type) => type.startsWith('video/'));
const PICTURES = ['image/jpeg', 'image/png'];
const SEVERAL_PICTURES = [...PICTURES, ...PICTURES.map(multipart)];

const SEARCH = ['{attributeID}', 'includefield', 'fuzzymatching', 'emptyvaluematching', 'multiplevaluematching'];
const search: Representations = { query: [...SEARCH, 'limit', 'offset', 'orderby', 'accept'], response: RESULTS };
const store: Representations = {
  request: ['application/dicom', 'application/dicom+json', 'application/dicom+xml'].map(multipart),
  response: ['application/dicom+json', 'application/dicom+xml'],
};
const of = (...response: string[]): Representations => ({ query: ['accept'], response });
const rendered = (...response: string[]): Representations => ({
  query: [
    'window',
    'viewport',
    'quality',
    'annotation',
    `iccprofile=no|yes|${Object.keys(SPACES).join('|')}`,
    'accept',
  ],
  response,
});
const thumbnail: Representations = { query: ['viewport', 'accept'], response: PICTURES };
const trashed: Representations = { query: ['reason'], response: [] };

/** By the names of routes.ts. */
export const REPRESENTATIONS: Readonly<Record<string, Representations>> = {
  StoreInstances: store,
  StoreStudyInstances: store,
  SearchStudies: search,
  SearchSeries: search,
  SearchInstances: search,
  SearchStudySeries: search,
  SearchStudyInstances: search,
  SearchSeriesInstances: search,
  RetrieveStudy: of(...OBJECTS),
  RetrieveSeries: of(...OBJECTS),
  RetrieveInstance: of('application/dicom', ...OBJECTS),
  RetrieveStudyMetadata: of(...RESULTS),
  RetrieveSeriesMetadata: of(...RESULTS),
  RetrieveInstanceMetadata: of(...RESULTS, 'application/dicom+xml'),
  RetrieveFrames: of(...FRAMES),
  RetrieveStudyBulkdata: of(multipart(OCTET_STREAM)),
  RetrieveSeriesBulkdata: of(multipart(OCTET_STREAM)),
  RetrieveInstanceBulkdata: of(multipart(OCTET_STREAM)),
  RetrieveBulkdata: of(multipart(OCTET_STREAM), OCTET_STREAM),
  RetrieveStudyPixelData: of(multipart(OCTET_STREAM)),
  RetrieveSeriesPixelData: of(multipart(OCTET_STREAM)),
  RetrievePixelData: of(...FRAMES),
  RetrieveRenderedStudy: rendered(...SEVERAL_PICTURES),
  RetrieveRenderedSeries: rendered(...SEVERAL_PICTURES),
  RetrieveRenderedInstance: rendered(
    ...SEVERAL_PICTURES,
    'image/gif',
    ...VIDEOS,
    ...Object.values(DOCUMENT_TYPES),
    'text/html',
    'text/plain',
  ),
  RetrieveRenderedFrames: rendered(...SEVERAL_PICTURES),
  RetrieveStudyThumbnail: thumbnail,
  RetrieveSeriesThumbnail: thumbnail,
  RetrieveInstanceThumbnail: thumbnail,
  RetrieveFrameThumbnail: thumbnail,
  DeleteStudy: trashed,
  DeleteSeries: trashed,
  DeleteInstance: trashed,
  RequestCommitment: { request: DICOM_TEXT, response: DICOM_TEXT },
  CheckCommitment: { response: DICOM_TEXT },
};
