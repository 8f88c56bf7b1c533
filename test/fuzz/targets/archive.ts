import { type Answered, type ArchiveApp, createArchiveApp } from '#api/app.ts';
import { PacsError } from '#core/errors.ts';
import type { PixelEngine } from '#core/ports/pixel-engine.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';

/** Pixels are decoded by codecs of others, in threads of their own: here none can be. */
const noCodecs = new Proxy({} as PixelEngine, {
  get: () => () => {
    throw new PacsError('NOT_ACCEPTABLE', 'no codecs here');
  },
});

/** Inputs after which the archive is made anew, so that it stays small. */
const INPUTS = 3_000;

/** An archive in memory with a study in it, where everybody may do everything; what it says of itself as a defect is thrown. */
export class SmallArchive {
  #app: ArchiveApp | undefined;
  #inputs = 0;
  #failures: unknown[] = [];

  async #opened(): Promise<ArchiveApp> {
    if (this.#app !== undefined && ++this.#inputs < INPUTS) return this.#app;
    this.#inputs = 0;
    const services = memoryServices({ pixels: noCodecs });
    for (let n = 3; n < 6; n++) await store(services, buildDicom({ SOPInstanceUID: uid(n), InstanceNumber: n }));
    this.#app = createArchiveApp({
      services,
      tokens: new TokenStore(services),
      everybody: { tenant: 'clinic', subject: 'local', roles: ['admin'] },
      corsOrigins: [],
      tenant: 'clinic',
      onFailure: (error, route) => this.#failures.push({ error, route }),
    });
    return this.#app;
  }

  async answer(request: HttpRequest): Promise<Answered> {
    const app = await this.#opened();
    const answered = await app.answer(request);
    return answered ?? { response: { status: 404, headers: {} }, route: undefined };
  }

  /** @throws the first defect since the last call */
  check(): void {
    const [first] = this.#failures.splice(0) as { error: PacsError; route: string | undefined }[];
    if (first !== undefined && first.error.code === 'INTERNAL')
      throw new Error(`a defect in ${first.route}`, { cause: first.error.cause ?? first.error });
  }
}
