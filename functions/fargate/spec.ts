import type { Grants } from '#lambda/functions.ts';
import { ARCHIVE } from '#lambda/index-grants.ts';

/**
 * The optional service: what it answers through CloudFront, and what it may touch. Pure constants; infra builds the stack from them. The
 * grants are those of the functions `store` and `retrieve`, whose requests it takes over, and of the authorizer.
 */
export const SERVICE = {
  purpose: 'STOW-RS of any size and whole studies and series in one answer',
  /** of HTTP within the VPC */
  port: 8080,
  /** before what still runs is cut off, once the service has been told to end (s); the most that Fargate gives */
  stopSeconds: 120,
  grants: {
    index: [ARCHIVE],
    archive: ['read', 'write', 'delete'],
    landing: [],
    sends: ['study-quiet', 'finish-removal', 'restore'],
    // No authorizer stands before it.
    signsIn: true,
  } satisfies Grants,
} as const;

const STUDY = '/dicomweb/studies/[^/]+';

/** Requests that CloudFront sends to the service in place of the functions: by method, patterns of paths. */
export const SERVICE_REQUESTS: Readonly<Record<'GET' | 'HEAD' | 'POST', string>> = {
  GET: `^${STUDY}(/series/[^/]+)?/?$`,
  HEAD: `^${STUDY}(/series/[^/]+)?/?$`,
  POST: `^/dicomweb/studies(/[^/]+)?/?$`,
};
