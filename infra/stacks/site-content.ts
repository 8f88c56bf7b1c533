import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Size } from 'aws-cdk-lib';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import * as deployment from 'aws-cdk-lib/aws-s3-deployment';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { SettingsError } from '../settings.ts';
import { type SiteSource, VIEWER_PAGE, viewerPage } from '../site-files.ts';

/** Puts console and viewer into their bucket, by the function that CDK brings for it. */
export class SiteContentStack extends NephosStack {
  constructor(
    scope: Construct,
    props: Pick<NephosStackProps, 'settings'> & {
      readonly bucket: s3.IBucket;
      readonly sources: readonly SiteSource[];
    },
  ) {
    super(scope, 'SiteContent', { ...props, description: 'the files of console and viewer' });
    const folders = props.sources;
    for (const { folder } of folders) {
      if (!existsSync(join(folder, 'app-config.js')) && !existsSync(join(folder, 'index.html')))
        throw new SettingsError(`${folder} is missing: run npm ci and npm run build:web first`);
    }
    new deployment.BucketDeployment(this, 'Files', {
      destinationBucket: props.bucket,
      sources: [
        ...folders.map(({ folder, leftOut }) => deployment.Source.asset(folder, { exclude: [...leftOut] })),
        deployment.Source.data(VIEWER_PAGE, viewerPage()),
      ],
      // Names of the console's files hold their digests, for which CloudFront adds a longer life (stacks/front.ts).
      cacheControl: [deployment.CacheControl.noCache()],
      prune: true,
      memoryLimit: 1_024,
      ephemeralStorageSize: Size.gibibytes(2),
    });
  }
}
