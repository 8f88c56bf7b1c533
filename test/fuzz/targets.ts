import type { Target } from './target.ts';
import { dicom } from './targets/dicom.ts';
import { dimse } from './targets/dimse.ts';
import { http } from './targets/http.ts';
import { json } from './targets/json.ts';
import { multipart } from './targets/multipart.ts';
import { pdu } from './targets/pdu.ts';
import { query } from './targets/query.ts';

const TARGETS: readonly Target[] = [http, multipart, pdu, dimse, dicom, json, query];

export const TARGET_NAMES: readonly string[] = TARGETS.map(({ name }) => name);

export function targetNamed(name: string): Target {
  const target = TARGETS.find((one) => one.name === name);
  if (target === undefined) throw new Error(`there is no target ${name}: there are ${TARGET_NAMES.join(', ')}`);
  return target;
}
