import { vi } from 'vitest';

// The first test of a deployment waits for it to be synthesized, on a machine that may have other work. A test has the time that is set when
// it is declared: what declares them is imported behind this.
vi.setConfig({ testTimeout: 600_000 });
