import { CONDITION_SUBJECTS } from '#core/routing/rules.ts';
import { flag, ifMatch, ifNoneMatch, list, object, paging, type Schema, text, time, whole } from './openapi-schema.ts';

/** What is said of routing in the OpenAPI document. */

const problem = object({
  class: {
    enum: ['unreachable', 'noAnswer', 'credentials', 'busy', 'server', 'address', 'refused', 'configuration', 'local'],
  },
  reason: text,
  at: time,
});
const askedDestination = {
  url: { ...text, description: 'DICOMweb root, on a host that the configuration allows' },
  authentication: { ...text, description: 'name of credentials that the configuration holds' },
  timeoutMs: { ...whole, description: 'how long it may be silent' },
  enabled: flag,
};
const kept = {
  name: text,
  version: { ...whole, description: 'also the ETag; give it in If-Match' },
  changedAt: time,
  changedBy: text,
};
const destination = { ...askedDestination, ...kept };
const shown = { ...destination, waiting: whole, held: whole, oldestAt: time, sentAt: time, problem, retryAt: time };
const patterns = list({ ...text, description: '`*` stands for any characters; case does not matter' });
const condition: Schema = {
  type: 'object',
  description: 'holds when every member does; of a list one pattern must match one value',
  properties: {
    ...Object.fromEntries(CONDITION_SUBJECTS.map((name) => [name, patterns])),
    all: list({ type: 'object' }),
    any: list({ type: 'object' }),
    not: { type: 'object' },
  },
  additionalProperties: false,
};
const askedRule = {
  enabled: flag,
  order: whole,
  when: { enum: ['stored', 'quiet'] },
  scope: { enum: ['instances', 'study'] },
  condition,
  destinations: list(text),
  final: { ...flag, description: 'what it matches is not shown to the rules behind it' },
};
const rule = { ...askedRule, ...kept, since: { ...time, description: 'it speaks of what is stored from then on' } };
const delivery = {
  version: whole,
  StudyInstanceUID: text,
  destination: text,
  state: { enum: ['waiting', 'held', 'done'] },
  since: time,
  dueAt: { ...time, description: 'it is tried then; while somebody is at it: until when he has it' },
  leased: { const: true },
  failures: whole,
  waiting: whole,
  sent: whole,
  held: whole,
  discarded: whole,
  problem,
  rules: list(text),
};
const delivered = {
  version: whole,
  SeriesInstanceUID: text,
  SOPInstanceUID: text,
  sha256: text,
  state: { enum: ['waiting', 'sent', 'held', 'discarded'] },
  queuedAt: time,
  refusals: whole,
  reason: text,
  at: time,
};
export const ROUTING_OPERATIONS = {
  GetRouting: {
    summary: 'Hosts that may be sent to, destinations with what waits for them, and rules in their order',
    response: {
      schema: object({
        hosts: list(text),
        destinations: list(object(shown, ['authentication', 'oldestAt', 'sentAt', 'problem', 'retryAt'])),
        rules: list(object(rule, ['condition'])),
      }),
    },
  },
  PutDestination: {
    summary: 'Makes a destination or replaces it',
    headers: [ifMatch, ifNoneMatch],
    requestBody: object(askedDestination, ['authentication', 'timeoutMs', 'enabled']),
    response: { schema: object(destination, ['authentication']) },
  },
  RetryDestination: {
    summary: 'Tries at once what waits for a destination',
    response: { schema: object({ deliveries: whole }) },
  },
  DeleteDestination: {
    summary: 'Removes a destination that no rule names; what waits for it is held',
    headers: [ifMatch],
  },
  PutRule: {
    summary: 'Makes a rule or replaces it. It applies to what is stored from then on',
    headers: [ifMatch, ifNoneMatch],
    requestBody: object(askedRule, ['enabled', 'order', 'scope', 'condition', 'final']),
    response: { schema: object(rule, ['condition']) },
  },
  DeleteRule: { summary: 'Removes a rule; what it has sent on its way goes on', headers: [ifMatch] },
  TestRules: {
    summary: 'Which rules match a study that is here, or whether one does that is not kept yet. Nothing is sent',
    requestBody: object({ study: text, rule: object(askedRule, ['enabled', 'order', 'scope', 'condition', 'final']) }, [
      'rule',
    ]),
    response: {
      schema: object({
        instances: { ...whole, description: 'instances that were looked at' },
        whole: { ...flag, description: 'false: the study has more of them' },
        rules: list(
          object({
            name: text,
            enabled: flag,
            when: askedRule.when,
            destinations: list(text),
            matched: { ...whole, description: 'instances that it would send' },
          }),
        ),
      }),
    },
  },
  ListDeliveries: {
    summary: 'Studies on their way to destinations: those that wait, or are held for a person; or all of one study',
    parameters: [
      ...paging,
      { name: 'state', description: 'waiting or held', schema: { enum: ['waiting', 'held'] } },
      { name: 'study', description: 'StudyInstanceUID: wherever it has been sent', schema: text },
    ],
    response: {
      schema: object({ items: list(object(delivery, ['leased', 'problem'])), next: text }, ['next']),
    },
  },
  GetDeliveredInstances: {
    summary: 'What has become of each instance of a study on its way to a destination, and why',
    parameters: paging,
    response: { schema: object({ items: list(object(delivered, ['reason'])), next: text }, ['next']) },
  },
  DecideDelivery: {
    summary: 'Tries what is held or waits once more, gives it up, or sends all of the study, sent before or not',
    requestBody: object({ action: { enum: ['retry', 'discard', 'send'] } }),
    response: { schema: object(delivery, ['leased', 'problem']) },
  },
};
