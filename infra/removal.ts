import { RemovalPolicy } from 'aws-cdk-lib';
import type { Settings } from './settings.ts';

/** Of what holds data: it goes with its stack only where the settings say so. */
export const removalOf = ({ retention }: Settings): RemovalPolicy =>
  retention.deletable ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
