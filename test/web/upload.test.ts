import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { fromInput } from '../../web/src/upload/collect.ts';
import { parseAnswer } from '../../web/src/upload/stow.ts';
import { listZip } from '../../web/src/upload/zip.ts';

const text = (words: string) => new TextEncoder().encode(words);

describe('a zip is read in place', () => {
  test('stored and deflated entries, folders left out', async () => {
    const long = 'lung window '.repeat(5_000);
    const zip = new Blob([
      zipSync({
        'CD/': new Uint8Array(),
        'CD/IM1': [text(long), { level: 9 }],
        'CD/ü.dcm': [text('two'), { level: 0 }],
      }),
    ]);
    const entries = await listZip(zip);
    expect(entries.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['CD/IM1', long.length],
      ['CD/ü.dcm', 3],
    ]);
    expect(await (await entries[0]!.open()).text()).toBe(long);
    expect(await (await entries[1]!.open()).text()).toBe('two');
    // again, as a retry does
    expect(await (await entries[1]!.open()).text()).toBe('two');
  });

  test('a comment at the end does not hide the directory', async () => {
    const bytes = zipSync({ a: text('one') });
    const comment = text('burned by the radiology desk');
    new DataView(bytes.buffer).setUint16(bytes.length - 2, comment.length, true);
    expect(await listZip(new Blob([bytes, comment]))).toHaveLength(1);
  });

  test('what is no zip, or cut, says so', async () => {
    await expect(listZip(new Blob(['hello']))).rejects.toThrow(/not a zip/);
    await expect(listZip(new Blob([]))).rejects.toThrow(/not a zip/);
    const bytes = zipSync({ a: text('one') });
    await expect(listZip(new Blob([bytes.slice(0, bytes.length - 10)]))).rejects.toThrow(/not a zip/);
  });

  test('a damaged entry fails alone', async () => {
    const bytes = zipSync({ bad: [text('x'.repeat(1_000)), { level: 9 }], good: text('fine') });
    bytes.fill(0xff, 34, 40);
    const [bad, good] = await listZip(new Blob([bytes]));
    await expect(bad!.open()).rejects.toThrow(/damaged/);
    expect(await (await good!.open()).text()).toBe('fine');
  });

  test('an encrypted entry is refused', async () => {
    const bytes = zipSync({ a: text('one') });
    const directory = bytes.findIndex((_, at) => bytes[at] === 0x50 && bytes[at + 1] === 0x4b && bytes[at + 2] === 1);
    bytes[directory + 8]! |= 1;
    const [entry] = await listZip(new Blob([bytes]));
    await expect(entry!.open()).rejects.toThrow(/encrypted/);
  });
});

describe('what is dropped', () => {
  test('zips are opened, housekeeping files left out', async () => {
    const zip = zipSync({ 'DICOM/IM1': text('a'), '__MACOSX/DICOM/._IM1': text('b'), '.DS_Store': text('c') });
    const files = [
      new File(['x'], 'IM0'),
      new File([zip], 'cd.ZIP'),
      new File(['y'], 'Thumbs.db'),
      new File(['no zip'], 'broken.zip'),
    ];
    const names: string[] = [];
    for await (const { name } of fromInput(files)) names.push(name);
    expect(names).toEqual(['IM0', 'cd.ZIP › DICOM/IM1', 'broken.zip']);
  });
});

describe('the answer of the archive', () => {
  const failed = (uid: string, code: number, comment?: string) => ({
    '00081155': { vr: 'UI', Value: [uid] },
    '00081197': { vr: 'US', Value: [code] },
    ...(comment && { '00741048': { vr: 'SQ', Value: [{ '00000902': { vr: 'LO', Value: [comment] } }] } }),
  });

  test('each instance has its outcome', () => {
    const answer = parseAnswer(
      JSON.stringify({
        '00081199': {
          vr: 'SQ',
          Value: [
            {
              '00081155': { vr: 'UI', Value: ['1.1'] },
              '00081190': { vr: 'UR', Value: ['http://x/dicomweb/studies/7.8/series/9/instances/1.1'] },
            },
          ],
        },
        '00081198': {
          vr: 'SQ',
          Value: [
            failed('1.2', 0x0110, 'held in quarantine: otherPixels'),
            failed('1.3', 0xc000),
            failed('1.4', 0xa700),
            failed('1.5', 0x1234),
          ],
        },
        '0008119A': { vr: 'SQ', Value: [{ '00081197': { vr: 'US', Value: [0xc000] } }] },
      }),
    );
    expect(answer?.bySOPInstanceUID.get('1.1')).toEqual({ kind: 'stored', StudyInstanceUID: '7.8' });
    expect(answer?.bySOPInstanceUID.get('1.2')).toEqual({ kind: 'held' });
    expect(answer?.bySOPInstanceUID.get('1.3')).toMatchObject({
      kind: 'refused',
      mayRetry: false,
      reason: expect.stringContaining('C000'),
    });
    expect(answer?.bySOPInstanceUID.get('1.4')).toMatchObject({ kind: 'refused', mayRetry: true });
    expect(answer?.bySOPInstanceUID.get('1.5')).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('1234'),
    });
    expect(answer?.nameless).toHaveLength(1);
  });

  test('an internal error under the code of a conflict is no conflict', () => {
    const answer = parseAnswer(
      JSON.stringify({ '00081198': { vr: 'SQ', Value: [failed('1.2', 0x0110, 'internal error')] } }),
    );
    expect(answer?.bySOPInstanceUID.get('1.2')).toMatchObject({ kind: 'refused', mayRetry: true });
  });

  test('what is no store response is none', () => {
    expect(parseAnswer('<html>')).toBeUndefined();
    expect(parseAnswer('{"message":"conflict"}')).toBeUndefined();
  });
});
