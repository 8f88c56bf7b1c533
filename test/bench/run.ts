import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { measureDimse } from './dimse.ts';
import { measureIngest } from './ingest.ts';
import { measureLarge } from './large.ts';
import { Results } from './results.ts';
import { measureRetrieve } from './retrieve.ts';
import { measureSearch } from './search.ts';
import { type TargetName, withTargets } from './targets.ts';

const USAGE = `npm run bench -- [options]
  --only ingest,search,retrieve,large,dimse   some of the suites
  --targets nephos,orthanc12,orthanc10,nginx
  --rounds N        alternating rounds (3)
  --sizes 1k,10k,100k   studies in the archive for the search suite
  --peers-100k      load the Orthancs as far as Nephos too (an hour and more); else up to 10k, with earlier figures in brackets
  --quick           a smoke of at most three minutes: one round, small data
  --json FILE       all single values
  --docs            write the table into docs/benchmarks.md`;

const SUITES = ['ingest', 'search', 'retrieve', 'large', 'dimse'] as const;
const TARGETS: readonly TargetName[] = ['nephos', 'orthanc12', 'orthanc10', 'nginx'];

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    targets: { type: 'string' },
    rounds: { type: 'string' },
    sizes: { type: 'string' },
    'peers-100k': { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    docs: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}

const { quick } = options;
const suites = chosen(options.only, SUITES);
const targets = chosen(options.targets, TARGETS);
const rounds = Number(options.rounds ?? (quick ? 1 : 3));
const sizes = (options.sizes ?? (quick ? '1k' : '1k,10k,100k'))
  .split(',')
  .map((size) => Number(size.replace(/k$/, '000')));
const archives = targets.filter((name) => name !== 'nginx');
const results = new Results();
const startedAt = performance.now();
/** until V8 has compiled what is used most, a slice costs twice as much */
const warmUpSlices = quick ? 120 : 4000;

for (const suite of suites) {
  console.log(`${suite} (${Math.round((performance.now() - startedAt) / 1000)} s)`);
  if (suite === 'ingest') {
    await withTargets(targets, (running) =>
      measureIngest(running, results, { rounds, slices: quick ? 60 : 200, warmUpSlices }),
    );
  } else if (suite === 'search') {
    const peerLimit = options['peers-100k'] ? Number.POSITIVE_INFINITY : 10_000;
    await withTargets(archives, (running) =>
      measureSearch(running, results, { restMs: quick ? 6_000 : 180_000, sizes, rounds, peerLimit }),
    );
  } else if (suite === 'retrieve') {
    const effort = quick
      ? { wrkSeconds: 1, warmUpSeconds: 1, warmUpSeries: 2, repeats: 15 }
      : { wrkSeconds: 3, warmUpSeconds: 8, warmUpSeries: 20, repeats: 40 };
    await withTargets(targets, (running) => measureRetrieve(running, results, { rounds, slices: 200, ...effort }));
  } else if (suite === 'dimse') {
    const effort = {
      rounds,
      slices: quick ? 60 : 200,
      smallObjects: quick ? 300 : 5000,
      queries: quick ? 60 : 300,
      warmUpObjects: warmUpSlices,
    };
    const limit = targets.includes('nginx');
    await withTargets(archives, (running, destination) =>
      measureDimse(running, destination, results, { ...effort, limit }),
    );
  } else {
    await withTargets(archives, (running) => measureLarge(running, results, quick ? 191 : 954));
  }
}

const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const took = Math.round((performance.now() - startedAt) / 1000);
const date = new Date().toISOString().slice(0, 10);
const head = `Measured on ${date} at commit ${commit}, on ${machine}; ${rounds} rounds; the run took ${took} s. Medians [min–max].`;
const notes = results.notes.map((note) => `- ${note}`).join('\n');
const table = results.toMarkdown();
console.log(`\n${head}\n\n${table}\n${notes === '' ? '' : `\nWrong or failed answers in this run:\n\n${notes}\n`}`);

if (options.json !== undefined)
  writeFileSync(options.json, JSON.stringify({ date, commit, machine, rounds, results: results.toJSON() }, null, 1));
if (options.docs) {
  const file = new URL('../../docs/benchmarks.md', import.meta.url);
  const [before, after] = splitAround(readFileSync(file, 'utf8'), '<!-- results -->', '<!-- /results -->');
  writeFileSync(
    file,
    `${before}\n${head}\n\n${table}\n${notes === '' ? '' : `\nWrong or failed answers in this run:\n\n${notes}\n`}${after}`,
  );
}

function chosen<T extends string>(list: string | undefined, from: readonly T[]): T[] {
  const names = list?.split(',') ?? from;
  const unknown = names.filter((name) => !(from as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}\n${USAGE}`);
  return from.filter((name) => names.includes(name));
}

function splitAround(text: string, open: string, close: string): [string, string] {
  const start = text.indexOf(open);
  const end = text.indexOf(close);
  if (start < 0 || end < start) throw new Error(`docs/benchmarks.md lacks ${open} … ${close}`);
  return [text.slice(0, start + open.length), text.slice(end)];
}
