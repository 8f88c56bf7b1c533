import { awsArchive } from './archive.ts';
import { authorizerFunction } from './authorizer-function.ts';

export const handler = authorizerFunction(awsArchive);
