import { isRole, ROLES, type Role } from '#core/access.ts';
import { ConfigError } from '#core/configuration.ts';

/** A record system that may open us; one object of the list in NEPHOS_SMART_ISSUERS. */
export interface SmartIssuer {
  /** URL of its FHIR endpoint, as `iss` of a launch has it */
  readonly issuer: string;
  readonly clientId: string;
  /** absent: a public client, by PKCE alone */
  readonly clientSecret?: string;
  readonly tenant: string;
  readonly scopes: string;
  /** `system` of the identifier that is PatientID here; absent: of any that is a medical record number (type MR), or the only one */
  readonly patientIdentifierSystem?: string;
  /** roles of who comes from there, by its login; none: people sign in here as ever */
  readonly signIn: readonly Role[];
}

const SMART_SCOPES = 'launch openid fhirUser patient/Patient.rs patient/ImagingStudy.rs';
const NAME = 'NEPHOS_SMART_ISSUERS';
const MEMBERS = new Set([
  'issuer',
  'clientId',
  'clientSecret',
  'tenant',
  'scopes',
  'patientIdentifierSystem',
  'signIn',
]);

/** @param text JSON: a list. @throws ConfigError that names the variable */
export function readSmartIssuers(text: string | undefined, tenants: readonly [string, ...string[]]): SmartIssuer[] {
  if (text === undefined || text.trim() === '') return [];
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch {
    throw new ConfigError(`${NAME} is no JSON`);
  }
  if (!Array.isArray(rows)) throw new ConfigError(`${NAME} must be a list`);
  return rows.map((row: unknown) => readIssuer(row, tenants));
}

function readIssuer(row: unknown, tenants: readonly [string, ...string[]]): SmartIssuer {
  if (typeof row !== 'object' || row === null) throw new ConfigError(`${NAME}: each one is an object`);
  const unknown = Object.keys(row).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) throw new ConfigError(`${NAME}: there is no ${JSON.stringify(unknown)}`);
  const {
    issuer,
    clientId,
    clientSecret,
    tenant = tenants[0],
    scopes = SMART_SCOPES,
    ...more
  } = row as Record<string, unknown>;
  const { patientIdentifierSystem, signIn = [] } = more;
  const texts = {
    clientId,
    scopes,
    ...(clientSecret !== undefined && { clientSecret }),
    ...(patientIdentifierSystem !== undefined && { patientIdentifierSystem }),
  };
  for (const [name, value] of Object.entries(texts))
    if (typeof value !== 'string' || value === '') throw new ConfigError(`${NAME}: ${name} must be a text`);
  if (typeof tenant !== 'string' || !tenants.includes(tenant))
    throw new ConfigError(`${NAME}: tenant is none of those served`);
  if (!Array.isArray(signIn) || !signIn.every(isRole))
    throw new ConfigError(`${NAME}: signIn must be a list of ${ROLES.join(', ')}`);
  return { issuer: endpoint(issuer), tenant, signIn, ...(texts as { clientId: string; scopes: string }) };
}

/** What came in the clear is anybody's: http is for loopback only. */
function endpoint(value: unknown): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const isLoopback = url?.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (url?.protocol !== 'https:' && !isLoopback) throw new ConfigError(`${NAME}: issuer must be an https URL`);
  return String(value).replace(/\/+$/, '');
}
