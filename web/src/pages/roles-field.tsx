import type { GrantableRole } from '../api/tokens.ts';
import { ACTION_WORDS, ROLE_WORDS, wordFor } from './words.ts';

interface Props {
  /** those that may be given */
  readonly roles: readonly GrantableRole[];
  readonly chosen: readonly string[];
  readonly onChoose: (chosen: readonly string[]) => void;
}

/** Which roles somebody is given, each with what it permits. */
export function RolesField({ roles, chosen, onChoose }: Props) {
  return (
    <fieldset class="field roles">
      <legend>Roles</legend>
      {roles.map(({ role, permits }) => (
        <label key={role}>
          <input
            type="checkbox"
            checked={chosen.includes(role)}
            onChange={(event) =>
              onChoose(event.currentTarget.checked ? [...chosen, role] : chosen.filter((one) => one !== role))
            }
          />
          <span>
            {wordFor(ROLE_WORDS, role)}
            <span class="hint">{inWords(permits)}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
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
