import type { GrantableRole } from '../api/tokens.ts';
import { CheckList } from '../components/check-list.tsx';
import { ACTION_WORDS, ROLE_WORDS, wordFor } from './words.ts';

interface Props {
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly chosen: readonly string[];
  readonly onChoose: (chosen: readonly string[]) => void;
}

/** Which roles somebody is given, each with what it permits. */
export function RolesField({ roles, chosen, onChoose }: Props) {
  const options = roles.map(({ role, permits }) => ({
    value: role,
    word: wordFor(ROLE_WORDS, role),
    hint: inWords(permits),
  }));
  return <CheckList legend="Roles" options={options} chosen={chosen} onChoose={onChoose} />;
}

/** @throws Error with words for whoever chose no role */
export function atLeastOne(roles: readonly string[]): void {
  if (roles.length === 0) throw new Error('Choose at least one role.');
}

/** What somebody with the role can do; what people do comes before what machines do. */
function inWords(permits: readonly string[]): string {
  const known = Object.keys(ACTION_WORDS);
  if (known.every((action) => permits.includes(action))) return 'everything';
  const place = (action: string) => (known.includes(action) ? known.indexOf(action) : known.length);
  return [...permits]
    .sort((a, b) => place(a) - place(b))
    .map((action) => wordFor(ACTION_WORDS, action))
    .join(', ');
}
