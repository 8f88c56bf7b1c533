import { expect, test } from 'vitest';
import { localPath } from '#api/login.ts';

test.each([
  '/.//elsewhere.test/',
  '/viewer/..//elsewhere.test',
  '/%2e//elsewhere.test',
  '/./%2E/..//elsewhere.test/?a=b',
])(
  'a return address that becomes one of another host when it is taken apart leads to the first page: %s',
  (address) => {
    const path = localPath(address, 'https://pacs.test');
    expect(new URL(path, 'https://pacs.test').origin).toBe('https://pacs.test');
    expect(path).toBe('/');
  },
);

test('one of a page of ours is kept', () => {
  expect(localPath('/viewer?StudyInstanceUIDs=1.2', 'https://pacs.test')).toBe('/viewer?StudyInstanceUIDs=1.2');
  expect(localPath('/a/../studies', 'https://pacs.test')).toBe('/studies');
});
