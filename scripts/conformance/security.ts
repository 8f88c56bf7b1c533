import { isUnknownCharacterSet } from '#core/dicom/character-sets.ts';
import { BCP_195_CIPHERS } from '#embedded/dicom-destinations.ts';
import { table } from './markdown.ts';

/** Character sets, annexes and security, as the template of PS3.2 asks for them. */

/** PS3.3 Tables C.12-2 to C.12-5 */
const TERMS = [
  ...['100', '101', '109', '110', '144', '127', '126', '138', '148', '203', '166', '13', '192'].map(
    (n) => `ISO_IR ${n}`,
  ),
  ...[
    '6',
    '13',
    '58',
    '87',
    '100',
    '101',
    '109',
    '110',
    '126',
    '127',
    '138',
    '144',
    '148',
    '149',
    '159',
    '166',
    '203',
  ].map((n) => `ISO 2022 IR ${n}`),
  'GB18030',
  'GBK',
];

export function charactersAndSecurity(): string {
  return `## 13. Character sets

Read: the default repertoire and, of the defined terms of PS3.3 §C.12.1.1.2, ${TERMS.filter((term) => !isUnknownCharacterSet([term])).join(', ')}; also as value 1 of several.
Without a term, or under one that is unknown, text is read as UTF-8 where it is well formed, otherwise as ISO_IR 100. What cannot be decoded becomes U+FFFD in answers; the object keeps its bytes.

Objects are kept in the character set they came in. C-FIND answers are in the caller's Specific Character Set where that is one single-byte set that holds all text, otherwise in ISO_IR 192; keys of a query are read in the
set that its identifier names. Names match over all component groups, whatever set they came in. DICOM JSON and XML are UTF-8; Specific Character Set in them is that of the object. The console shows text in the fonts of the browser.

## 14. Media, transformations, annexes

Media storage application profiles: none. Export writes Part 10 files without a DICOMDIR. DICOM SR to CDA and other transformations: none. DICOM real-time video: none.

Created SOP instances: objects put together from STOW-RS metadata and bulk data, as sent; transcoded copies on request (§5: same SOP Instance UID where lossless; lossy ones only by WADO-RS
where asked for); de-identified copies (§9). No instance of an IOD of its own.

Private attributes, private SOP classes, private transfer syntaxes, extended or specialised SOP classes: none of our own; those of others are kept as received. Coded terminology: Key Object Selection titles of §3 are acted upon;
MPPS discontinuation reasons are kept, not interpreted. Grayscale consistency: rendered pictures apply modality, VOI and presentation LUT; no calibrated display.

## 15. Security

### 15.1 Profiles of PS3.15

${table(
  ['profile', ''],
  [
    [
      'BCP 195 TLS Secure Transport Connection (B.9)',
      `TLS 1.2 and 1.3, both ways: ${BCP_195_CIPHERS.split(':').join(', ')}`,
    ],
    [
      'Basic user identity (B.4), user identity plus passcode (B.5)',
      'yes; JSON Web Tokens as well (type 5); Kerberos (B.6) and SAML (B.7) are not verified (§8.2)',
    ],
    [
      'Audit trail messages (A.5), their transmission by syslog over TLS (A.6)',
      'a message for every act over DIMSE and DICOMweb; sent to a repository where one is configured, kept and sealed in any case',
    ],
    ['Basic Application Level Confidentiality (E.1)', '§9'],
    [
      'Bit-preserving digital signatures (A.3)',
      'yes: data sets are stored bit by bit (level 3 of PS3.4 §B.3.1). Signatures are neither verified nor made; a transcoded or de-identified copy does not keep them valid',
    ],
    ['Media storage security', 'none'],
  ],
)}

### 15.2 Association level

Calling AE title with address or network, called AE title, client certificate, user identity: each where it is configured. Rights of an AE title or user: store, query, retrieve, commit, worklist, mpps; its tenant and the studies it reaches
(docs/roles.md). What is not permitted is refused with 0124.

### 15.3 Application level

HTTPS with TLS 1.2 or later by the archive itself, or by a proxy before it; client certificates where configured. Bearer tokens, OpenID Connect, SMART App Launch, machine clients (RFC 6749, RFC 7523), share links; roles and grants in
docs/roles.md. Objects are encrypted at rest where a key is given (docs/security.md).`;
}
