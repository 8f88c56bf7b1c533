import { ENTRY_PAGES, LINK_FILE, LINK_PAGE, VIEWER_PAGES } from '#embedded/site-rules.ts';
import { VIEWER_PAGE } from '../site-files.ts';

/** The addresses that only the viewer's router knows are its page; `/` is the console's. JavaScript of CloudFront Functions, runtime 2.0. */
export const sitePagesCode = (): string => `
const VIEWER_PAGES = ${VIEWER_PAGES};
const LINK_PAGE = ${LINK_PAGE};
const ENTRY_PAGES = ${ENTRY_PAGES};
function handler(event) {
  const request = event.request;
  if (request.uri === '/' || ENTRY_PAGES.test(request.uri)) request.uri = '/index.html';
  else if (VIEWER_PAGES.test(request.uri)) request.uri = '/${VIEWER_PAGE}';
  else if (LINK_PAGE.test(request.uri)) request.uri = '${LINK_FILE}';
  return request;
}
`;

export interface ApiOrigins {
  /** id of the origin that takes changes */
  readonly primary: string;
  /** where reading goes when the first fails; undefined with one region */
  readonly secondary: string | undefined;
  /** id of the origin that takes over some requests, and which: patterns of paths by method */
  readonly service?: { readonly id: string; readonly requests: Readonly<Record<string, string>> } | undefined;
}

/** Below the address of a share link stand the doors of a guest: API Gateway has them at their own paths, with the link in a header. */
const GUEST_DOORS = /^\/s\/([0-9A-Z]{26})(\/(?:dicomweb|api)\/.*)$/;

/**
 * Tells the functions under which name, and below which share link, they were asked, and lets reading fail over. Changes never fail over by themselves: whether the
 * first region has taken one is not known when it does not answer, and the second would take it again.
 */
export const apiRequestCode = ({ primary, secondary, service }: ApiOrigins): string => `
import cf from 'cloudfront';
function handler(event) {
  const request = event.request;
  request.headers['x-forwarded-host'] = { value: request.headers.host.value };
  request.headers['x-forwarded-proto'] = { value: 'https' };
  delete request.headers['x-nephos-link'];
  const guest = ${GUEST_DOORS}.exec(request.uri);
  if (guest) {
    request.uri = guest[2];
    request.headers['x-nephos-link'] = { value: guest[1] };
  }
${
  service === undefined
    ? ''
    : `  const taken = (${JSON.stringify(service.requests)})[request.method];
  if (taken && new RegExp(taken).test(request.uri)) {
    cf.selectRequestOriginById(${JSON.stringify(service.id)});
    return request;
  }
  cf.selectRequestOriginById(${JSON.stringify(primary)});
`
}${
  secondary === undefined
    ? ''
    : `  if (request.method === 'GET' || request.method === 'HEAD') {
    cf.createRequestOriginGroup({
      originIds: [${JSON.stringify(primary)}, ${JSON.stringify(secondary)}].map((originId) => ({ originId })),
      failoverCriteria: { statusCodes: [500, 502, 503, 504] },
    });
  }
`
}  return request;
}
`;
