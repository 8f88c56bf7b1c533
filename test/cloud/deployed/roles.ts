import { describe, expect, test } from 'vitest';
import { regionOf, SECOND_REGION, STAGE } from '../helpers/deployment.ts';
import { WRONG_BUCKET, WRONG_TABLE } from '../helpers/drills.ts';
import { allows, concerns, roleOf } from '../helpers/policy.ts';
import unusedGrants from '../unused-grants.json' with { type: 'json' };
import type { DeployedSuite } from './suite.ts';

/** Each call that the functions made while the other suites ran, against the role of the function in its template; so it runs last. */
export function rolesSuite({ deployed }: DeployedSuite): void {
  const functions = (stacks: (stack: string) => boolean = () => true) =>
    [...deployed().templates]
      .filter(([stack]) => stacks(stack))
      .flatMap(([stack, template]) =>
        Object.entries(template.Resources)
          .filter(
            ([, { Type, Properties }]) =>
              Type === 'AWS::Lambda::Function' && typeof Properties.FunctionName === 'string',
          )
          .map(([id, { Properties }]) => {
            const name = String(Properties.FunctionName);
            const { asked, unknown } = deployed().recorders.get(`${stack}/${name}`)!;
            return {
              name: name.replace(`nephos-${STAGE}-`, ''),
              role: roleOf(template, id, regionOf(stack), deployed().resolve),
              asked: [...asked].map((line): [action: string, resource: string] => {
                const at = line.indexOf(' ');
                return [line.slice(0, at), line.slice(at + 1)];
              }),
              unknown: [...unknown],
            };
          }),
      );

  /** `function statement action`, of the functions of the first region. */
  const granted = () =>
    functions((stack) => regionOf(stack) !== SECOND_REGION).flatMap(({ name, role, asked }) =>
      role.flatMap((statement) =>
        statement.actions.map((action) => ({
          grant: `${name} ${statement.sid} ${action}`,
          used: asked.some(([other, resource]) => other === action && concerns(statement, resource)),
        })),
      ),
    );

  describe('every call of the functions to AWS', () => {
    test('is understood, and allowed by the role of the function that made it', () => {
      const seen = functions();
      expect(seen.flatMap(({ name, unknown }) => unknown.map((call) => `${name} ${call}`))).toEqual([]);
      const refused = seen.flatMap(({ name, role, asked }) =>
        asked
          .filter(([action, resource]) => allows(role, action, resource) === undefined)
          .map((call) => `${name} ${call.join(' ')}`),
      );
      expect(refused.filter((call) => !call.includes(WRONG_BUCKET) && !call.includes(WRONG_TABLE))).toEqual([]);
      expect(refused).not.toEqual([]);
      // Every function was at work, and says so by what it asked for.
      expect(seen.filter(({ asked }) => asked.length > 0).map(({ name }) => name)).toEqual(
        expect.arrayContaining([...new Set(seen.map(({ name }) => name))]),
      );
    });

    test('accounts for what the roles of the first region grant, but for a list with reasons', () => {
      const all = granted();
      const listed = unusedGrants.flatMap(({ functions: names, statement, actions }) =>
        (names[0] === '*' ? [...new Set(all.map(({ grant }) => grant.split(' ')[0]))] : names).flatMap((name) =>
          actions.map((action) => `${name} ${statement} ${action}`),
        ),
      );
      const unused = all.filter(({ used }) => !used).map(({ grant }) => grant);
      expect(unused.filter((grant) => !listed.includes(grant)).sort()).toEqual([]);
      const grants = new Set(all.map(({ grant }) => grant));
      // A reason for what is not granted speaks of nothing.
      const empty = unusedGrants.filter(
        ({ functions: names, statement, actions }) =>
          !actions.every((action) =>
            names[0] === '*'
              ? [...grants].some((grant) => grant.endsWith(` ${statement} ${action}`))
              : names.every((name) => grants.has(`${name} ${statement} ${action}`)),
          ),
      );
      expect(empty).toEqual([]);
    });
  });
}
