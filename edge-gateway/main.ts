import { settleMemory } from './process-memory.ts';

/** `npm run edge`, and the image's program. Nothing else is loaded before it is known that the process stays. */
if (process.argv[2] !== 'enrol') settleMemory();
await import('./run.ts');
