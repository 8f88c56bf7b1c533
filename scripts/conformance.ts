import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { OPERATIONS } from '#api/openapi.ts';
import { apiRoutes } from '#api/routes.ts';
import { REJECTION_TITLES } from '#core/archive/reject.ts';
import { STORAGE_SOP_CLASSES } from '#core/dicom/sop-classes.ts';
import { TRANSFER_SYNTAXES } from '#core/dicom/transfer-syntaxes.ts';
import { ERRORS } from '#core/errors.ts';
import { DEFAULT_LIMITS, limitVariable } from '#core/limits.ts';
import { SPACES } from '#core/pixels/icc/spaces.ts';
import { PIXEL_SYNTAXES } from '#core/pixels/syntaxes.ts';
import { COMPRESSED_MEDIA_TYPES } from '#core/retrieve/media-types.ts';
import { ATTRIBUTES, type Level } from '#core/search/attributes.ts';
import type { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { confidentiality } from './conformance/confidentiality.ts';
import { dimse } from './conformance/dimse.ts';
import { model, overview } from './conformance/entities.ts';
import { hex, table, tagText } from './conformance/markdown.ts';
import { associations, configuration } from './conformance/network.ts';
import { charactersAndSecurity } from './conformance/security.ts';

/** CONFORMANCE.md follows from the tables the archive runs on. `npm run conformance` writes it; a test compares. */
export const CONFORMANCE_PATH = join(import.meta.dirname, '../CONFORMANCE.md');

function services(): string {
  const rows = (prefix: string, routes: typeof DICOMWEB_ROUTES) =>
    routes.map(({ method, path, name, action }) => [
      name,
      `\`${method} ${prefix}${path === '/' ? '' : path}\``,
      action,
    ]);
  const api = apiRoutes({} as TokenStore).map(({ method, path, name, action }) => [
    name,
    `\`${method} /api${path}\``,
    action,
    OPERATIONS[name]!.summary,
  ]);
  return `## 2. Services

### 2.1 Studies Service (PS3.18 §10), Storage Commitment Service (§13) and URI Service (§9)

HEAD is answered wherever GET is. OPTIONS answers CORS preflights for configured origins. If-None-Match, If-Modified-Since, If-Match and If-Unmodified-Since are heeded wherever an answer has an ETag
(304, 412), Range and If-Range where it says Accept-Ranges. Resources of services that are not offered (§1) are 404, and say which service it is.

A study or series in a named transfer syntax: 206 where the index tells that some instances cannot be had so, 406 where none can. An image that turns out not to be decodable only when it is read, of a study or series: as an object it leaves
as stored, as pixel data its codestream, each under its own Content-Type; as a picture it is a part of \`application/problem+json\`. A frame behind the first of one object breaks the connection off: no answer that is cut looks whole. All
frames of an object as a single \`application/octet-stream\`: its samples in Explicit VR Little Endian, without padding.

${table(['transaction', 'resource', 'right asked for'], [...rows('/dicomweb', DICOMWEB_ROUTES), ...rows('/wado', WADO_URI_ROUTES)])}

### 2.2 Own interface beside DICOMweb

Described by \`/api/openapi.json\`.

${table(['operation', 'resource', 'right asked for', 'what it does'], api)}`;
}

function storing(): string {
  const errors = Object.entries(ERRORS).map(([code, { http, dimse, failureReason, resend }]) => [
    code,
    http,
    hex(dimse),
    hex(failureReason),
    resend,
  ]);
  return `## 3. Store

Accepted: \`multipart/related\` of \`application/dicom\`, of \`application/dicom+json\` or \`application/dicom+xml\` metadata with bulk data parts, and a single
\`application/dicom\` body; with Content-Encoding gzip or deflate, too. Every SOP class is stored, known or not; every transfer syntax is stored as received. Success is answered when object and index are
durable. 200: all stored; 202: some, or with a warning; 409: none (503, 413, 507 when that was the one reason).

An object is filed under the four UIDs of its data set. SOP Class UID and SOP Instance UID that are missing there are taken from the File Meta Information (C-STORE: from the
command). Without Study or Series Instance UID an object is refused (C000, “StudyInstanceUID is missing”); with \`NEPHOS_MISSING_UIDS=derive\` objects of the classes
1.2.840.10008.5.1.4.1.1.* get UIDs below 2.25 that are derived from their SOP Instance UID. Whoever sends an object with UIDs that had to be supplied hears of it (Warning Reason B000; C-STORE: status B000); metadata and transcoded objects have them, metadata also an Original Attributes Sequence; the bytes as received stay as they
are. Never stored as instances: media directories (DICOMDIR) and objects of no patient (colour palettes, protocols, implant templates) that name no study, which are refused with 0122, and worklist items.
Of the 1,007 objects of many makers that the tests store, 53 are refused so: 9 media directories, 12 questions and answers of a worklist, 8 colour palettes, 22 samples of codecs and character sets that name no study or series (stored with \`derive\`), and 2 with no UID anywhere.

Sent again with the same bytes: success, nothing stored twice. Sent again with other bytes under the same SOP Instance UID: refused with 0110 and held in
quarantine (\`NEPHOS_CONFLICT_POLICY=keepFirst\`), or made current (\`version\`, \`replace\`); no bytes are dropped.

Key Object Selection documents titled ${Object.entries(REJECTION_TITLES)
    .map(([code, meaning]) => `${code} “${meaning}”`)
    .join(', ')} (IHE RAD IOCM)
hide what they name, and what of it is still to come as far as it belongs to the note’s own study.

${table(['code', 'HTTP', 'DIMSE status', 'FailureReason', 'send again'], errors)}`;
}

function searching(): string {
  const level = (name: Level): string =>
    table(
      ['attribute', 'tag', 'VR', 'returned', 'found by index'],
      ATTRIBUTES[name].map((row) => [
        row.keyword,
        tagText(row.tag),
        row.vr,
        row.byDefault ? 'always' : 'on includefield',
        row.index ?? (row.computed ? 'computed' : '–'),
      ]),
    );
  return `## 4. Search

Matching per PS3.4 §C.2.2.2: single value, list of UIDs, universal, wildcard (\`*\` and \`?\` anywhere), range (date, time, and both combined), sequence
(\`00400275.00400009\`). Person names match by component group, without regard to case and accents, and so do
patterns with wildcards on descriptions (StudyDescription, SeriesDescription, ProtocolName, InstitutionName …); \`fuzzymatching=true\` matches words by their sound. A missing
value never matches. \`limit\`, \`offset\`, \`orderby\`, \`includefield\` (\`all\`, keyword, tag, sequence path). \`X-Total-Count\` where it is known at bounded cost; a
\`Warning\` header where more could be asked for or the answer was cut. What each query reads at most: [docs/search-budgets.md](docs/search-budgets.md).

\`TimezoneOffsetFromUTC\` in a request (\`+0100\`, percent-encoded) is not matched: dates and times of the request are those of that zone, and so are those of the answer, whatever zone the objects were made in (PS3.4 §C.2.2.2).
An object that states no offset is taken at its word; birthdays are never moved; in a sequence's items dates and times are moved together, by the offset of the item where it states one. Without \`orderby\` results stand in the order of the dates as stored.

### 4.1 Study level

${level('study')}

### 4.2 Series level (and all of the study level)

${level('series')}

### 4.3 Instance level (and all of the series level)

${level('instance')}`;
}

function syntaxes(): string {
  const rows = [...TRANSFER_SYNTAXES.values()].map(({ UID, name }) => {
    const pixel = PIXEL_SYNTAXES[UID];
    return [
      name,
      UID,
      'yes',
      pixel ? 'yes' : 'as stored',
      pixel?.encodes ? (pixel.lossless ? 'lossless' : 'lossy') : '–',
    ];
  });
  return `## 5. Transfer syntaxes

${table(['transfer syntax', 'UID', 'stored', 'decoded', 'produced on request'], rows)}

Media types of compressed frames (PS3.18 Table 8.7.3-5):

${table(
  ['media type', 'also understood', 'transfer syntaxes'],
  COMPRESSED_MEDIA_TYPES.map(({ type, aliases, transferSyntaxUIDs }) => [
    type,
    aliases.join(', ') || '–',
    transferSyntaxUIDs.join(', '),
  ]),
)}

Rendered (PS3.18 §8.3.5): \`window\`, \`viewport\`, \`quality\` (JPEG), \`annotation\` (\`patient\`, \`technique\`; \`none\`), \`iccprofile\` (\`no\`, \`yes\`: the object's own,
otherwise sRGB; ${Object.keys(SPACES)
    .map((space) => `\`${space}\``)
    .join(
      ', ',
    )}: turned into that space by the object's profile, a matrix or a table of ICC versions 2 and 4, perceptual). Images as JPEG and PNG, multi-frame images also as GIF;
video, PDF and other documents as they are; reports as HTML and text; presentation states as the first image they are for.`;
}

function classes(): string {
  const rows = [...STORAGE_SOP_CLASSES.values()].map(({ UID, keyword, modality, isImage, retired }) => [
    `${keyword}${retired ? ' (retired)' : ''}`,
    UID,
    modality || '–',
    isImage ? 'yes' : '–',
  ]);
  return `## 6. Storage SOP classes known by name

${table(['SOP class', 'UID', 'modality', 'rendered'], rows)}`;
}

function limits(): string {
  const rows = Object.entries(DEFAULT_LIMITS).map(([name, value]) => [name, value, `\`${limitVariable(name)}\``]);
  return `## 7. Limits

${table(['limit', 'default', 'variable'], rows)}`;
}

export const conformanceStatement = (): string => `# Conformance statement

Made from the code by \`npm run conformance\`; a test fails when the two differ. Form after PS3.2, whose topics §1 leads to; the standing
sentences of its Annex N are not repeated, and its numbers are not ours. DICOM 2025.

## 1. Overview

Nephos is an image archive. It stores, finds and serves DICOM composite objects over DICOMweb and DIMSE. What it received it gives back byte for byte.
An edge gateway on a hospital's network takes objects and forwards them to it. Roles in DIMSE, by application entity (§10.1):

${overview()}

${[services(), storing(), searching(), syntaxes(), classes(), limits(), dimse(), confidentiality(), model(), associations(), configuration(), charactersAndSecurity()].join('\n\n')}
`;

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(CONFORMANCE_PATH, conformanceStatement());
}
