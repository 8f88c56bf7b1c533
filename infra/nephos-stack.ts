import { Stack, type StackProps, Tags } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { Names } from './names.ts';
import type { Settings } from './settings.ts';

/** What every stack is told. */
export interface NephosStackProps {
  readonly settings: Settings;
  /** default: the first region */
  readonly region?: string;
  readonly description: string;
  /** holds what cannot be made again: protected from deletion where the settings say so */
  readonly stateful?: boolean;
}

/** A stack of the deployment, named after it and tagged for cost allocation: `nephos:stage`, `nephos:part`. */
export class NephosStack extends Stack {
  readonly settings: Settings;
  readonly names: Names;
  /** first-region stacks have no suffix; `Api` of the second region is `Api2` */
  readonly isSecond: boolean;

  constructor(scope: Construct, part: string, props: NephosStackProps) {
    const { settings } = props;
    const names = new Names(settings);
    const region = props.region ?? settings.region;
    const isSecond = region === settings.secondRegion;
    const tags = { 'nephos:stage': settings.stage, 'nephos:part': part.toLowerCase() };
    super(scope, isSecond ? `${part}2` : part, {
      stackName: names.stack(isSecond ? `${part}2` : part),
      description: `Nephos: ${props.description}`,
      env: { region, ...(settings.account !== undefined && { account: settings.account }) },
      crossRegionReferences: true,
      // Of what the tags below do not reach.
      tags,
      terminationProtection: props.stateful === true && !settings.retention.deletable,
    } satisfies StackProps);
    this.settings = settings;
    this.names = names;
    this.isSecond = isSecond;
    for (const [key, value] of Object.entries(tags)) Tags.of(this).add(key, value);
  }
}
