import { awsArchiveWith } from './archive.ts';
import { authorizerFunction } from './authorizer-function.ts';
import { readOwnSecret } from './read-secret.ts';

export const handler = authorizerFunction(awsArchiveWith(readOwnSecret));
