import { type App, Aws } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { QueueName } from '#lambda/functions.ts';
import { Names } from './names.ts';
import type { Settings } from './settings.ts';
import { ApiStack } from './stacks/api.ts';
import { IdentityStack } from './stacks/identity.ts';
import { IndexStack } from './stacks/index.ts';
import { KeysStack } from './stacks/keys.ts';
import { QueuesStack } from './stacks/queues.ts';
import { ReplicaKeyStack } from './stacks/replica-key.ts';
import { StorageStack } from './stacks/storage.ts';
import { WorkersStack } from './stacks/workers.ts';

interface Region {
  readonly name: string;
  readonly key: IKey;
  readonly isActive: boolean;
}

/** All stacks of a deployment. */
export class Deployment {
  readonly settings: Settings;
  readonly #app: App;
  readonly #names: Names;

  constructor(app: App, settings: Settings) {
    this.#app = app;
    this.settings = settings;
    this.#names = new Names(settings);
    const keys = new KeysStack(app, { settings });
    const index = new IndexStack(app, { settings, keys });
    const identity = settings.issuer === undefined ? new IdentityStack(app, { settings }) : undefined;
    const first: Region = { name: settings.region, key: keys.key, isActive: settings.writesTo === 'first' };
    const issuer = settings.issuer ?? { url: identity!.issuer, audience: identity!.audience };
    const second = this.#secondKey(keys);
    const stacks = this.#region(first, second && { name: second.name, keyArn: keys.replicaArn(second.name) }, issuer);
    if (second) {
      const other = { name: first.name, keyArn: keys.key.keyArn };
      const copy = this.#region(second, second.isActive ? other : undefined, issuer);
      // A bucket is told to replicate to one that is there; so are the table's replicas encrypted with a key that is there.
      stacks.storage.addStackDependency(copy.storage);
      index.addStackDependency(second.stack);
      copy.api.addStackDependency(index);
      copy.workers.addStackDependency(index);
    }
  }

  #secondKey(keys: KeysStack): (Region & { readonly stack: ReplicaKeyStack }) | undefined {
    const { settings } = this;
    if (settings.secondRegion === undefined) return undefined;
    const stack = new ReplicaKeyStack(this.#app, { settings, region: settings.secondRegion, keys });
    return { name: settings.secondRegion, key: stack.key, isActive: settings.writesTo === 'second', stack };
  }

  /** What every region has: queues, buckets, functions. */
  #region(
    { name: region, key, isActive }: Region,
    replicatesTo: { readonly name: string; readonly keyArn: string } | undefined,
    issuer: { readonly url: string; readonly audience: string },
  ) {
    const { settings } = this;
    const names = this.#names;
    const app = this.#app;
    const queues = new QueuesStack(app, { settings, region });
    const storage = new StorageStack(app, {
      settings,
      region,
      key,
      otherRegion: replicatesTo?.name,
      otherKeyArn: replicatesTo?.keyArn,
      ingest: queues.queues.ingest,
      ingestPolicy: queues.ingestPolicy,
    });
    const compute = {
      settings,
      region,
      key,
      deployed: {
        settings,
        tableName: names.table,
        archiveBucket: storage.archive.bucketName,
        landingBucket: storage.landing.bucketName,
        queueUrl: (queue: QueueName) => queues.queues[queue].queueUrl,
        issuer: issuer.url,
        audience: issuer.audience,
        ownPool: settings.issuer === undefined,
      },
      resources: {
        tableArn: `arn:${Aws.PARTITION}:dynamodb:${region}:${Aws.ACCOUNT_ID}:table/${names.table}`,
        archiveArn: storage.archive.bucketArn,
        landingArn: storage.landing.bucketArn,
        keyArn: key.keyArn,
        region,
        queueArn: (queue: QueueName) => queues.queues[queue].queueArn,
      },
    };
    const api = new ApiStack(app, compute);
    const workers = new WorkersStack(app, { ...compute, queues: queues.queues, active: isActive });
    return { queues, storage, api, workers };
  }
}
