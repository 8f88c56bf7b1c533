import { awsArchiveWith } from './archive.ts';
import { httpFunction } from './http-function.ts';
import { readOwnSecret } from './read-secret.ts';

export const handler = httpFunction('admin', awsArchiveWith(readOwnSecret));
