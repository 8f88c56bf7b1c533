import { awsArchive } from './archive.ts';
import { queueFunction } from './queue-function.ts';
import { routeWork } from './route-work.ts';

export const handler = queueFunction('route', awsArchive, routeWork);
