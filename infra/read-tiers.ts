import { DEFAULT_FIRST_STEP_DAYS, LIFECYCLE_TAG } from '#adapters/aws/schema.ts';
import { SectionReader } from './section-reader.ts';
import { SettingsError, type Tier, type TieringStep, type TierStep } from './settings.ts';

/** Intelligent-Tiering moves what nobody has touched for this long to its infrequent class. */
const INTELLIGENT_TIERING_IDLE_DAYS = 30;

/**
 * A lifecycle rule knows an object's age, not its last access; Intelligent-Tiering knows the access. In it from the 60th day, an object
 * moves to infrequent access once 30 days have passed without one, so on the 90th at the earliest, and to instant archive after 90.
 * Classes that must be restored before they can be read are for objects that carry the tag.
 */
const DEFAULT_TIERS: readonly Tier[] = [
  {
    policy: 'default',
    steps: [
      { storageClass: 'INTELLIGENT_TIERING', afterDays: DEFAULT_FIRST_STEP_DAYS - INTELLIGENT_TIERING_IDLE_DAYS },
    ],
  },
  { policy: LIFECYCLE_TAG.deep, steps: [{ storageClass: 'DEEP_ARCHIVE', afterDays: DEFAULT_FIRST_STEP_DAYS }] },
];

/** From least to most settled: an object moves forward only. */
const CLASSES = ['STANDARD_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR', 'DEEP_ARCHIVE'] as const;

/** The lifecycle rules of the bucket, `tiers` of the settings: without any, the default ones. */
export function readTiers(raw: readonly unknown[] | undefined): readonly Tier[] {
  if (raw === undefined) return DEFAULT_TIERS;
  const tiers = raw.map((one, index) => {
    const at = new SectionReader(`nephos.tiers[${index}]`, one);
    const steps = (at.list('steps') ?? []).map((step, number) =>
      readStep(new SectionReader(`nephos.tiers[${index}].steps[${number}]`, step)),
    );
    const tier = { policy: at.text('policy', /^[a-z0-9-]{1,64}$/), steps };
    at.end();
    const backwards = steps.some((step, number) => {
      const before = steps[number - 1];
      return (
        before !== undefined &&
        (CLASSES.indexOf(step.storageClass) <= CLASSES.indexOf(before.storageClass) ||
          step.afterDays <= before.afterDays)
      );
    });
    if (backwards)
      throw new SettingsError(`nephos.tiers[${index}].steps: each step is later and colder than the one before`);
    return tier;
  });
  if (new Set(tiers.map(({ policy }) => policy)).size < tiers.length)
    throw new SettingsError('nephos.tiers: a policy stands twice');
  return tiers;
}

function readStep(at: SectionReader): TierStep {
  const storageClass = at.oneOf('storageClass', CLASSES);
  // S3 refuses a transition to Standard-IA before the 30th day.
  const step = { storageClass, afterDays: at.number('afterDays', storageClass === 'STANDARD_IA' ? 30 : 0, 36_500) };
  at.end();
  return step;
}

/**
 * The archive's own steps by last access, `tiering` of the settings. Objects are tagged for rules that are there: what no rule looks at would
 * never move.
 */
export function readTiering(raw: readonly unknown[] = [], tiers: readonly Tier[]): readonly TieringStep[] {
  const policies = tiers.map(({ policy }) => policy).filter((policy) => policy !== 'default');
  const steps = raw.map((one, index) => {
    const at = new SectionReader(`nephos.tiering[${index}]`, one);
    const step = {
      policy: at.oneOf('policy', policies),
      idleDays: at.number('idleDays', 1, 36_500),
      studyAgeDays: at.optionalNumber('studyAgeDays', 0, 36_500) ?? 0,
    };
    at.end();
    return step;
  });
  if (new Set(steps.map(({ policy }) => policy)).size < steps.length)
    throw new SettingsError('nephos.tiering: a policy stands twice');
  return steps;
}
