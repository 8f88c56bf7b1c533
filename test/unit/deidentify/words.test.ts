import { expect, test } from 'vitest';
import { REFUSALS } from '#core/deidentify/judge.ts';
import { DATE_POLICIES, PROFILE_FLAGS } from '#core/deidentify/profile.ts';
import { DATE_WORDS, OPTION_WORDS, REFUSAL_WORDS } from '../../../web/src/pages/deidentify-words.ts';

test('the console has words for every option and every refusal', () => {
  expect(Object.keys(REFUSAL_WORDS).sort()).toEqual(Object.keys(REFUSALS).sort());
  expect(Object.keys(DATE_WORDS).sort()).toEqual([...DATE_POLICIES].sort());
  // Copies in the archive never have the UIDs of their originals.
  const offered = PROFILE_FLAGS.filter((name) => name !== 'retainUIDs');
  expect(Object.keys(OPTION_WORDS).sort()).toEqual([...offered].sort());
});
