// One file, so that each deployment is synthesized once: what stands in the templates that CloudFormation gets.
import './templates/patience.ts';
import './templates/grants.ts';
import './templates/operations.ts';
import './templates/service.ts';
import './templates/stateful.ts';
import './templates/stateless.ts';
import './templates/tenants.ts';
