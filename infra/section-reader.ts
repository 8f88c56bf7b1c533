import { SettingsError } from './settings.ts';

type Raw = Readonly<Record<string, unknown>>;

/** Takes known keys from an object; `end` refuses the others, so that a misspelt key is not silently a default. */
export class SectionReader {
  readonly #path: string;
  readonly #raw: Raw;
  readonly #known = new Set<string>();

  constructor(path: string, raw: unknown) {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
      throw new SettingsError(`${path}: must be an object`);
    this.#path = path;
    this.#raw = raw as Raw;
  }

  #take(key: string): unknown {
    this.#known.add(key);
    return this.#raw[key] ?? undefined;
  }

  text(key: string, pattern: RegExp, fallback?: string): string {
    const value = this.#take(key) ?? fallback;
    if (value === undefined) throw new SettingsError(`${this.#path}.${key}: is missing`);
    if (typeof value !== 'string' || !pattern.test(value))
      throw new SettingsError(`${this.#path}.${key}: ${JSON.stringify(value)} does not match ${pattern.source}`);
    return value;
  }

  optionalText(key: string, pattern: RegExp): string | undefined {
    return this.#take(key) === undefined ? undefined : this.text(key, pattern);
  }

  texts(key: string, pattern: RegExp): readonly string[] {
    const list = this.list(key) ?? [];
    for (const one of list) {
      if (typeof one !== 'string' || !pattern.test(one))
        throw new SettingsError(`${this.#path}.${key}: ${JSON.stringify(one)} does not match ${pattern.source}`);
    }
    return list as readonly string[];
  }

  number(key: string, least: number, most: number, fallback?: number): number {
    const value = this.#take(key) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
      throw new SettingsError(`${this.#path}.${key}: must be a whole number from ${least} to ${most}`);
    return value;
  }

  optionalNumber(key: string, least: number, most: number): number | undefined {
    return this.#take(key) === undefined ? undefined : this.number(key, least, most);
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#take(key) ?? fallback;
    if (typeof value !== 'boolean') throw new SettingsError(`${this.#path}.${key}: must be true or false`);
    return value;
  }

  oneOf<T extends string>(key: string, allowed: readonly T[], fallback?: T): T {
    const value = this.#take(key) ?? fallback;
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) throw new SettingsError(`${this.#path}.${key}: must be one of ${allowed.join(', ')}`);
    return found;
  }

  list(key: string): readonly unknown[] | undefined {
    const value = this.#take(key);
    if (value !== undefined && !Array.isArray(value)) throw new SettingsError(`${this.#path}.${key}: must be a list`);
    return value;
  }

  /** a part that may be given, switched off by `false`, or on with its defaults by `true` */
  section<T>(key: string, read: (at: SectionReader) => T, fallback?: Raw): T | undefined {
    const given = this.#take(key);
    if (given === false) return undefined;
    const raw = given === true ? {} : (given ?? fallback);
    if (raw === undefined) return undefined;
    const reader = new SectionReader(`${this.#path}.${key}`, raw);
    const part = read(reader);
    reader.end();
    return part;
  }

  reader(key: string): SectionReader {
    return new SectionReader(`${this.#path}.${key}`, this.#take(key) ?? {});
  }

  end(): void {
    const unknown = Object.keys(this.#raw).filter((key) => !this.#known.has(key));
    if (unknown.length > 0)
      throw new SettingsError(
        `${this.#path}: unknown key ${unknown.join(', ')}; known are ${[...this.#known].sort().join(', ')}`,
      );
  }
}
