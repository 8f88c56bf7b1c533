import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { madeBy, notArrived } from '#core/procedure/arrival.ts';
import {
  createProcedureStep,
  getProcedureStep,
  listProcedureSteps,
  type ProcedureStep,
  procedureStepsOf,
  type StepOutcome,
  setProcedureStep,
} from '#core/procedure/procedure-step.ts';
import { checkStepReach } from '#core/procedure/reach.ts';
import { checkForm } from '#core/worklist/item.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** bytes of a step as DICOM JSON: one of 20,000 instances has about 4 MB */
const BODY_LIMIT_BYTES = 16 * 1024 * 1024;
/** missing instances that are listed */
const LISTED = 1_000;

/** What is answered of a step in a list. */
const summary = (
  { dataSet: _, createdBy: _digest, applied: _keys, id: _id, ...step }: ProcedureStep,
  made: number,
) => ({
  ...step,
  made,
});

/** Steps, newest first; with `StudyInstanceUID` those of a study. */
const listSteps: Handler = async ({ request, services, principal }) => {
  const study = request.query.get('StudyInstanceUID');
  if (study !== null) {
    const items = await procedureStepsOf(services, principal.tenant, study);
    return json(200, { items: items.map((step) => summary(step, madeBy(step).length)) });
  }
  const after = request.query.get('after') ?? '';
  const limit = wholeNumber(request, 'limit', 50, 500);
  const page = await listProcedureSteps(services, principal.tenant, { limit, ...(after !== '' && { after }) });
  return json(200, { ...page, items: page.items.map((step) => summary(step, madeBy(step).length)) });
};

/** One step with its attributes, and the instances it names that have not arrived. */
const getStep: Handler = async ({ params, services, principal }) => {
  const step = await getProcedureStep(services, principal.tenant, params.instance!);
  const { made, missing } = await notArrived(services, principal.tenant, step);
  return json(200, {
    ...summary(step, made),
    missing: missing.length,
    missingInstances: missing.slice(0, LISTED),
    item: step.dataSet,
  });
};

async function readStep(request: HttpRequest): Promise<DataSet> {
  const given: unknown = await readJson(request, BODY_LIMIT_BYTES);
  checkForm(given);
  return given;
}

function keyOf({ headers }: HttpRequest): string | undefined {
  const key = headers['idempotency-key'];
  if (key !== undefined && !/^[\w.:-]{1,128}$/.test(key))
    throw new PacsError('BAD_REQUEST', 'Idempotency-Key must be 1 to 128 letters, digits or any of . : _ -');
  return key;
}

const answer = ({ step, repeated }: StepOutcome) => json(200, { ...summary(step, madeBy(step).length), repeated });

/** N-CREATE over HTTP: the same content again is the same step. A `source` names the AE title that reported it. */
const createStep: Handler = async ({ request, params, services, principal }) => {
  const given = await readStep(request);
  await checkStepReach(services, principal.tenant, params.instance!, given);
  const message = {
    tenant: principal.tenant,
    source: sourceOf(request, principal.subject),
    key: keyOf(request) ?? 'N-CREATE',
  };
  return answer(await createProcedureStep(services, params.instance!, given, message));
};

/** N-SET over HTTP: with an Idempotency-Key it counts once, however often it comes. */
const setStep: Handler = async ({ request, params, services, principal }) => {
  const given = await readStep(request);
  await checkStepReach(services, principal.tenant, params.instance!);
  const message = { tenant: principal.tenant, source: sourceOf(request, principal.subject), key: keyOf(request) };
  return answer(await setProcedureStep(services, params.instance!, given, message));
};

function sourceOf({ query }: HttpRequest, subject: string): string {
  const source = query.get('source') ?? subject;
  if (!/^[\x20-\x7e]{1,64}$/.test(source)) throw new PacsError('BAD_REQUEST', 'source must be an AE title');
  return source;
}

const STEP = '/procedure-steps/{instance}';
export const PROCEDURE_STEP_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/procedure-steps', action: 'readProcedures', name: 'ListProcedureSteps', handler: listSteps },
  { method: 'GET', path: STEP, action: 'readProcedures', name: 'GetProcedureStep', handler: getStep },
  { method: 'PUT', path: STEP, action: 'performProcedure', name: 'CreateProcedureStep', handler: createStep },
  { method: 'POST', path: STEP, action: 'performProcedure', name: 'SetProcedureStep', handler: setStep },
];
