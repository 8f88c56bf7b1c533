import { awsArchive } from './archive.ts';
import { workJob } from './jobs.ts';
import { recordMoved } from './moved.ts';
import { queueFunction } from './queue-function.ts';

/** Jobs of the archive, and events of S3. */
export const handler = queueFunction('worker', awsArchive, (archive, queue, record) =>
  queue === 'moved' ? recordMoved(archive, record) : workJob(archive, queue, record),
);
