import type { Limits } from '#core/limits.ts';
import { escapeMarkup } from '#core/markup.ts';
import type { Handler } from './handler.ts';
import { negotiate, type Offer } from './negotiate.ts';
import { REPRESENTATIONS } from './representations.ts';
import type { Route } from './router.ts';
import { transactionsLink } from './transactions-link.ts';

type Listed = Pick<Route, 'method' | 'path' | 'name'>;

/** One resource of the tree of PS3.18 Table H-1. */
interface Resource {
  readonly path: string;
  readonly methods: { readonly name: string; readonly id: string }[];
  readonly children: Map<string, Resource>;
}

const WADL = 'application/vnd.sun.wadl+xml';
const OFFERS: readonly Offer[] = [
  { type: WADL, packaging: 'single', aliases: ['application/xml', 'text/xml', 'application/wadl+xml'] },
  { type: 'application/json', packaging: 'single', aliases: ['application/vnd.sun.wadl+json'] },
];

/**
 * OPTIONS / (PS3.18 §8.9, Annex H): the WADL document of the routes table itself, so that it cannot promise what does not answer.
 * A function, where the table holds this very handler.
 */
export function capabilities(routes: readonly Listed[] | (() => readonly Listed[])): Handler {
  return async ({ request, root, services }) => {
    const tree = treeOf(typeof routes === 'function' ? routes() : routes);
    const { offer, type } = negotiate(request, OFFERS);
    const body = offer.type === WADL ? wadl(root, tree) : JSON.stringify(wadlJson(root, tree, services.limits));
    const link = transactionsLink(request.origin);
    return { status: 200, headers: { 'content-type': type, 'cache-control': 'no-cache', vary: 'accept', link }, body };
  };
}

function treeOf(routes: readonly Listed[]): Resource {
  const top: Resource = { path: '', methods: [], children: new Map() };
  for (const { method, path, name } of routes) {
    let node = top;
    for (const segment of path.split('/')) {
      if (segment === '') continue;
      const known = node.children.get(segment) ?? {
        path: segment.replace('*}', '}'),
        methods: [],
        children: new Map(),
      };
      node.children.set(segment, known);
      node = known;
    }
    // The transaction that retrieves this document is not part of it (Annex H).
    if (method !== 'OPTIONS') node.methods.push({ name: method, id: name });
  }
  return top;
}

function wadl(root: string, tree: Resource): string {
  const resources = [...tree.children.values()].map((child) => resourceXml(child)).join('');
  return (
    '<?xml version="1.0" encoding="UTF-8"?>' +
    `<application xmlns="http://wadl.dev.java.net/2009/02"><resources base="${escapeMarkup(root)}">${resources}</resources></application>`
  );
}

function resourceXml({ path, methods, children }: Resource): string {
  const parameter = /^\{(.+)\}$/.exec(path)?.[1];
  const inner =
    (parameter === undefined ? '' : `<param name="${escapeMarkup(parameter)}" style="template" required="true"/>`) +
    methods.map((method) => methodXml(method)).join('') +
    [...children.values()].map((child) => resourceXml(child)).join('');
  return `<resource path="${escapeMarkup(path)}">${inner}</resource>`;
}

function methodXml({ name, id }: Resource['methods'][number]): string {
  const known = REPRESENTATIONS[id];
  const start = `<method name="${name}" id="${escapeMarkup(id)}"`;
  if (known === undefined) return `${start}/>`;
  const { query = [], request = [], response } = known;
  const parameters = query.map((parameter) => `<param name="${escapeMarkup(parameter)}" style="query"/>`).join('');
  const bodies = (types: readonly string[]): string =>
    types.map((type) => `<representation mediaType="${escapeMarkup(type)}"/>`).join('');
  const asked = parameters + bodies(request);
  const sentIn = asked === '' ? '' : `<request>${asked}</request>`;
  return `${start}>${sentIn}<response>${bodies(response)}</response></method>`;
}

function methodJson({ name, id }: Resource['methods'][number]): unknown {
  const known = REPRESENTATIONS[id];
  if (known === undefined) return { name, id };
  const representation = (types: readonly string[]) => types.map((mediaType) => ({ mediaType }));
  const param = (known.query ?? []).map((parameter) => ({ name: parameter, style: 'query' }));
  return {
    name,
    id,
    request: { param, representation: representation(known.request ?? []) },
    response: [{ representation: representation(known.response) }],
  };
}

/** With `limits`, beyond WADL: what one STOW request may hold, for senders that make up their requests by it. */
function wadlJson(root: string, tree: Resource, { storeRequestBytes, storeInstances }: Limits): unknown {
  const resource = ({ path, methods, children }: Resource): unknown => ({
    path,
    ...(methods.length > 0 && { method: methods.map(methodJson) }),
    ...(children.size > 0 && { resource: [...children.values()].map(resource) }),
  });
  const resources = { base: root, resource: [...tree.children.values()].map(resource) };
  return { application: { resources, limits: { storeRequestBytes, storeInstances } } };
}
