import { awsArchive } from './archive.ts';
import { workJob } from './jobs.ts';
import { queueFunction } from './queue-function.ts';

export const handler = queueFunction('deidentify', awsArchive, workJob);
