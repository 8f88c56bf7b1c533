import { standIn } from '#test/fixtures/stand-in.ts';
import '#test/fixtures/quiet-powertools.ts';
import type { APIGatewayProxyResult, SQSBatchResponse } from 'aws-lambda';
import { expect } from 'vitest';
import type { ImagingLimits } from '#adapters/aws/health-imaging/options.ts';
import { encodeMessage } from '#adapters/aws/sqs-message.ts';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import { PLACEMENT } from '#core/ports/frame-placement.ts';
import type { EncodedFrame, PixelEngine } from '#core/ports/pixel-engine.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { workJob } from '#lambda/jobs.ts';
import { queueFunction } from '#lambda/queue-function.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import { invocable, lambdaContext, proxyEvent } from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { imagingBeside } from './imaging-beside.ts';

const HTJ2K = '1.2.840.10008.1.2.4.201';

/** The functions of a deployment with HealthImaging: what the worker is sent, it works off; readers ask `retrieve`. */
export async function deployed(env: Record<string, string> = {}, limits: Partial<ImagingLimits> = {}) {
  const pixels = standIn<PixelEngine>({
    transcode: async () => standIn<EncodedFrame>({ codestream: Buffer.from('made here'), transferSyntaxUID: HTJ2K }),
  });
  const memory = memoryServices({ pixels });
  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANT, NEPHOS_LIMIT_PLACEMENT_LEAST_BYTES: '1', ...env }, false);
  const { fake, landing, placement, close } = await imagingBeside(memory, limits, config.limits);
  const { clock } = memory;
  const archive = cloudArchive(config, { ...memory, placement, landing }, false);
  const worker = invocable<SQSBatchResponse>(queueFunction('worker', () => archiveOf('worker', archive), workJob));
  const retrieve = invocable<APIGatewayProxyResult>(httpFunction('retrieve', () => archiveOf('retrieve', archive)));

  /** A quarter of an hour: what lies in the queues comes to the worker, time and again. */
  const workOff = async (): Promise<void> => {
    for (let round = 0; round < 15; round++) {
      clock.advance(60_000);
      for (const queue of [STUDY_QUIET, PLACEMENT]) {
        for (const job of await memory.jobs.receive(queue, { max: 10, visibilityMs: 60_000 })) {
          const record = {
            messageId: job.id,
            body: encodeMessage({ payload: job.payload }),
            attributes: { ApproximateReceiveCount: '1' },
            eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:nephos-prod-${queue}`,
          };
          expect(await worker({ Records: [record] }, lambdaContext())).toEqual({ batchItemFailures: [] });
          await memory.jobs.complete(queue, job);
        }
      }
    }
  };
  /** A GET of what stands below the DICOMweb root. */
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const event = proxyEvent({
      method: 'GET',
      url: new URL(`/dicomweb${path}`, 'https://pacs.test'),
      headers,
      authorizer: { tenant: TENANT, subject: 'test', roles: 'retriever' },
    } as never);
    const {
      statusCode: status,
      body,
      isBase64Encoded,
      headers: answered = {},
    } = await retrieve(event, lambdaContext());
    return { status, headers: answered, body: Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8') };
  };
  const frame = async (number: number): Promise<string> => {
    const accept = `multipart/related; type="image/jphc"; transfer-syntax=${HTJ2K}`;
    const { status, body } = await get(`/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}/frames/${number}`, {
      accept,
    });
    expect(status, body.toString()).toBe(200);
    return body.toString();
  };
  const send = async (Modality: string): Promise<void> => {
    const bytes = buildDicom({ Modality, NumberOfFrames: 2 }, { frames: [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] });
    expect((await store(archive.services, bytes)).kind).toBe('stored');
  };
  return { fake, archive, memory, workOff, get, frame, send, close };
}
