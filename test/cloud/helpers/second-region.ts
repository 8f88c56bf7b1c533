import { UpdateTableCommand } from '@aws-sdk/client-dynamodb';
import { PutBucketReplicationCommand } from '@aws-sdk/client-s3';
import { dynamoClient, s3Client } from '#adapters/aws/clients.ts';
import { SECOND_REGION } from './deployment.ts';
import { ENGINE_IDENTITY, type Engine } from './engines.ts';

/** What the engine leaves out of the templates: the replica of the table in the second region, and the copying of objects from the first bucket to the other. */
export async function replicate(
  { endpoint }: Engine,
  TableName: string,
  [from, to]: readonly [string, string],
): Promise<void> {
  const dynamo = dynamoClient({ ...ENGINE_IDENTITY, endpoint });
  await dynamo.send(new UpdateTableCommand({ TableName, ReplicaUpdates: [{ Create: { RegionName: SECOND_REGION } }] }));
  dynamo.destroy();
  const s3 = s3Client({ ...ENGINE_IDENTITY, endpoint, forcePathStyle: true });
  const rule = {
    ID: 'all',
    Status: 'Enabled',
    Priority: 1,
    Filter: { Prefix: '' },
    DeleteMarkerReplication: { Status: 'Disabled' },
    Destination: { Bucket: `arn:aws:s3:::${to}` },
  } as const;
  const ReplicationConfiguration = { Role: 'arn:aws:iam::000000000000:role/replication', Rules: [rule] };
  await s3.send(new PutBucketReplicationCommand({ Bucket: from, ReplicationConfiguration }));
  s3.destroy();
}
