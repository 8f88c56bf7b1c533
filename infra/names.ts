import { Aws } from 'aws-cdk-lib';
import type { Settings } from './settings.ts';

/**
 * Names that are known before anything is deployed, so that stacks of different regions can speak of each other's buckets. Account and
 * region stand in the names of buckets because those are one namespace for everybody.
 */
export class Names {
  readonly prefix: string;
  readonly #account: string;

  constructor(settings: Pick<Settings, 'stage' | 'account'>) {
    this.prefix = `nephos-${settings.stage}`;
    this.#account = settings.account ?? Aws.ACCOUNT_ID;
  }

  bucket(kind: BucketKind, region: string): string {
    return `${this.prefix}-${kind}-${this.#account}-${region}`;
  }
  get table(): string {
    return `${this.prefix}-index`;
  }
  logGroup(of: string): string {
    return `/${this.prefix}/${of}`;
  }
  /** The firewall's service takes log groups with this beginning only. */
  firewallLogGroup(scope: 'CLOUDFRONT' | 'REGIONAL'): string {
    return `aws-waf-logs-${this.prefix}-${scope.toLowerCase()}`;
  }
  /** of CloudFormation: `Nephos-prod-Storage` */
  stack(of: string): string {
    return `Nephos-${this.prefix.slice('nephos-'.length)}-${of}`;
  }
}

/** At most 63 characters with the longest stage and region. */
export type BucketKind = 'archive' | 'landing' | 'site' | 'logs' | 'costs' | 'trail';
