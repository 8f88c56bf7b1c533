import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { KMSClient, type KMSClientConfig } from '@aws-sdk/client-kms';
import { MedicalImagingClient, type MedicalImagingClientConfig } from '@aws-sdk/client-medical-imaging';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { SecretsManagerClient, type SecretsManagerClientConfig } from '@aws-sdk/client-secrets-manager';
import { SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs';
import { NodeHttpHandler } from '@smithy/node-http-handler';

/**
 * The clients as the adapters want them. Region, credentials and endpoints come from the environment, as everywhere in AWS
 * (AWS_REGION, AWS_ENDPOINT_URL, …). They make one attempt: the adapters repeat (retry.ts).
 */
const ONE_ATTEMPT = { maxAttempts: 1 } as const;

/** Sockets of one client: a study's objects are stored many at a time. */
const SOCKETS = 128;
const CONNECT_MS = 2_000;

const handler = (requestTimeoutMs: number): NodeHttpHandler =>
  new NodeHttpHandler({
    connectionTimeout: CONNECT_MS,
    requestTimeout: requestTimeoutMs,
    throwOnRequestTimeout: true,
    httpAgent: { maxSockets: SOCKETS, keepAlive: true },
    httpsAgent: { maxSockets: SOCKETS, keepAlive: true },
  });

export const dynamoClient = (config: DynamoDBClientConfig = {}): DynamoDBClient =>
  new DynamoDBClient({ ...ONE_ATTEMPT, requestHandler: handler(10_000), ...config });

/** @param config e.g. `forcePathStyle` for engines that know no bucket names in host names */
export const s3Client = (config: S3ClientConfig = {}): S3Client =>
  new S3Client({
    ...ONE_ATTEMPT,
    requestHandler: handler(60_000),
    // Uploads carry a SHA-256 of their own; another sum beside it would only be computed.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...config,
  });

/** A receive waits up to 20 s for messages. */
export const sqsClient = (config: SQSClientConfig = {}): SQSClient =>
  new SQSClient({ ...ONE_ATTEMPT, requestHandler: handler(30_000), ...config });

/** It is asked so rarely that the SDK may repeat by itself. */
export const kmsClient = (config: KMSClientConfig = {}): KMSClient =>
  new KMSClient({ requestHandler: handler(10_000), ...config });
export const secretsClient = (config: SecretsManagerClientConfig = {}): SecretsManagerClient =>
  new SecretsManagerClient({ requestHandler: handler(10_000), ...config });

/** @param config of tests: one host for all kinds of calls */
export const medicalImagingClient = (config: MedicalImagingClientConfig = {}): MedicalImagingClient =>
  new MedicalImagingClient({ ...ONE_ATTEMPT, requestHandler: handler(30_000), ...config });
