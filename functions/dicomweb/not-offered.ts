/** Resources of services that PS3.18 has beside those of routes.ts, by the first segment of their path. */
const SERVICES: Readonly<Record<string, string>> = {
  workitems: 'the Worklist Service (UPS-RS, PS3.18 §11)',
  'color-palettes': 'the Non-Patient Instance Service (PS3.18 §12)',
  'defined-procedure-protocols': 'the Non-Patient Instance Service (PS3.18 §12)',
  'hanging-protocols': 'the Non-Patient Instance Service (PS3.18 §12)',
  'implant-templates': 'the Non-Patient Instance Service (PS3.18 §12)',
  inventories: 'the Non-Patient Instance Service (PS3.18 §12)',
  'modality-scheduled-procedure-steps': 'the Modality Scheduled Procedure Step Service (PS3.18 §14)',
  'modality-performed-procedure-steps': 'the Modality Performed Procedure Step Service (PS3.18 §15)',
};

/**
 * What is said of a path that leads nowhere: a client of a service that is not there must not take its absence for that of one workitem.
 * @param path below the root of the services, with a leading slash
 */
export function absenceOf(path: string, root: string): string {
  const service = SERVICES[path.split('/')[1] ?? ''];
  return service === undefined
    ? 'there is no such resource'
    : `${service} is not offered; OPTIONS ${root} says what is`;
}
