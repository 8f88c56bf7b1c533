import { Aws, CfnOutput } from 'aws-cdk-lib';
import * as healthimaging from 'aws-cdk-lib/aws-healthimaging';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { LANDING_BUCKET } from '#adapters/aws/schema.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';

/** A data store of AWS HealthImaging for studies that a placement policy imports, and the role under which it reads them. */
export class ImagingStack extends NephosStack {
  readonly datastoreId: string;
  readonly datastoreArn: string;
  readonly importRole: iam.Role;

  /** `key`: of the landing bucket */
  constructor(scope: Construct, { key, ...props }: Pick<NephosStackProps, 'settings'> & { readonly key: kms.IKey }) {
    super(scope, 'Imaging', { ...props, description: 'the data store of HealthImaging', stateful: true });
    const datastore = new healthimaging.CfnDatastore(this, 'Datastore', {
      datastoreName: this.names.prefix,
      kmsKeyArn: this.#key().keyArn,
    });
    datastore.applyRemovalPolicy(removalOf(this.settings));
    this.datastoreId = datastore.attrDatastoreId;
    this.datastoreArn = datastore.attrDatastoreArn;
    // Objects are copied there to be imported: an import takes in whatever lies under its prefix.
    const landingArn = `arn:${Aws.PARTITION}:s3:::${this.names.bucket('landing', this.region)}`;
    const staged = `${landingArn}/${LANDING_BUCKET.imagingPrefix}*`;
    this.importRole = new iam.Role(this, 'ImportRole', {
      assumedBy: new iam.ServicePrincipal('medical-imaging.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': this.account } },
      }),
      description: 'reads the objects of a study that is imported',
    });
    this.importRole.addToPolicy(
      new iam.PolicyStatement({ sid: 'Staged', actions: ['s3:GetObject', 's3:PutObject'], resources: [staged] }),
    );
    this.importRole.addToPolicy(
      new iam.PolicyStatement({ sid: 'Keys', actions: ['s3:ListBucket'], resources: [landingArn] }),
    );
    this.importRole.addToPolicy(
      new iam.PolicyStatement({ sid: 'Key', actions: ['kms:Decrypt', 'kms:GenerateDataKey'], resources: [key.keyArn] }),
    );
    new CfnOutput(this, 'DatastoreId', { value: this.datastoreId });
    new CfnOutput(this, 'ImportRoleArn', { value: this.importRole.roleArn });
  }

  /** Not the deployment's, which is a multi-region key: HealthImaging takes ids of 36 hexadecimal digits and dashes, and those begin with `mrk-`. */
  #key(): kms.Key {
    const own = new kms.Key(this, 'Key', {
      description: 'Nephos: the data store of HealthImaging',
      enableKeyRotation: true,
      removalPolicy: removalOf(this.settings),
    });
    own.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'Datastore',
        principals: [new iam.ServicePrincipal('medical-imaging.amazonaws.com')],
        actions: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext'],
        resources: ['*'],
        // Of data stores alone; which one is not known before the key is.
        conditions: { StringLike: { 'kms:EncryptionContext:aws:medical-imaging:datastoreId': '*' } },
      }),
    );
    return own;
  }
}
