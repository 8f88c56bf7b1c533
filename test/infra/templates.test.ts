// One file, so that each deployment is synthesized once: what stands in the templates that CloudFormation gets.
import { vi } from 'vitest';

// The first test of a deployment waits for it to be synthesized, on a machine that may have other work.
vi.setConfig({ testTimeout: 600_000 });

import './templates/grants.ts';
import './templates/operations.ts';
import './templates/service.ts';
import './templates/stateful.ts';
import './templates/stateless.ts';
import './templates/tenants.ts';
