import type { Action, Principal, Reach } from '../access.ts';
import { type Delta, keys, type StudyRecord, type Tenant } from '../archive/records.ts';
import { asRecord, type IndexTable, type ReadMeter } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type AccessPolicy, accessPolicy, grantedReach, NO_POLICY } from './policy.ts';
import {
  concernsPatient,
  factsOfDelta,
  factsOfNothing,
  factsOfRecord,
  isDeidentifiedDelta,
  meetsAny,
  type StudyFacts,
} from './rules.ts';

/** Whoever stores, vouches or reports writes and is shown nothing: a restriction must not keep images from coming in. */
const UNRESTRICTED: ReadonlySet<Action> = new Set<Action>(['store', 'commit', 'performProcedure']);

/** deltas of a study that are looked at; a study has more only while a writer lies dead, and then is judged by these */
const DELTAS = 100;
/** verdicts that one request remembers */
const VERDICTS = 10_000;

/** The part of what is granted that can be kept in a record: for work that is done later in somebody's name. */
export interface KeptReach {
  readonly own?: Reach | undefined;
  readonly granted?: Reach | undefined;
}

/**
 * Which studies one principal reaches for one action, as it is laid down at this moment. A request opens one and asks it of every study.
 * A verdict older than `limits.reachStaleMs` is found anew, so that what lasts (a stream of events, a long download) follows changes.
 */
export class StudyReach {
  readonly tenant: Tenant;
  readonly #services: Pick<Services, 'index' | 'clock' | 'limits'>;
  readonly #principal: Principal;
  readonly #action: Action;
  #policy: AccessPolicy;
  #granted: 'all' | Reach;
  #openedAt: number;
  #wanted: 'reached' | 'restricted' = 'reached';
  readonly #verdicts = new Map<string, boolean>();

  private constructor(
    services: Pick<Services, 'index' | 'clock' | 'limits'>,
    principal: Principal,
    action: Action,
    policy: AccessPolicy,
    granted = grantedReach(policy, principal, action),
  ) {
    this.tenant = principal.tenant;
    this.#services = services;
    this.#principal = principal;
    this.#action = action;
    this.#policy = policy;
    this.#granted = granted;
    this.#openedAt = services.clock.now();
  }

  /** undefined: every study of the tenant. */
  static async open(
    services: Pick<Services, 'index' | 'clock' | 'limits'>,
    principal: Principal,
    action: Action,
  ): Promise<StudyReach | undefined> {
    const reach = new StudyReach(services, principal, action, await accessPolicy(services, principal.tenant));
    return reach.#isWhole ? undefined : reach;
  }

  /** Of work that was kept for later. */
  static kept(
    services: Pick<Services, 'index' | 'clock' | 'limits'>,
    tenant: Tenant,
    { own, granted }: KeptReach,
    action: Action,
  ): StudyReach | undefined {
    const principal: Principal = { tenant, subject: '', roles: [], reach: own };
    const reach = new StudyReach(services, principal, action, NO_POLICY, granted ?? 'all');
    return reach.#isWhole ? undefined : reach;
  }

  get #isWhole(): boolean {
    return this.#principal.reach === undefined && this.#granted === 'all' && this.#restrictions.length === 0;
  }

  get #restrictions(): AccessPolicy['restrictions'] {
    return UNRESTRICTED.has(this.#action) ? [] : this.#policy.restrictions;
  }

  /** What was granted, to be kept with work that is done later. */
  keep(): KeptReach {
    const { reach: own } = this.#principal;
    return { ...(own && { own }), ...(this.#granted !== 'all' && { granted: this.#granted }) };
  }

  /** Rules one of which every study in reach meets, for a search to start from; undefined: there are none (restrictions alone, emergencies). */
  get narrowest(): Reach | undefined {
    const { reach: own } = this.#principal;
    if (own !== undefined) return own;
    if (this.#granted === 'all') return undefined;
    return [
      ...this.#granted,
      ...this.#emergencies().map(({ StudyInstanceUID }) =>
        StudyInstanceUID === undefined ? {} : { studies: [StudyInstanceUID] },
      ),
    ];
  }

  /** Patients whose studies are all that is hidden; undefined where rules hide others too. */
  get hiddenPatients(): AccessPolicy['restrictions'][number]['patient'][] | undefined {
    if (this.#principal.reach !== undefined || this.#granted !== 'all' || this.#wanted !== 'reached') return undefined;
    return this.#restrictions.filter((one) => this.#isKeptOut(one)).map(({ patient }) => patient);
  }

  /** The same reach turned around: studies that only a restriction keeps from whoever asks. */
  restrictedOnly(): StudyReach {
    const turned = new StudyReach(this.#services, this.#principal, this.#action, this.#policy, this.#granted);
    turned.#wanted = 'restricted';
    return turned;
  }

  /** Whether a study of which this is known is in reach. */
  admits(facts: StudyFacts): boolean {
    return this.judge(facts) === this.#wanted;
  }

  /** Whether the console may show that there are studies under a restriction. */
  get showsRestricted(): boolean {
    return this.#policy.head.showRestricted;
  }

  /** `restricted`: within reach, were its patient not under a restriction. */
  judge(facts: StudyFacts): 'reached' | 'restricted' | 'beyond' {
    const { reach: own } = this.#principal;
    if (own !== undefined && !meetsAny(own, facts)) return 'beyond';
    if (this.#emergencies().some((emergency) => isOf(emergency, facts))) return 'reached';
    if (this.#granted !== 'all' && !meetsAny(this.#granted, facts)) return 'beyond';
    return this.#isRestricted(facts) ? 'restricted' : 'reached';
  }

  #isRestricted(facts: StudyFacts): boolean {
    return this.#restrictions.some((one) => concernsPatient(one.patient, facts) && this.#isKeptOut(one));
  }

  #isKeptOut({ subjects, roles }: AccessPolicy['restrictions'][number]): boolean {
    return !subjects.includes(this.#principal.subject) && !roles.some((role) => this.#principal.roles.includes(role));
  }

  #emergencies() {
    const now = this.#services.clock.now();
    const { subject } = this.#principal;
    return this.#policy.emergencies.filter(
      (emergency) => emergency.subject === subject && emergency.until > now && emergency.revokedAt === undefined,
    );
  }

  /**
   * Whether a study is in reach, by its record and what is not folded into it yet. Asked after something of the study was read, the verdict
   * holds for what was read: an instance and its delta become visible in one write.
   */
  async admitsStudy(study: string, meter?: ReadMeter): Promise<boolean> {
    await this.#refresh();
    const known = this.#verdicts.get(study);
    if (known !== undefined) return known;
    const { index } = this.#services;
    const all = await knownFacts(index, this.tenant, study, meter);
    const verdict = all.length === 0 ? this.admits(factsOfNothing(study)) : all.every((facts) => this.admits(facts));
    // What all instances must say can change with each: such a verdict holds for one reading.
    if (this.#verdicts.size < VERDICTS && !this.#dependsOnAll) this.#verdicts.set(study, verdict);
    return verdict;
  }

  /** Whether something may be added: to its study as it is, or as the first of a study that is not there yet. */
  async admitsAddition(facts: StudyFacts): Promise<boolean> {
    await this.#refresh();
    const there = await knownFacts(this.#services.index, this.tenant, facts.StudyInstanceUID);
    if (there.length === 0) return this.admits(facts);
    return there.every((one) => this.admits({ ...one, deidentified: one.deidentified && facts.deidentified }));
  }

  get #dependsOnAll(): boolean {
    const rules = [...(this.#principal.reach ?? []), ...(this.#granted === 'all' ? [] : this.#granted)];
    return rules.some(({ deidentified }) => deidentified !== undefined);
  }

  async #refresh(): Promise<void> {
    const { clock, limits } = this.#services;
    if (clock.now() - this.#openedAt < limits.reachStaleMs) return;
    this.#openedAt = clock.now();
    this.#verdicts.clear();
    // Kept for later is what somebody reached; who he is, and so what he may do by now, is not.
    if (this.#principal.roles.length === 0) return;
    this.#policy = await accessPolicy(this.#services, this.tenant);
    this.#granted = grantedReach(this.#policy, this.#principal, this.#action);
  }
}

const isOf = ({ StudyInstanceUID, patient }: AccessPolicy['emergencies'][number], facts: StudyFacts): boolean =>
  StudyInstanceUID !== undefined
    ? StudyInstanceUID === facts.StudyInstanceUID
    : patient !== undefined && concernsPatient(patient, facts);

/** What is known of a study, to be judged one by one: its record, with what its deltas will make of it; nothing where it is not there. */
async function knownFacts(
  index: IndexTable,
  tenant: Tenant,
  study: string,
  meter?: ReadMeter,
): Promise<readonly StudyFacts[]> {
  const { partition } = keys.study(tenant, study);
  // The deltas first: what is folded between the two reads is in the record.
  const page = await index.query({ partition, prefix: 'delta|', limit: DELTAS }, meter);
  const item = await index.get(keys.study(tenant, study), meter);
  const record = asRecord<StudyRecord>(item);
  const deltas = page.records.map(({ item: delta }) => asRecord<Delta>(delta)).filter(({ instances }) => instances > 0);
  const folded = record && record.instanceCount > 0 ? factsOfRecord(record) : undefined;
  const [first] = deltas;
  if (folded === undefined && first === undefined) return [];
  const base = folded ?? factsOfDelta(study, first!);
  // Of deltas that were not looked at nobody knows whether they are.
  const deidentified = !page.more && (folded?.deidentified ?? true) && deltas.every(isDeidentifiedDelta);
  const modalities = [...new Set([...base.modalities, ...deltas.map(({ modality }) => modality)])];
  const sites = [...new Set([...base.sites, ...deltas.flatMap(({ sites }) => Object.keys(sites ?? {}))])];
  const merged = { ...base, modalities, sites, deidentified };
  // A correction brings other attributes: until it is folded both must be in reach.
  const corrections = deltas.filter(({ overwrite }) => overwrite);
  return [
    merged,
    ...corrections.map((delta) => ({ ...merged, ...factsOfDelta(study, delta), modalities, sites, deidentified })),
  ];
}
