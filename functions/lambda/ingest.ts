import { awsArchive } from './archive.ts';
import { workJob } from './jobs.ts';
import { storeLanded } from './landed.ts';
import { queueFunction } from './queue-function.ts';

/** Jobs of store transactions, and events of S3. */
export const handler = queueFunction('ingest', awsArchive, (archive, queue, record) =>
  queue === 'ingest' ? storeLanded(archive, record) : workJob(archive, queue, record),
);
