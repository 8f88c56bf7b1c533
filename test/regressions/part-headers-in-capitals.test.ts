import { expect, test } from 'vitest';
import { writeMultipart } from '#dicomweb/multipart-writer.ts';

// OHIF drew nothing of a JPEG ultrasound: its image loader looks for `Content-Type:` by these letters, and took the frame,
// whose type it did not find, for uncompressed pixels.
test('the headers of a part are written with capitals', async () => {
  const part = {
    headers: { 'content-type': 'image/jpeg', 'content-location': 'http://host/frames/1' },
    body: Buffer.from('x'),
  };
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeMultipart([part], 'b')) chunks.push(chunk);
  expect(Buffer.concat(chunks).toString('latin1')).toBe(
    '--b\r\nContent-Type: image/jpeg\r\nContent-Location: http://host/frames/1\r\n\r\nx\r\n--b--\r\n',
  );
});
