import type { Principal } from '#core/access.ts';
import type { ErrorCode } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

/** What a transaction gets: routes.ts has matched the path and authorized the principal before it is called. */
export interface Context {
  readonly request: HttpRequest;
  /** path parameters, decoded; UIDs already checked for form: `study`, `series`, `instance`, `frames`, `bulk`, `id` */
  readonly params: Readonly<Record<string, string>>;
  readonly services: Services;
  readonly principal: Principal;
  /** absolute DICOMweb root as the client sees it, no trailing slash: `http://127.0.0.1:8080/dicomweb` */
  readonly root: string;
  /** what the transaction tells the audit trail beside what request and path say */
  readonly facts: AuditFacts;
}

export interface AuditFacts {
  /** StudyInstanceUIDs, where the path does not name the study */
  studies?: readonly string[];
  instances?: number;
  /** whom studies were given to: `link:…` */
  destination?: string;
  /** what the person said when asked why */
  purpose?: string;
  /** the person or machine that is changed, where it is another than the caller */
  about?: string;
  /** what went wrong, where a person is answered by a page or sent on all the same */
  error?: ErrorCode;
  /** who the caller turned out to be, where that is what the transaction finds out */
  principal?: Principal;
}

export type Handler = (context: Context) => Promise<HttpResponse>;
