import { href } from '../address.ts';
import type { AuditQuery } from '../api/audit.ts';
import { EVENT_WORDS, OUTCOME_WORDS } from './words.ts';

/** The audit trail as its address tells it: all of it, the newest first, unless it is narrowed down. */
export function readQuery(params: URLSearchParams): AuditQuery {
  const text = (name: string) => params.get(name) ?? '';
  const oneOf = (words: object, name: string) => (Object.hasOwn(words, text(name)) ? text(name) : '');
  const moment = (name: string) => (Number.isNaN(Date.parse(text(name))) ? '' : text(name));
  return {
    from: moment('from'),
    to: moment('to'),
    event: oneOf(EVENT_WORDS, 'event'),
    subject: text('who'),
    study: text('study'),
    outcome: oneOf(OUTCOME_WORDS, 'outcome'),
    oldestFirst: text('order') === 'oldest',
  };
}

export const hrefOf = (query: AuditQuery): string =>
  href('/audit', {
    from: query.from,
    to: query.to,
    event: query.event,
    who: query.subject,
    study: query.study,
    outcome: query.outcome,
    order: query.oldestFirst ? 'oldest' : '',
  });

export const isFiltered = ({ oldestFirst: _, ...filters }: AuditQuery): boolean =>
  Object.values(filters).some((value) => value !== '');
