import { awsArchive } from './archive.ts';
import { httpFunction } from './http-function.ts';

export const handler = httpFunction('events', awsArchive);
