import { type App, Aws } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { QueueName } from '#lambda/functions.ts';
import { acknowledgeFindings } from './acknowledgements.ts';
import { STAGE_NAME } from './constructs/archive-api.ts';
import { Names } from './names.ts';
import type { Firewall, Issuer, Settings } from './settings.ts';
import { type SiteSource, siteSources } from './site-files.ts';
import { ApiStack, type ComputeProps } from './stacks/api.ts';
import { AuditStack } from './stacks/audit.ts';
import { AuditKeyStack } from './stacks/audit-key.ts';
import { BackupStack } from './stacks/backup.ts';
import { CostsStack } from './stacks/costs.ts';
import { ApiFirewallStack, FrontFirewallStack } from './stacks/firewall.ts';
import { type FrontProps, FrontStack } from './stacks/front.ts';
import { HealthChecksStack } from './stacks/health-checks.ts';
import { IdentityStack } from './stacks/identity.ts';
import { ImagingStack } from './stacks/imaging.ts';
import { IndexStack } from './stacks/index.ts';
import { KeysStack } from './stacks/keys.ts';
import { FrontLogsStack, LogsStack } from './stacks/logs.ts';
import { OperationsStack } from './stacks/operations.ts';
import { QueuesStack } from './stacks/queues.ts';
import { ReplicaKeyStack } from './stacks/replica-key.ts';
import { ServiceStack } from './stacks/service.ts';
import { SiteStack } from './stacks/site.ts';
import { SiteContentStack } from './stacks/site-content.ts';
import { StorageStack } from './stacks/storage.ts';
import { WorkersStack } from './stacks/workers.ts';

/** What the functions of a region are reached through, and what else is made of them. */
interface DeployedRegion {
  readonly name: string;
  readonly logs: LogsStack;
  readonly storage: StorageStack;
  readonly api: ApiStack;
  readonly workers: WorkersStack;
  readonly compute: ComputeProps;
}

interface Region {
  readonly name: string;
  readonly key: IKey;
  readonly isActive: boolean;
}

/** A secret as a region has it: a replica differs from what it was made of by its region alone. */
const replicaIn = (region: string, arn: string | undefined): string | undefined =>
  arn?.replace(/^(arn:[\w-]+:secretsmanager:)[\w-]+/, `$1${region}`);

export interface DeploymentOptions {
  /** what the site is made of; default: console and viewer (200 MB), which must have been built. None: the bucket stays empty */
  readonly siteContent?: readonly SiteSource[];
}

/** All stacks of a deployment. */
export class Deployment {
  readonly settings: Settings;
  readonly #app: App;
  readonly #names: Names;

  constructor(app: App, settings: Settings, { siteContent = siteSources() }: DeploymentOptions = {}) {
    this.#app = app;
    this.settings = settings;
    this.#names = new Names(settings);
    const keys = new KeysStack(app, { settings });
    const index = new IndexStack(app, { settings, keys });
    const identity = settings.issuer === undefined ? new IdentityStack(app, { settings }) : undefined;
    const issuer = settings.issuer ?? identity!.issuer;
    const first: Region = { name: settings.region, key: keys.key, isActive: settings.writesTo === 'first' };
    const second = this.#secondKey(keys);
    const replica = second && { name: second.name, keyArn: keys.replicaArn(second.name) };
    const imaging = settings.healthImaging ? new ImagingStack(app, { settings, key: keys.key }) : undefined;
    const home = this.#region(first, replica, issuer, keys, imaging);
    home.api.addStackDependency(index);
    home.workers.addStackDependency(index);
    let copy: DeployedRegion | undefined;
    if (second) {
      const other = { name: first.name, keyArn: second.stack.keyArn(first.name) };
      copy = this.#region(second, second.isActive ? other : undefined, issuer, second.stack);
      // A bucket replicates to one that is there, and the table's replica is encrypted with a key that is there.
      home.storage.addStackDependency(copy.storage);
      index.addStackDependency(second.stack);
      copy.api.addStackDependency(index);
      copy.workers.addStackDependency(index);
    }
    this.#front(home, copy, siteContent);
    if (settings.audit)
      new AuditStack(app, { settings, key: keys.key, archive: home.storage.archive, logs: home.storage.logs });
    if (settings.backup)
      new BackupStack(app, {
        settings,
        backup: settings.backup,
        key: keys.key,
        table: index.table,
        archive: home.storage.archive,
      });
    if (settings.costExport || settings.monthlyBudgetUsd !== undefined) new CostsStack(app, { settings });
    acknowledgeFindings(app, settings);
  }

  /** What stands before the regions: site, CloudFront, firewalls, health checks. */
  #front(home: DeployedRegion, copy: DeployedRegion | undefined, siteContent: readonly SiteSource[]): void {
    const { settings } = this;
    const { firewall } = settings;
    const app = this.#app;
    const site = new SiteStack(app, { settings, logs: home.storage.logs });
    if (siteContent.length > 0) new SiteContentStack(app, { settings, bucket: site.bucket, sources: siteContent });
    const regions = copy === undefined ? [home] : [home, copy];
    if (firewall) {
      for (const { api, logs, name } of regions)
        new ApiFirewallStack(app, { settings, region: name, firewall, api: api.api }).addStackDependency(logs);
    }
    const origins = regions.map(({ api, name }) => ({
      region: name,
      restApiId: api.api.restApiId,
      stageName: STAGE_NAME,
    }));
    if (settings.writesTo === 'second') origins.reverse();
    const [primary, secondary] = origins;
    new FrontStack(app, {
      settings,
      site: site.bucket,
      primary: primary!,
      secondary,
      direct: regions.flatMap(({ name }) =>
        (['archive', 'landing'] as const).map((kind) => `${this.#names.bucket(kind, name)}.s3.${name}.amazonaws.com`),
      ),
      webAclArn: firewall && this.#frontFirewall(firewall),
      service: this.#service(home),
    });
    if (copy !== undefined) new HealthChecksStack(app, { settings, apis: origins });
  }

  /** @returns its ARN */
  #frontFirewall(firewall: Firewall): string {
    const { settings } = this;
    const stack = new FrontFirewallStack(this.#app, { settings, firewall });
    stack.addStackDependency(new FrontLogsStack(this.#app, { settings }));
    return stack.webAclArn;
  }

  /** Undefined where nothing runs, or where changes go elsewhere: then the functions take all requests. */
  #service({ compute, logs, storage }: DeployedRegion): FrontProps['service'] {
    const { settings } = this;
    const { fargate, writesTo } = settings;
    if (fargate === undefined) return undefined;
    const stack = new ServiceStack(this.#app, { ...compute, fargate });
    stack.addStackDependency(storage);
    stack.addStackDependency(logs);
    if (fargate.tasks === 0 || writesTo === 'second') return undefined;
    return { loadBalancer: stack.loadBalancer, name: fargate.name };
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
    issuer: Issuer,
    keys: Pick<KeysStack, 'tenantKeyArns'>,
    /** in the first region alone: a second one reads frames from its own objects */
    imaging?: ImagingStack,
  ): DeployedRegion {
    const { settings } = this;
    const names = this.#names;
    const app = this.#app;
    const queues = new QueuesStack(app, { settings, region });
    const tenantKeyArns = keys.tenantKeyArns(region);
    const otherTenantKeys = replicatesTo && keys.tenantKeyArns(replicatesTo.name);
    const storage = new StorageStack(app, {
      settings,
      region,
      key,
      otherRegion: replicatesTo?.name,
      otherKeyArn: replicatesTo?.keyArn,
      tenantKeys: [...(otherTenantKeys ?? [])].map(([tenant, otherKeyArn]) => ({
        tenant,
        keyArn: tenantKeyArns.get(tenant)!,
        otherKeyArn,
      })),
      ingest: queues.queues.ingest,
      ingestPolicy: queues.ingestPolicy,
    });
    const auditKey = new AuditKeyStack(app, { settings, region });
    const clientSecretArn = replicaIn(region, issuer.clientSecretArn);
    const compute = {
      settings,
      region,
      deployed: {
        settings,
        tableName: names.table,
        archiveBucket: names.bucket('archive', region),
        landingBucket: names.bucket('landing', region),
        inventoryBucket: names.bucket('logs', region),
        imaging: imaging && { datastoreId: imaging.datastoreId, importRoleArn: imaging.importRole.roleArn },
        tenantKeyArns,
        auditKeyArn: auditKey.key.keyArn,
        queueUrl: (queue: QueueName) => queues.queues[queue].queueUrl,
        issuer,
        clientSecretArn,
        ownPool: settings.issuer === undefined,
      },
      resources: {
        tableArn: `arn:${Aws.PARTITION}:dynamodb:${region}:${Aws.ACCOUNT_ID}:table/${names.table}`,
        archiveArn: `arn:${Aws.PARTITION}:s3:::${names.bucket('archive', region)}`,
        landingArn: `arn:${Aws.PARTITION}:s3:::${names.bucket('landing', region)}`,
        inventoryArn: `arn:${Aws.PARTITION}:s3:::${names.bucket('logs', region)}`,
        keyArn: key.keyArn,
        tenantKeyArns: [...tenantKeyArns.values()],
        region,
        imaging: imaging && { datastoreArn: imaging.datastoreArn, importRoleArn: imaging.importRole.roleArn },
        auditKeyArn: auditKey.key.keyArn,
        auditSecretArn: settings.auditRepository?.secretArn,
        routingSecretArn: settings.routing?.credentialsSecretArn,
        clientSecretArn,
        queueArn: (queue: QueueName) => queues.queues[queue].queueArn,
      },
    };
    const api = new ApiStack(app, compute);
    const workers = new WorkersStack(app, { ...compute, queues: queues.queues, active: isActive });
    const logs = new LogsStack(app, { settings, region, key });
    // They are spoken of by name.
    for (const stack of [storage, logs]) {
      api.addStackDependency(stack);
      workers.addStackDependency(stack);
    }
    new OperationsStack(app, {
      settings,
      region,
      key,
      api: api.api,
      functions: { ...api.functions, ...workers.functions },
      queues: queues.queues,
      deadLetters: queues.deadLetters,
      missed: workers.missed,
      archive: storage.archive,
      replicatesTo: replicatesTo?.name,
    });
    return { name: region, logs, storage, api, workers, compute };
  }
}
