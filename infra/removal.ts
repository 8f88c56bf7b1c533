import { RemovalPolicy } from 'aws-cdk-lib';
import type { Settings } from './settings.ts';

/**
 * Of what holds data: it goes with its stack only where the settings say so. What a deployment made that failed goes at once: it is empty, and
 * would be in the way of the next one, which wants the same names.
 */
export const removalOf = ({ retention }: Settings): RemovalPolicy =>
  retention.deletable ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE;
