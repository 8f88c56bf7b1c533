import type { Action } from '#core/access.ts';
import {
  retrieveBulkdata,
  retrieveInstanceBulkdata,
  retrieveSeriesBulkdata,
  retrieveSeriesPixelData,
  retrieveStudyBulkdata,
  retrieveStudyPixelData,
} from './bulkdata.ts';
import { capabilities } from './capabilities.ts';
import { checkCommitment, requestCommitment } from './commitment.ts';
import { deleteResource } from './delete.ts';
import type { Handler } from './handler.ts';
import {
  renderFrames,
  renderInstance,
  renderPresented,
  renderSeries,
  renderStudy,
  thumbnailFrames,
  thumbnailInstance,
  thumbnailSeries,
  thumbnailStudy,
} from './rendered.ts';
import { retrieveFrames, retrievePixelData } from './retrieve-frames.ts';
import { retrieveInstance, retrieveSeries, retrieveStudy } from './retrieve-instances.ts';
import { retrieveInstanceMetadata, retrieveSeriesMetadata, retrieveStudyMetadata } from './retrieve-metadata.ts';
import type { Route } from './router.ts';
import { searchInstances, searchSeries, searchStudies } from './search.ts';
import { storeInstances } from './store.ts';
import { wadoUri } from './wado-uri.ts';

const STUDY = '/studies/{study}';
const SERIES = `${STUDY}/series/{series}`;
const INSTANCE = `${SERIES}/instances/{instance}`;
const COMMITMENT = '/commitment-requests/{transaction}';

const row = (method: Route['method'], action: Action, path: string, name: string, handler: Handler): Route => ({
  method,
  action,
  path,
  name,
  handler,
});
const search = (path: string, name: string, handler: Handler) => row('GET', 'search', path, name, handler);
const retrieve = (path: string, name: string, handler: Handler) => row('GET', 'retrieve', path, name, handler);

/** The RESTful services below /dicomweb: PS3.18 §10 Studies Service and Resources, deletion, and §13 Storage Commitment. One row a transaction. */
export const DICOMWEB_ROUTES: readonly Route[] = [
  // Public: it names transactions, not data (PS3.18 §8.9).
  {
    method: 'OPTIONS',
    path: '/',
    action: 'public',
    name: 'RetrieveCapabilities',
    handler: capabilities(() => DICOMWEB_ROUTES),
  },

  row('POST', 'store', '/studies', 'StoreInstances', storeInstances),
  row('POST', 'store', STUDY, 'StoreStudyInstances', storeInstances),

  search('/studies', 'SearchStudies', searchStudies),
  search('/series', 'SearchSeries', searchSeries),
  search('/instances', 'SearchInstances', searchInstances),
  search(`${STUDY}/series`, 'SearchStudySeries', searchSeries),
  search(`${STUDY}/instances`, 'SearchStudyInstances', searchInstances),
  search(`${SERIES}/instances`, 'SearchSeriesInstances', searchInstances),

  retrieve(STUDY, 'RetrieveStudy', retrieveStudy),
  retrieve(SERIES, 'RetrieveSeries', retrieveSeries),
  retrieve(INSTANCE, 'RetrieveInstance', retrieveInstance),
  retrieve(`${STUDY}/metadata`, 'RetrieveStudyMetadata', retrieveStudyMetadata),
  retrieve(`${SERIES}/metadata`, 'RetrieveSeriesMetadata', retrieveSeriesMetadata),
  retrieve(`${INSTANCE}/metadata`, 'RetrieveInstanceMetadata', retrieveInstanceMetadata),
  retrieve(`${INSTANCE}/frames/{frames}`, 'RetrieveFrames', retrieveFrames),

  retrieve(`${STUDY}/bulkdata`, 'RetrieveStudyBulkdata', retrieveStudyBulkdata),
  retrieve(`${SERIES}/bulkdata`, 'RetrieveSeriesBulkdata', retrieveSeriesBulkdata),
  retrieve(`${INSTANCE}/bulkdata`, 'RetrieveInstanceBulkdata', retrieveInstanceBulkdata),
  retrieve(`${INSTANCE}/bulkdata/{bulk*}`, 'RetrieveBulkdata', retrieveBulkdata),
  retrieve(`${STUDY}/pixeldata`, 'RetrieveStudyPixelData', retrieveStudyPixelData),
  retrieve(`${SERIES}/pixeldata`, 'RetrieveSeriesPixelData', retrieveSeriesPixelData),
  retrieve(`${INSTANCE}/pixeldata`, 'RetrievePixelData', retrievePixelData),

  retrieve(`${STUDY}/rendered`, 'RetrieveRenderedStudy', renderStudy),
  retrieve(`${SERIES}/rendered`, 'RetrieveRenderedSeries', renderSeries),
  retrieve(`${INSTANCE}/rendered`, 'RetrieveRenderedInstance', renderInstance),
  retrieve(`${INSTANCE}/frames/{frames}/rendered`, 'RetrieveRenderedFrames', renderFrames),
  retrieve(`${STUDY}/thumbnail`, 'RetrieveStudyThumbnail', thumbnailStudy),
  retrieve(`${SERIES}/thumbnail`, 'RetrieveSeriesThumbnail', thumbnailSeries),
  retrieve(`${INSTANCE}/thumbnail`, 'RetrieveInstanceThumbnail', thumbnailInstance),
  retrieve(`${INSTANCE}/frames/{frames}/thumbnail`, 'RetrieveFrameThumbnail', thumbnailFrames),

  row('DELETE', 'delete', STUDY, 'DeleteStudy', deleteResource),
  row('DELETE', 'delete', SERIES, 'DeleteSeries', deleteResource),
  row('DELETE', 'delete', INSTANCE, 'DeleteInstance', deleteResource),

  row('POST', 'commit', COMMITMENT, 'RequestCommitment', requestCommitment),
  row('GET', 'commit', COMMITMENT, 'CheckCommitment', checkCommitment),
];

/** The URI service at /wado: PS3.18 §9. */
export const WADO_URI_ROUTES: readonly Route[] = [
  retrieve('/', 'RetrieveByUri', wadoUri(renderInstance, renderFrames, renderPresented)),
];
