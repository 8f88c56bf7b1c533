import { createHash, timingSafeEqual } from 'node:crypto';
import { tokenOf } from '#api/session.ts';
import type { Principal } from '#core/access.ts';
import { keys, type StudyRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { asPacsError, describeError, PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { TAG } from '#dimse/services/query.ts';
import type { EdgeContext } from '../context.ts';
import { secretOf } from '../credentials.ts';
import type { WantedInstance } from './fetch-run.ts';
import { readSideOf } from './read-side.ts';
import { remoteInstances } from './select.ts';

const PREFIX = '/dicomweb';
/** A study that was found to be here whole is not asked for again for this long (ms). */
const WHOLE_MS = 60_000;
const REMEMBERED = 1_000;
const GET_RECORDS = 100;
const LOOPBACK = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/;

export const isDicomweb = (path: string): boolean => path === PREFIX || path.startsWith(`${PREFIX}/`);

/**
 * QIDO-RS and WADO-RS for viewers in the hospital, from what is here. Whatever stands below a study is read through: what is missing of it
 * is fetched first, and where upstream does not answer, what is here is served. The search for studies knows only those that are here.
 */
export function viewerDicomweb(context: EdgeContext): (request: HttpRequest) => Promise<HttpResponse> {
  const { services, tenant } = context;
  const routes = DICOMWEB_ROUTES.filter(({ method, action }) => method === 'GET' && action !== 'public');
  const router = new Router(services, PREFIX, routes, tenant);
  const whole = new Map<string, Whole>();
  const { usage } = readSideOf(context);

  return async (request) => {
    admit(context, request);
    const answer = async (): Promise<HttpResponse> =>
      (await router.handle({ ...request, principal: viewerOf(tenant) })).response;
    const path = pathOf(request.path);
    if (path === undefined) return answer();
    const release = usage.use(tenant, path.StudyInstanceUID);
    try {
      await bring(context, whole, path, request.signal ?? new AbortController().signal);
      const response = await answer();
      const { body } = response;
      if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return response;
      return { ...response, body: using(body, () => usage.use(tenant, path.StudyInstanceUID)) };
    } finally {
      release();
    }
  };
}

interface Path {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string | undefined;
  readonly SOPInstanceUID: string | undefined;
}

interface Whole {
  readonly revision: string;
  readonly at: number;
}

const BELOW_STUDY = /^\/dicomweb\/studies\/([0-9.]+)(?:\/series\/([0-9.]+)(?:\/instances\/([0-9.]+))?)?(?:\/|$)/;

function pathOf(path: string): Path | undefined {
  const [, StudyInstanceUID = '', SeriesInstanceUID, SOPInstanceUID] = BELOW_STUDY.exec(path) ?? [];
  if (![StudyInstanceUID, SeriesInstanceUID ?? '1', SOPInstanceUID ?? '1'].every(isUID)) return undefined;
  return { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
}

/** Reads, and no more. */
const viewerOf = (tenant: string): Principal => ({ tenant, subject: 'viewer', roles: ['finder', 'retriever'] });

/** @throws PacsError NOT_FOUND where it is off; UNAUTHENTICATED; METHOD_NOT_ALLOWED */
function admit({ config }: EdgeContext, request: HttpRequest): void {
  const { enabled, token } = config.viewers;
  if (!enabled) throw new PacsError('NOT_FOUND', 'DICOMweb for viewers is off (viewers.enabled)');
  const carried = tokenOf(request);
  const known =
    token === undefined
      ? LOOPBACK.test(request.origin)
      : carried?.from === 'bearer' && isSame(carried.token, secretOf(token));
  if (!known) throw new PacsError('UNAUTHENTICATED', 'authentication is required');
  if (request.method !== 'GET' && request.method !== 'HEAD') throw new PacsError('METHOD_NOT_ALLOWED', 'viewers read');
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
const isSame = (given: string, wanted: string): boolean => timingSafeEqual(digest(given), digest(wanted));

/** Fetches what is missing here of what the path names; as far as upstream answers. */
async function bring(context: EdgeContext, whole: Map<string, Whole>, path: Path, signal: AbortSignal): Promise<void> {
  const { services, tenant, clock, log } = context;
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = path;
  if (series !== undefined && sop !== undefined) {
    if ((await services.index.get(keys.instance(tenant, study, series, sop))) !== undefined) return;
  }
  const id = `${study}|${series ?? ''}`;
  const revision = async (): Promise<string | undefined> => {
    const item = await services.index.get(keys.study(tenant, study));
    return asRecord<StudyRecord>(item)?.revision;
  };
  const known = whole.get(id);
  if (known !== undefined && clock.now() - known.at < WHOLE_MS && known.revision === (await revision())) return;
  const { archive, fetcher } = readSideOf(context);
  if (!archive().isAnswering) return;
  try {
    const level = sop !== undefined ? 'IMAGE' : series !== undefined ? 'SERIES' : 'STUDY';
    const remote = await remoteInstances(archive(), identifierOf(path), level, signal);
    const missing = await notHere(services, tenant, remote);
    const present = new Set(remote.map(({ SOPInstanceUID }) => SOPInstanceUID));
    for (const { SOPInstanceUID } of missing) present.delete(SOPInstanceUID);
    const partly = new Set(remote.flatMap((one) => (present.has(one.SOPInstanceUID) ? [one.SeriesInstanceUID] : [])));
    let failed = 0;
    const isWhole = (uid: string): boolean => sop === undefined && !partly.has(uid);
    for await (const one of fetcher.fetch(tenant, missing, isWhole, signal)) if ('unavailable' in one) failed++;
    const now = await revision();
    if (failed > 0 || sop !== undefined || now === undefined) return;
    if (whole.size >= REMEMBERED) whole.clear();
    whole.set(id, { revision: now, at: clock.now() });
  } catch (error) {
    if (asPacsError(error).code === 'INTERNAL') throw error;
    log.info('read-through-failed', { StudyInstanceUID: study, ...describeError(error) });
  }
}

const identifierOf = ({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID }: Path): DataSet => ({
  [TAG.StudyInstanceUID]: { vr: 'UI', Value: [StudyInstanceUID] },
  ...(SeriesInstanceUID !== undefined && { [TAG.SeriesInstanceUID]: { vr: 'UI', Value: [SeriesInstanceUID] } }),
  ...(SOPInstanceUID !== undefined && { [TAG.SOPInstanceUID]: { vr: 'UI', Value: [SOPInstanceUID] } }),
});

async function notHere(
  { index }: Services,
  tenant: string,
  remote: readonly WantedInstance[],
): Promise<WantedInstance[]> {
  const missing: WantedInstance[] = [];
  for (let at = 0; at < remote.length; at += GET_RECORDS) {
    const some = remote.slice(at, at + GET_RECORDS);
    const claims = await index.getMany(some.map(({ SOPInstanceUID }) => keys.sop(tenant, SOPInstanceUID)));
    missing.push(...some.filter((_, i) => claims[i] === undefined));
  }
  return missing;
}

async function* using(body: AsyncIterable<Uint8Array>, use: () => () => void): AsyncGenerator<Uint8Array> {
  const release = use();
  try {
    yield* body;
  } finally {
    release();
  }
}
