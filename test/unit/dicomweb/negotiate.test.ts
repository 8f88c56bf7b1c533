import { describe, expect, test } from 'vitest';
import { PacsError } from '#core/errors.ts';
import { acceptable, negotiate, type Offer } from '#dicomweb/negotiate.ts';

const multipart = (type: string, aliases: string[] = []): Offer => ({ type, packaging: 'multipart', aliases });
const single = (type: string, aliases: string[] = []): Offer => ({ type, packaging: 'single', aliases });

const STUDY = [multipart('application/dicom'), single('application/zip')];
const INSTANCE = [multipart('application/dicom'), single('application/dicom'), single('application/zip')];
const METADATA = [single('application/dicom+json', ['application/json']), multipart('application/dicom+xml')];
const FRAMES = [
  multipart('application/octet-stream'),
  single('application/octet-stream'),
  multipart('image/jls', ['image/x-jls']),
  multipart('image/jpeg'),
  multipart('image/jphc', ['image/jhc']),
];

const chosen = (accept: string | undefined, offers: readonly Offer[], query = ''): string => {
  try {
    const request = { headers: accept === undefined ? {} : { accept }, query: new URLSearchParams(query) };
    const { offer, type, transferSyntax } = negotiate(request, offers);
    return `${offer.packaging} ${type}${transferSyntax === undefined ? '' : ` ${transferSyntax}`}`;
  } catch (error) {
    return error instanceof PacsError ? error.code : String(error);
  }
};

describe('the Accept headers of real clients are understood', () => {
  test.each<[client: string, accept: string, offers: readonly Offer[], chosen: string]>([
    ['curl', '*/*', STUDY, 'multipart application/dicom'],
    ['curl', '*/*', METADATA, 'single application/dicom+json'],
    [
      'Chrome',
      'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7',
      METADATA,
      'single application/dicom+json',
    ],
    [
      'Firefox',
      'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
      INSTANCE,
      'multipart application/dicom',
    ],
    [
      'OHIF 3 frames',
      'multipart/related; type=application/octet-stream; transfer-syntax=*',
      FRAMES,
      'multipart application/octet-stream *',
    ],
    ['OHIF 3 JPEG', 'multipart/related; type=image/jpeg; transfer-syntax=*', FRAMES, 'multipart image/jpeg *'],
    [
      'OHIF 3 HTJ2K',
      'multipart/related; type=image/jphc; transfer-syntax=3.2.840.10008.1.2.4.96',
      FRAMES,
      'multipart image/jphc 3.2.840.10008.1.2.4.96',
    ],
    ['cornerstone metadata', 'application/json', METADATA, 'single application/json'],
    [
      'dicomweb-client (JS) instance',
      'multipart/related; type="application/dicom"',
      INSTANCE,
      'multipart application/dicom',
    ],
    [
      'dicomweb-client (JS) any syntax',
      'multipart/related; type="application/dicom"; transfer-syntax=*',
      INSTANCE,
      'multipart application/dicom *',
    ],
    [
      'dicomweb-client (JS) frames',
      'multipart/related; type="image/x-jls"; transfer-syntax=1.2.840.10008.1.2.4.80, multipart/related; type="application/octet-stream"; transfer-syntax=*',
      FRAMES,
      'multipart image/x-jls 1.2.840.10008.1.2.4.80',
    ],
    ['dicomweb-client (JS) metadata', 'application/dicom+json', METADATA, 'single application/dicom+json'],
    [
      'dicomweb-client (Python) instance',
      'multipart/related; type="application/dicom"; transfer-syntax="*"',
      INSTANCE,
      'multipart application/dicom *',
    ],
    [
      'dicomweb-client (Python) metadata',
      'application/dicom+json, application/json',
      METADATA,
      'single application/dicom+json',
    ],
    [
      '3D Slicer',
      'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1',
      INSTANCE,
      'multipart application/dicom 1.2.840.10008.1.2.1',
    ],
    [
      'Weasis',
      'multipart/related;type="application/dicom";transfer-syntax=*,*/*;q=0.1',
      STUDY,
      'multipart application/dicom *',
    ],
    ['dcm4che wadors', 'multipart/related;type=application/dicom', STUDY, 'multipart application/dicom'],
    [
      'dcm4che, syntax in the quoted type',
      'multipart/related;type="application/dicom;transfer-syntax=1.2.840.10008.1.2.4.70"',
      STUDY,
      'multipart application/dicom 1.2.840.10008.1.2.4.70',
    ],
    ['dcm4che metadata', 'multipart/related;type=application/dicom+xml', METADATA, 'multipart application/dicom+xml'],
    [
      'Orthanc plugin',
      'multipart/related; type="application/dicom"; transfer-syntax=*',
      STUDY,
      'multipart application/dicom *',
    ],
    ['Horos', 'multipart/related;type=application/dicom', STUDY, 'multipart application/dicom'],
    [
      'Google adapter',
      'multipart/related; type="application/dicom"; transfer-syntax=*; boundary=**',
      STUDY,
      'multipart application/dicom *',
    ],
    ['bare multipart', 'multipart/related', STUDY, 'multipart application/dicom'],
    ['multipart/*', 'multipart/*;q=0.5, application/zip', STUDY, 'single application/zip'],
    ['an archive', 'application/zip', STUDY, 'single application/zip'],
    ['image/*', 'multipart/related; type="image/*"', FRAMES, 'multipart image/jls'],
    ['an open quote', 'multipart/related; type="application/dicom', STUDY, 'multipart application/dicom'],
    [
      'blanks around the equals sign',
      'multipart/related; type = "application/dicom" ; transfer-syntax = *',
      STUDY,
      'multipart application/dicom *',
    ],
    [
      'capitals',
      'Multipart/Related; Type="Application/DICOM"; Transfer-Syntax=*',
      STUDY,
      'multipart application/dicom *',
    ],
    ['two lines joined', 'application/dicom+json, , */*', METADATA, 'single application/dicom+json'],
  ])('%s: %s', (_client, accept, offers, expected) => {
    expect(chosen(accept, offers)).toBe(expected);
  });
});

describe('the best representation is chosen', () => {
  test.each<[why: string, accept: string | undefined, offers: readonly Offer[], chosen: string]>([
    ['nothing said is anything', undefined, INSTANCE, 'multipart application/dicom'],
    ['an empty header is anything', '', INSTANCE, 'multipart application/dicom'],
    ['a single part is given where it is asked for', 'application/dicom', INSTANCE, 'single application/dicom'],
    ['but not of a study (PS3.18 10.4.4)', 'application/dicom', STUDY, 'NOT_ACCEPTABLE'],
    [
      'quality decides',
      'multipart/related; type="application/dicom"; q=0.2, application/zip; q=0.9',
      STUDY,
      'single application/zip',
    ],
    [
      'then the client’s order',
      'application/zip, multipart/related; type="application/dicom"',
      STUDY,
      'single application/zip',
    ],
    ['what is named comes before what is not', '*/*, application/zip', STUDY, 'single application/zip'],
    ['q=0 refuses', 'application/dicom+json;q=0, */*', METADATA, 'multipart application/dicom+xml'],
    ['and may refuse all', '*/*;q=0', METADATA, 'NOT_ACCEPTABLE'],
    ['a quality that is no number counts as 1', 'application/zip;q=high, */*;q=0.9', STUDY, 'single application/zip'],
    [
      'an unknown type is skipped',
      'image/png, application/dicom+json;q=0.1',
      METADATA,
      'single application/dicom+json',
    ],
    ['nothing in common is 406', 'image/png', METADATA, 'NOT_ACCEPTABLE'],
  ])('%s', (_why, accept, offers, expected) => {
    expect(chosen(accept, offers)).toBe(expected);
  });

  test('the accept parameter goes before the header, the header decides what it leaves', () => {
    const header = 'text/html,*/*;q=0.8';
    expect(chosen(header, INSTANCE, 'accept=application/dicom')).toBe('single application/dicom');
    expect(chosen(header, METADATA, 'accept=application/dicom%2Bjson')).toBe('single application/dicom+json');
    expect(chosen(header, METADATA, 'accept=application/dicom+json')).toBe('single application/dicom+json');
    expect(chosen('application/zip', STUDY, 'accept=image/png')).toBe('single application/zip');
    expect(chosen(undefined, STUDY, 'accept=image/png')).toBe('NOT_ACCEPTABLE');
  });

  test('a refusal lists what there is', () => {
    const request = { headers: { accept: 'image/png' }, query: new URLSearchParams() };
    expect(() => acceptable(request, STUDY)).toThrowError(
      expect.objectContaining({
        code: 'NOT_ACCEPTABLE',
        details: { available: ['multipart/related; type="application/dicom"', 'application/zip'] },
      }),
    );
  });

  test('an offer that cannot be had in the syntax gives way to the next', () => {
    const offers = [{ ...multipart('application/dicom'), accepts: (syntax?: string) => syntax === '1.2' }];
    const accept =
      'multipart/related; type="application/dicom"; transfer-syntax=1.9, multipart/related; type="application/dicom"; transfer-syntax=1.2; q=0.5';
    expect(chosen(accept, offers)).toBe('multipart application/dicom 1.2');
  });

  test('a frames header on a metadata request is borne', () => {
    const accept = 'multipart/related; type=application/octet-stream; transfer-syntax=*';
    const request = { headers: { accept }, query: new URLSearchParams() };
    expect(negotiate(request, METADATA, { tolerate: 'application/octet-stream' }).type).toBe('application/dicom+json');
  });
});
