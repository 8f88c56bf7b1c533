import { sweep } from '#core/archive/sweep.ts';
import { awsArchive } from './archive.ts';
import { scheduledFunction } from './scheduled-function.ts';

export const handler = scheduledFunction('sweep', awsArchive, ({ services }, tenant) => sweep(services, tenant));
