import type { RemoteEntity } from '#dimse/scu.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { until } from './clinic.ts';
import { type CommitmentReport, reportIn, requestCommitment, startWorkstation, type Workstation } from './read-site.ts';

/** As startWorkstation listens. */
const AE_TITLE = 'WS';
/** Of TransactionUIDs, which no other test's are among. */
const FIRST_TRANSACTION = 50_000_000;

/** A modality that asks for storage commitment over an association of its own, and hears the answers over one that the gateway asks for. */
export class Promises {
  readonly #workstation: Workstation;
  readonly #asked = new Map<string, readonly string[]>();
  #count = 0;

  private constructor(workstation: Workstation) {
    this.#workstation = workstation;
  }

  static async listen(): Promise<Promises> {
    return new Promises(await startWorkstation());
  }

  /** For `moveDestinations` of the gateway's configuration: where answers go. */
  get destination(): { aeTitle: string; host: string; port: number } {
    return { aeTitle: AE_TITLE, host: '127.0.0.1', port: this.#workstation.port };
  }

  /** Answers so far. One may come twice: whoever was killed after it was given does not know that it was. */
  get reports(): CommitmentReport[] {
    return this.#workstation.reports.map(reportIn);
  }

  /** Whether the gateway has taken the request: then it owes an answer, whatever happens to it. @throws AssociationError */
  async ask(remote: RemoteEntity, sops: readonly string[]): Promise<string | undefined> {
    const transaction = uid(FIRST_TRANSACTION + ++this.#count);
    if ((await requestCommitment({ remote }, transaction, sops)) !== 0) return undefined;
    this.#asked.set(transaction, sops);
    return transaction;
  }

  /** The answer to one request. */
  async answer(transaction: string, limitMs = 60_000): Promise<CommitmentReport> {
    const find = () => this.reports.find(({ TransactionUID }) => TransactionUID === transaction);
    return (await until(find, (report) => report !== undefined, limitMs))!;
  }

  /** Resolves when no answer is owed any more. */
  async allAnswered(limitMs: number): Promise<void> {
    const open = (): string[] => {
      const answered = new Set(this.reports.map(({ TransactionUID }) => TransactionUID));
      return [...this.#asked.keys()].filter((transaction) => !answered.has(transaction));
    };
    await until(open, (left) => left.length === 0, limitMs);
  }

  close(): Promise<void> {
    return this.#workstation.close();
  }
}
