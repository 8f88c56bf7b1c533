import { confine } from '#core/access/confine.ts';
import { type Action, authorize } from '#core/access.ts';
import { restoreOnRead } from '#core/archive/tiering.ts';
import type { AuditAction, AuditEventName } from '#core/audit/event.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import type { Services } from '#core/services.ts';
import { type Act, admitRequest, recordRequest } from './audit.ts';
import { errorResponse } from './error-response.ts';
import { admitGuest } from './guest.ts';
import type { Handler } from './handler.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { absenceOf } from './not-offered.ts';
import { SAFE_HEADERS } from './safe-headers.ts';

/** One row of a routes table. The policy stands in the row: a route without one does not compile. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS';
  /** segments; `{name}` matches one segment, `{name*}` as the last the rest of the path */
  readonly path: string;
  /** what the principal must be permitted; `public`: anyone, the handler says why */
  readonly action: Action | 'public';
  /** named in metrics, capabilities and documents: `RetrieveInstance` */
  readonly name: string;
  readonly handler: Handler;
  /** what its use is recorded as, where the action alone does not say it (audit.ts) */
  readonly recordedAs?: readonly [AuditEventName, AuditAction];
}

/** parameters that stand for UIDs */
const UID_PARAMETERS = new Set(['study', 'series', 'instance']);

export interface Routed {
  readonly response: HttpResponse;
  /** name of the route that answered, for metrics; undefined when none matched */
  readonly route: string | undefined;
  /** what went wrong, for the log; the response never says more than its code and message */
  readonly error?: PacsError;
}

interface Node {
  readonly children: Map<string, Node>;
  parameter?: { readonly name: string; readonly node: Node };
  rest?: { readonly name: string; readonly routes: Map<string, Route> };
  readonly routes: Map<string, Route>;
}

const newNode = (): Node => ({ children: new Map(), routes: new Map() });

const methodsOf = (routes: ReadonlyMap<string, Route>): string[] => [
  ...new Set([...routes.keys(), ...(routes.has('GET') ? ['HEAD'] : []), 'OPTIONS']),
];

/** A table of routes as one function: match, authorize, run, and turn whatever is thrown into its response. */
export class Router {
  readonly #root = newNode();
  readonly #prefix: string;
  readonly #services: Services;
  readonly #tenant: string;
  readonly routes: readonly Route[];

  /**
   * @param prefix path of the table's root, no trailing slash: `/dicomweb`
   * @param tenant in whose audit trail the requests of nobody are recorded
   */
  constructor(services: Services, prefix: string, routes: readonly Route[], tenant = 'main') {
    this.#services = services;
    this.#tenant = tenant;
    this.#prefix = prefix;
    this.routes = routes;
    for (const route of routes) this.#add(route);
  }

  matches(path: string): boolean {
    return path === this.#prefix || path.startsWith(`${this.#prefix}/`);
  }

  async handle(request: HttpRequest): Promise<Routed> {
    let act: Act | undefined;
    try {
      const methods = this.#methods(request);
      if (methods !== undefined)
        return {
          response: {
            status: 204,
            headers: { ...SAFE_HEADERS, allow: methods.join(', '), 'cache-control': 'no-store' },
          },
          route: undefined,
        };
      const { route, params } = this.#match(request);
      act = { route, request, principal: request.principal, params, facts: {} };
      const response = await this.#perform(act);
      await recordRequest(this.#services, act, response, this.#tenant);
      return { response, route: route.name };
    } catch (thrown) {
      const { response, error } = errorResponse(await this.#answerable(thrown));
      if (act !== undefined) await this.#recordFailure(act, response.status, error);
      return { response, error, route: act?.route.name };
    }
  }

  /** @throws PacsError NOT_FOUND, METHOD_NOT_ALLOWED */
  #match(request: HttpRequest): { readonly route: Route; readonly params: Readonly<Record<string, string>> } {
    const found = this.#find(request.path);
    if (!found) throw new PacsError('NOT_FOUND', absenceOf(request.path.slice(this.#prefix.length), this.#prefix));
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const route = found.routes.get(method);
    if (route) return { route, params: found.params };
    throw new PacsError('METHOD_NOT_ALLOWED', 'the method is not allowed here', {
      details: { allow: methodsOf(found.routes) },
    });
  }

  /**
   * What OPTIONS asks of a path that has no route of its own for it (RFC 9110 §9.3.7): by the table alone, which is published, whatever there
   * is behind it. Below the address of a share link nobody is told what does not exist there.
   */
  #methods({ method, path, link }: HttpRequest): readonly string[] | undefined {
    if (method !== 'OPTIONS' || link !== undefined) return undefined;
    const routes = this.#find(path)?.routes;
    return routes === undefined || routes.has('OPTIONS') ? undefined : methodsOf(routes);
  }

  async #perform({ route, request, params, facts }: Act): Promise<HttpResponse> {
    for (const name of UID_PARAMETERS) {
      const uid = params[name];
      if (uid !== undefined && !isUID(uid)) throw new PacsError('BAD_REQUEST', `the ${name} of the path is not a UID`);
    }
    admitGuest(route, request, params);
    const { study, series, instance } = params;
    const principal =
      route.action === 'public'
        ? (request.principal ?? { tenant: '', subject: 'nobody', roles: ['anonymous' as const] })
        : authorize(request.principal, route.action, {
            ...(study === undefined ? {} : { StudyInstanceUID: study }),
            ...(series === undefined ? {} : { SeriesInstanceUID: series }),
            ...(instance === undefined ? {} : { SOPInstanceUID: instance }),
          });
    admitRequest(this.#services, { route, request });
    const root = request.origin + this.#prefix;
    const services =
      route.action === 'public' ? this.#services : await confine(this.#services, principal, route.action);
    return route.handler({ request, params, services, principal, root, facts });
  }

  /** What failed is answered as it failed, even where the trail cannot be written: nothing was done that must be recorded. */
  async #recordFailure(act: Act, status: number, error: PacsError): Promise<void> {
    await recordRequest(this.#services, act, { status, error }, this.#tenant).catch(() => {});
  }

  /** A read that met objects on slow media has them brought back; whoever asked is told when to come again. */
  async #answerable(thrown: unknown): Promise<unknown> {
    if (!(thrown instanceof PacsError) || thrown.code !== 'ARCHIVED' || thrown.details.key === undefined) return thrown;
    return restoreOnRead(this.#services, thrown).catch((error: unknown) => error);
  }

  #add(route: Route): void {
    let node = this.#root;
    for (const segment of route.path.split('/')) {
      if (segment === '') continue;
      const parameter = /^\{(\w+)(\*?)\}$/.exec(segment);
      if (parameter?.[2]) {
        node.rest ??= { name: parameter[1]!, routes: new Map() };
        node.rest.routes.set(route.method, route);
        return;
      }
      if (parameter) {
        node.parameter ??= { name: parameter[1]!, node: newNode() };
        node = node.parameter.node;
      } else {
        const child = node.children.get(segment) ?? newNode();
        node.children.set(segment, child);
        node = child;
      }
    }
    if (node.routes.has(route.method)) throw new Error(`two routes for ${route.method} ${route.path}`);
    node.routes.set(route.method, route);
  }

  #find(path: string): { routes: ReadonlyMap<string, Route>; params: Record<string, string> } | undefined {
    const params: Record<string, string> = {};
    const segments = path.slice(this.#prefix.length).split('/').slice(1);
    if (segments.at(-1) === '') segments.pop();
    let node = this.#root;
    for (let at = 0; at < segments.length; at++) {
      const segment = segments[at]!;
      const child = node.children.get(segment);
      if (child) node = child;
      else if (node.parameter && segment !== '') {
        params[node.parameter.name] = segment;
        node = node.parameter.node;
      } else if (node.rest) {
        params[node.rest.name] = segments.slice(at).join('/');
        return { routes: node.rest.routes, params };
      } else return undefined;
    }
    return node.routes.size > 0 ? { routes: node.routes, params } : undefined;
  }
}
