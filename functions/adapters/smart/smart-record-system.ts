import { createRemoteJWKSet, customFetch, type FetchImplementation, jwtVerify } from 'jose';
import type { Role } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import type { LaunchContext, RecordSystem } from '#core/ports/record-system.ts';
import type { SmartIssuer } from './settings.ts';

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES = 1024 * 1024;
const ALGORITHMS = ['RS256', 'RS384', 'ES256', 'ES384'];
const CLOCK_TOLERANCE_SECONDS = 30;
/** resources that a launch may name and that are looked at */
const CONTEXTS = 20;
const RESOURCE_ID = /^[A-Za-z0-9.-]{1,64}$/;
const OID = 'urn:oid:';

type Members = Readonly<Record<string, unknown>>;

/** An EHR that speaks SMART App Launch 2.2, with FHIR R4 behind it. */
export class SmartRecordSystem implements RecordSystem {
  readonly #settings: SmartIssuer;
  readonly #fetch: typeof globalThis.fetch;

  /** @param fetch for tests: how it is asked */
  constructor(settings: SmartIssuer, fetch: typeof globalThis.fetch = globalThis.fetch) {
    this.#settings = settings;
    this.#fetch = fetch;
  }

  get issuer(): string {
    return this.#settings.issuer;
  }

  get tenant(): string {
    return this.#settings.tenant;
  }

  get signIn(): readonly Role[] {
    return this.#settings.signIn;
  }

  async authorizationUrl({
    launch,
    redirectUri,
    state,
    nonce,
    challenge,
  }: Parameters<RecordSystem['authorizationUrl']>[0]): Promise<string> {
    const url = new URL(endpointOf(await this.#discover(), 'authorization_endpoint'));
    const { clientId, scopes, issuer } = this.#settings;
    const parameters = {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope: scopes,
      launch,
      state,
      nonce,
      aud: issuer,
      code_challenge: challenge,
      code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return url.href;
  }

  async exchange({
    code,
    redirectUri,
    verifier,
    nonce,
  }: Parameters<RecordSystem['exchange']>[0]): Promise<LaunchContext> {
    const { clientId, clientSecret } = this.#settings;
    const configuration = await this.#discover();
    const form = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
      // A public client names itself; a confidential one by its secret alone.
      ...(clientSecret === undefined && { client_id: clientId }),
    });
    const user = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret ?? '')}`;
    const { status, body } = await this.#ask(endpointOf(configuration, 'token_endpoint'), {
      method: 'POST',
      headers: {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        ...(clientSecret !== undefined && { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
      },
      body: form.toString(),
    });
    if (status >= 500) throw unavailable();
    const token = body.access_token;
    if (status !== 200 || typeof token !== 'string')
      throw new PacsError('UNAUTHENTICATED', 'the record system does not take the code');
    const subject = this.signIn.length === 0 ? undefined : await this.#subjectOf(configuration, body.id_token, nonce);
    return { ...(await this.#context(body, token)), ...(subject !== undefined && { subject }) };
  }

  async #discover(): Promise<Members> {
    const { status, body } = await this.#ask(`${this.issuer}/.well-known/smart-configuration`, {
      headers: { accept: 'application/json' },
    });
    if (status !== 200) throw unavailable();
    return body;
  }

  /** OpenID Connect Core §3.1.3.7: signed by it, for us, in answer to this very request. */
  async #subjectOf(configuration: Members, idToken: unknown, nonce: string): Promise<string> {
    const { issuer } = configuration;
    if (typeof idToken !== 'string' || typeof issuer !== 'string')
      throw new PacsError('UNAUTHENTICATED', 'the record system does not say who is there');
    const keys = createRemoteJWKSet(new URL(endpointOf(configuration, 'jwks_uri')), {
      timeoutDuration: TIMEOUT_MS,
      [customFetch]: this.#fetch as FetchImplementation,
    });
    try {
      const { payload } = await jwtVerify(idToken, keys, {
        issuer,
        audience: this.#settings.clientId,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp', 'iat', 'sub'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      if (payload.nonce === nonce && /^[\w.@+:|/-]{1,128}$/.test(payload.sub!)) return payload.sub!;
    } catch (cause) {
      throw new PacsError('UNAUTHENTICATED', 'what the record system says of the person is not signed by it', {
        cause,
      });
    }
    throw new PacsError('UNAUTHENTICATED', 'what the record system says of the person is no answer to this request');
  }

  /** SMART App Launch §2.0.5 (launch context), by the members of the token response. */
  async #context(response: Members, token: string): Promise<LaunchContext> {
    const studies: string[] = [];
    const accessionNumbers: string[] = [];
    const learn = (identifiers: readonly Identifier[]): void => {
      for (const { system, value, type } of identifiers) {
        const uid = value.startsWith(OID) ? value.slice(OID.length) : value;
        if (system === 'urn:dicom:uid' && isUID(uid)) studies.push(uid);
        else if (type === 'ACSN' && isAccessionNumber(value)) accessionNumbers.push(value);
      }
    };
    const references = new Set<string>();
    const named = Array.isArray(response.fhirContext) ? response.fhirContext : [];
    for (const one of [...named, referenceOf('ImagingStudy', response.imagingStudy)].slice(0, CONTEXTS) as unknown[]) {
      if (typeof one !== 'object' || one === null) continue;
      const { reference, identifier } = one as { reference?: unknown; identifier?: unknown };
      if (typeof reference === 'string') references.add(reference);
      learn(identifiersOf({ identifier: [identifier] }));
    }
    // Some EHRs say it themselves, beside the standard.
    for (const uid of [response.study, response.StudyInstanceUID])
      if (typeof uid === 'string' && isUID(uid)) studies.push(uid);
    for (const reference of references) {
      const [, type, id = ''] = /(?:^|\/)(ImagingStudy|ServiceRequest)\/([^/]+)$/.exec(reference) ?? [];
      if (type !== undefined && RESOURCE_ID.test(id)) learn(identifiersOf(await this.#read(`${type}/${id}`, token)));
    }
    const patientIds = await this.#patientIds(response.patient, token);
    return {
      studies: [...new Set(studies)],
      accessionNumbers: [...new Set(accessionNumbers)],
      ...(patientIds && { patientIds }),
    };
  }

  /** Which of a patient's identifiers is PatientID here is for the configuration to say. */
  async #patientIds(patient: unknown, token: string): Promise<string[] | undefined> {
    if (typeof patient !== 'string' || !RESOURCE_ID.test(patient)) return undefined;
    const identifiers = identifiersOf(await this.#read(`Patient/${patient}`, token));
    const { patientIdentifierSystem: wanted } = this.#settings;
    const records = identifiers.filter(({ type }) => type === 'MR');
    const meant =
      wanted !== undefined
        ? identifiers.filter(({ system }) => system === wanted)
        : records.length > 0
          ? records
          : identifiers.length === 1
            ? identifiers
            : [];
    const ids = meant.map(({ value }) => value).filter((value) => /^[^*?\\]{1,64}$/.test(value));
    if (ids.length === 0)
      throw new PacsError('NOT_FOUND', 'the record system names the patient by no identifier that is known here');
    return [...new Set(ids)];
  }

  async #read(reference: string, token: string): Promise<Members> {
    const { status, body } = await this.#ask(`${this.issuer}/${reference}`, {
      headers: { accept: 'application/fhir+json', authorization: `Bearer ${token}` },
    });
    if (status === 200) return body;
    if (status >= 500) throw unavailable();
    throw new PacsError('NOT_FOUND', 'the record system does not show what it opened us for');
  }

  async #ask(url: string, init: RequestInit): Promise<{ status: number; body: Members }> {
    try {
      const response = await this.#fetch(url, {
        ...init,
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body ?? []) {
        size += chunk.byteLength;
        if (size > ANSWER_BYTES) throw unavailable();
        chunks.push(chunk);
      }
      return { status: response.status, body: parsed(Buffer.concat(chunks).toString('utf8')) };
    } catch (cause) {
      throw cause instanceof PacsError ? cause : unavailable(cause);
    }
  }
}

interface Identifier {
  readonly system: string;
  readonly value: string;
  /** code of HL7 table 0203: MR, ACSN */
  readonly type: string | undefined;
}

function identifiersOf({ identifier }: Members): Identifier[] {
  if (!Array.isArray(identifier)) return [];
  return identifier.slice(0, 100).flatMap((one: unknown) => {
    const {
      system = '',
      value,
      type,
    } = (one ?? {}) as { system?: unknown; value?: unknown; type?: { coding?: { code?: unknown }[] } };
    if (typeof value !== 'string' || typeof system !== 'string') return [];
    const code = type?.coding?.find((coding) => typeof coding.code === 'string')?.code as string | undefined;
    return [{ system, value, type: code }];
  });
}

const isAccessionNumber = (text: string): boolean => /^[^*?\\]{1,16}$/.test(text);
const referenceOf = (type: string, id: unknown) =>
  typeof id === 'string' ? { reference: `${type}/${id}` } : undefined;

/** @throws PacsError BUSY */
function endpointOf(configuration: Members, name: string): string {
  const text = configuration[name];
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined;
  const isLoopback = url?.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (url === undefined || (url.protocol !== 'https:' && !isLoopback)) throw unavailable();
  return url.href;
}

function parsed(text: string): Members {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Members) : {};
  } catch {
    return {};
  }
}

const unavailable = (cause?: unknown): PacsError =>
  new PacsError('BUSY', 'the record system cannot be asked', cause === undefined ? {} : { cause });
