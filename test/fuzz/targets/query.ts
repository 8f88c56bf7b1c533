import { uid } from '#test/fixtures/dicom-builder.ts';
import type { Target } from '../target.ts';
import { SmallArchive } from './archive.ts';

const STUDY = `/dicomweb/studies/${uid(1)}`;
const OBJECT = `${STUDY}/series/${uid(2)}/instances/${uid(3)}`;
/** An input: a target in its first line, headers behind it. */
const SEEDS = [
  '/dicomweb/studies?PatientName=*doe*&StudyDate=20240101-20241231&fuzzymatching=true&limit=2&offset=1\nAccept: application/dicom+json',
  '/dicomweb/studies?ModalitiesInStudy=CT\\MR&includefield=all&orderby=-StudyDate,PatientName\nAccept: multipart/related; type="application/dicom+xml"',
  '/dicomweb/studies?StudyTime=1000-&00100010=DOE%5EJANE&StudyInstanceUID=1.2,1.3\nAccept: */*;q=0.1, application/json',
  `${STUDY}/series?Modality=CT&SeriesNumber=1\nAccept: application/dicom+xml`,
  '/dicomweb/instances?RequestAttributesSequence.ScheduledProcedureStepID=1&NumberOfFrames=1&emptyvaluematching=true\nAccept: application/dicom+json',
  `${OBJECT}\nAccept: application/dicom; transfer-syntax=1.2.840.10008.1.2`,
  `${OBJECT}/frames/1,1\nAccept: multipart/related; type=application/octet-stream`,
  `${OBJECT}/metadata\nIf-None-Match: W/"x", *\nIf-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT`,
  `${OBJECT}/bulkdata/7FE00010\nRange: bytes=1-2, -3\nIf-Range: "x"`,
  `${OBJECT}/bulkdata/7FE00010.1234.32\nRange: bytes=9-`,
  `${OBJECT}/rendered?viewport=10,10,1,1,2,2&window=40,400,linear-exact&quality=50\nAccept: image/jpeg`,
  `${STUDY}/thumbnail?viewport=64,64\nAccept: image/png`,
  `/wado?requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(3)}&contentType=image/jpeg,application/dicom&rows=10&region=0,0,1,1`,
  '/api/audit?from=2024-01-01T00:00:00Z&event=Query&order=desc&format=dicom&after=x',
  '/api/worklist?PatientName=*&ScheduledStationAETitle=CT1',
  '/api/procedure-steps?status=COMPLETED',
  '/api/trash?limit=1&after=x',
  '/api/quarantine/x/rendered?viewport=1,1',
];

const WORDS = [
  '?', '&', '=', '%', '%2C', '%00', '%5C', '+', '*', '-', '/', '..', ',', ';', '"', '\\', '^', '\n', ': ', 'limit=', 'offset=', 'orderby=', 'includefield=', 'all',
  'fuzzymatching=true', 'emptyvaluematching=true', 'multiplevaluematching=true', 'PatientName=', '00100010=', 'StudyDate=', '20240101-20240102', '-2024',
  'ModalitiesInStudy=', 'NumberOfStudyRelatedInstances=', 'RequestAttributesSequence.', '00400275.00400009=', 'StudyInstanceUID=', '99999999999999999999', '-1',
  '1e9', 'NaN', 'transfer-syntax=*', 'q=0', 'Accept: ', 'Range: bytes=', 'If-None-Match: ', 'If-Range: ', 'viewport=', 'window=', 'ü', '山田', '\u0001', '\uffff',
  uid(1), uid(3), 'frames/', 'rendered', 'metadata', 'bulkdata/', 'annotation=', 'iccprofile=', 'accept=', 'charset=', 'x'.repeat(2_000),
].map((word) => Buffer.from(word)); // biome-ignore format: a table

/** Targets and headers of requests that look, as every host hands them on. */
export const query: Target = {
  name: 'query',
  covers: ['/dicomweb/', '/api/', '/core/search/', '/core/retrieve/', '/core/pixels/'],
  grammar: { words: WORDS, text: true },
  seeds: () => SEEDS.map((text) => Buffer.from(text)),
  open() {
    const archive = new SmallArchive();
    return {
      async run(input) {
        const [line = '', ...lines] = Buffer.from(input).toString().split('\n');
        const mark = line.indexOf('?');
        const headers: Record<string, string> = {};
        for (const header of lines) {
          const colon = header.indexOf(':');
          if (colon > 0) headers[header.slice(0, colon).toLowerCase()] = header.slice(colon + 1).trim();
        }
        // A stream of events that is left at once.
        const left = AbortSignal.timeout(200);
        const { response } = await archive.answer({
          method: 'GET',
          path: mark < 0 ? line : line.slice(0, mark),
          query: new URLSearchParams(mark < 0 ? '' : line.slice(mark + 1)),
          headers,
          body: (async function* () {})(),
          origin: 'http://pacs.test',
          signal: left,
        });
        archive.check();
        for (const [name, value] of Object.entries(response.headers))
          if (/[\r\n\0]/.test(name + value)) throw new Error(`the header ${name} holds a line end`);
        const { body } = response;
        if (typeof body === 'string' || body === undefined || body instanceof Uint8Array) return;
        for await (const _ of body) if (left.aborted) break;
      },
    };
  },
};
