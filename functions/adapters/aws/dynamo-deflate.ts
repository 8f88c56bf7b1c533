import { deflateRawSync, inflateRawSync } from 'node:zlib';

/**
 * Bytes of records, shorter. A write is paid, and counted against its partition, by the kilobyte: a record of an instance is 2 KB of JSON, most
 * of which says what every such record says, or repeats the UIDs of its own key. Deflated with both as its dictionary it is a third of a
 * kilobyte (docs/decisions/0094).
 */

/** opens bytes that are deflated, …; the item codec's own open with '{' or 0x01 */
const DEFLATED = 2;
/** … with WORDS and the item's key as dictionary */
const DEFLATED_WITH_KEY = 3;
/** shorter ones are a write unit anyway */
const DEFLATE_FROM_BYTES = 300;

/**
 * What records have in common, the commonest last. Never to be changed: records are read with the dictionary that they were written
 * with, so another text takes another opening byte. Read backwards it is: keys and codes only, nothing of any patient.
 */
const WORDS = [
  'ISO_IR 192ISO_IR 6ISO 2022 IR 87YBR_FULL_422YBR_BR_ICTRGBPALETTE COLORDERIVEDSECONDARYLOCALIZERM_FFEM_SEPROJECTION IMAGE',
  '1.2.840.10008.1.2.4.501.2.840.10008.1.2.4.571.2.840.10008.1.2.4.701.2.840.10008.1.2.4.801.2.840.10008.1.2.4.901.2.840.10008.1.2.4.91',
  '1.2.840.10008.1.2.51.2.840.10008.5.1.4.1.1.1.11.2.840.10008.5.1.4.1.1.1.21.2.840.10008.5.1.4.1.1.6.11.2.840.10008.5.1.4.1.1.88.67',
  '1.2.840.10008.5.1.4.1.1.1281.2.840.10008.5.1.4.1.1.71.2.840.10008.5.1.4.1.1.2.11.2.840.10008.5.1.4.1.1.4.1',
  '"},"00081030":{"vr":"LO","Value":["","modalities":{"CT":1},"sopClasses":{"1.2.840.10008.5.1.4.1.1.2":1},"seriesCount":1,"instanceCount":',
  ',"firstStoredAt":17,"lastStoredAt":17,"availability":"ONLINE","revision":"01","quietJobAt":17,"prepared":{"revision":"01","gzipBytes":',
  '"tableBlobKey":"","kind":"fragments","modality":"CT","instances":1,"studyAttributes":{"seriesAttributes":{"head":"","tail":"","rest":""',
  '{"00080005":{"vr":"CS","Value":["ISO_IR 100"]},"00080020":{"vr":"DA","Value":["20"]},"00080030":{"vr":"TM","Value":[""]},"00080050":{"vr":"SH","Value":[""]},',
  '"00080056":{"vr":"CS","Value":["ONLINE"]},"00080061":{"vr":"CS","Value":["CT"]},"00080062":{"vr":"UI"},"00080090":{"vr":"PN","Value":[{"Alphabetic":""}]},',
  '"00100010":{"vr":"PN"},"00100020":{"vr":"LO"},"00100030":{"vr":"DA"},"00100040":{"vr":"CS","Value":["F"]},"00101010":{"vr":"AS","Value":["0Y"]},"00101030":{"vr":"DS"},',
  '"00080021":{"vr":"DA"},"00080031":{"vr":"TM"},"00080060":{"vr":"CS","Value":["MR"]},"00080070":{"vr":"LO","Value":["SIEMENSPhilips Medical SystemsGE MEDICAL SYSTEMS"]},',
  '"00080080":{"vr":"LO"},"00081010":{"vr":"SH"},"0008103E":{"vr":"LO"},"00081090":{"vr":"LO"},"00081111":{"vr":"SQ","Value":[{"00081150":{"vr":"UI"},"00081155":{"vr":"UI"}}]},',
  '"00180010":{"vr":"LO"},"00180015":{"vr":"CS"},"00181000":{"vr":"LO"},"00181020":{"vr":"LO"},"00181030":{"vr":"LO"},"00185100":{"vr":"CS","Value":["HFS"]},',
  '"0020000D":{"vr":"UI","Value":["1.2.840."]},"0020000E":{"vr":"UI","Value":["1.3.6.1.4.1."]},"00200010":{"vr":"SH"},"00200011":{"vr":"IS","Value":[1]},',
  '"00200052":{"vr":"UI"},"00200060":{"vr":"CS"},"00200062":{"vr":"CS"},"00400244":{"vr":"DA"},"00400245":{"vr":"TM"},"00400253":{"vr":"SH"},"00080100":{"vr":"SH"},"00080102":{"vr":"SH"},"00080104":{"vr":"LO"}',
  '"00180020":{"vr":"CS"},"00180060":{"vr":"DS"},"00180080":{"vr":"DS"},"00180088":{"vr":"DS"},"00181151":{"vr":"IS"},"00181152":{"vr":"IS"},"00181210":{"vr":"SH"},"00189345":{"vr":"FD"},"00281054":{"vr":"LO","Value":["HU"]},',
  '"InlineBinary":"","BulkDataURI":"instances/bulkdata/7FE00010":{"vr":"OW","OB","UN","UT","LT","ST","US","SS","UL","SL","FD","FL","SQ","Value":[{',
  '{"version":1,"StudyInstanceUID":"","SeriesInstanceUID":"","instanceVersion":"01","sha256":"","startedAt":17',
  '{"SOPClassUID":"1.2.840.10008.5.1.4.1.1.2","SOPInstanceUID":"","StudyInstanceUID":"","SeriesInstanceUID":"","Modality":"MR","version":"01',
  '","transferSyntaxUID":"1.2.840.10008.1.2.1","blobKey":"main/.dcm","sizeBytes":52,"sha256":"","dataSetOffset":3,"storedAt":17,"source":"STOW","attributes":',
  '{"00080005":{"vr":"CS","Value":["ISO_IR 100"]},"00080008":{"vr":"CS","Value":["ORIGINAL","PRIMARY","AXIAL","OTHER"]},',
  '"00080012":{"vr":"DA"},"00080013":{"vr":"TM"},"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.4"]},"00080018":{"vr":"UI","Value":["1.2.840.',
  '"00080022":{"vr":"DA","Value":["20"]},"00080023":{"vr":"DA","Value":["20"]},"00080032":{"vr":"TM","Value":["1"]},"00080033":{"vr":"TM","Value":["0"]},',
  '"00180050":{"vr":"DS","Value":[1.2]},"00180081":{"vr":"DS","Value":[0]},"00200012":{"vr":"IS","Value":[1]},"00200013":{"vr":"IS","Value":[4]},',
  '"00200032":{"vr":"DS","Value":[-1.5,-]},"00200037":{"vr":"DS","Value":[1,0,0,0,1,0]},"00201041":{"vr":"DS","Value":[-5]},',
  '"00280002":{"vr":"US","Value":[1]},"00280004":{"vr":"CS","Value":["MONOCHROME2"]},"00280008":{"vr":"IS"},"00280010":{"vr":"US","Value":[512]},"00280011":{"vr":"US","Value":[512]},',
  '"00280030":{"vr":"DS","Value":[0.48828125]},"00280100":{"vr":"US","Value":[16]},"00280101":{"vr":"US","Value":[12]},"00280102":{"vr":"US","Value":[11]},"00280103":{"vr":"US","Value":[0]},',
  '"00281050":{"vr":"DS","Value":[40]},"00281051":{"vr":"DS","Value":[400]},"00281052":{"vr":"DS","Value":[-1024]},"00281053":{"vr":"DS","Value":[1]}},',
  '"pixels":{"kind":"native","tag":"7FE00010","vr":"OW","offset":,"length":524288,"frames":1,"frameLengthBits":4194304}}',
].join('');

/** Whatever is shortest. @param place the item's key, as it stands beside the bytes */
export function deflated(bytes: Buffer, place?: string): Uint8Array {
  if (bytes.length < DEFLATE_FROM_BYTES) return bytes;
  const shorter =
    place === undefined
      ? deflateRawSync(bytes, { level: 6 })
      : deflateRawSync(bytes, { level: 6, dictionary: dictionaryOf(place) });
  if (shorter.length + 1 >= bytes.length) return bytes;
  return Buffer.concat([Buffer.of(place === undefined ? DEFLATED : DEFLATED_WITH_KEY), shorter]);
}

/** What `deflated` was given. */
export function inflated(data: Uint8Array, place = ''): Buffer {
  if (data[0] === DEFLATED) return inflateRawSync(data.subarray(1));
  if (data[0] === DEFLATED_WITH_KEY) return inflateRawSync(data.subarray(1), { dictionary: dictionaryOf(place) });
  return Buffer.from(data.buffer, data.byteOffset, data.length);
}

const dictionaryOf = (place: string): Buffer => Buffer.from(WORDS + place);
