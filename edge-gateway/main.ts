import { settleMemory } from './process-memory.ts';

/** `npm run edge`, and the image's program. Nothing else is loaded before it is known that the process stays. */
// Studies wait here to be sent: whoever else has an account on the machine reads none of them.
process.umask(0o077);
if (process.argv[2] !== 'enrol') settleMemory();
await import('./run.ts');
