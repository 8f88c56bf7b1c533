import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { PacsError } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';

/** Costs of scrypt (RFC 7914): 2^ln blocks of r × 128 bytes, p times. 32 MiB of memory each. */
interface Costs {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

/** What new passwords are kept with; older ones are taken over at the next sign-in. */
const COSTS: Costs = { ln: 15, r: 8, p: 3 };
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** Passwords that one process looks at at the same time: memory, and threads that others need. */
const AT_ONCE = 2;
/** Who comes when so many wait is told to come again. */
const WAITING = 32;
/** characters; a longer password is refused, not cut */
const PASSWORD_MOST_CHARACTERS = 256;

/** No password: looked at in place of one that is not there, so that the time is the same. */
const NOBODYS: Kept = { ...COSTS, salt: randomBytes(SALT_BYTES), key: randomBytes(KEY_BYTES) };

interface Kept extends Costs {
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** Hashes passwords a few at a time, and compares them in constant time. */
export class Passwords {
  readonly #clock: Pick<Clock, 'randomBytes'>;
  readonly #costs: Costs;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param costs for tests: lower ones */
  constructor(clock: Pick<Clock, 'randomBytes'>, costs: Costs = COSTS) {
    this.#clock = clock;
    this.#costs = costs;
  }

  /** The password as it is kept: `$scrypt$ln=15,r=8,p=3$salt$key`. @throws PacsError BUSY */
  async hash(password: string): Promise<string> {
    const salt = Buffer.from(this.#clock.randomBytes(SALT_BYTES));
    const key = await this.#derive(password, { ...this.#costs, salt });
    const { ln, r, p } = this.#costs;
    return `$scrypt$ln=${ln},r=${r},p=${p}$${salt.toString('base64url')}$${key.toString('base64url')}`;
  }

  /** Whether it is that password; where nothing is kept, no, after the same time. @throws PacsError BUSY */
  async verify(password: string, kept: string | undefined): Promise<boolean> {
    const expected = kept === undefined ? { ...NOBODYS, ...this.#costs } : parsed(kept);
    const key = await this.#derive(password, expected);
    return timingSafeEqual(key, expected.key) && kept !== undefined;
  }

  /** Whether it should be hashed anew, by the costs of today. */
  isOutdated(kept: string): boolean {
    const { ln, r, p } = parsed(kept);
    return ln !== this.#costs.ln || r !== this.#costs.r || p !== this.#costs.p;
  }

  async #derive(password: string, { ln, r, p, salt }: Costs & { readonly salt: Buffer }): Promise<Buffer> {
    await this.#turn();
    try {
      const N = 2 ** ln;
      return await new Promise((resolve, reject) => {
        scrypt(password.normalize('NFKC'), salt, KEY_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
          error ? reject(error) : resolve(key),
        );
      });
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= WAITING) throw new PacsError('BUSY', 'too many are signing in at the moment');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }
}

function parsed(kept: string): Kept {
  const match = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w-]+)\$([\w-]+)$/.exec(kept);
  if (!match) throw new Error('a password is kept in a form that nobody here knows');
  const [, ln, r, p, salt = '', key = ''] = match;
  return {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
    salt: Buffer.from(salt, 'base64url'),
    key: Buffer.from(key, 'base64url'),
  };
}

/** What is tried first by whoever guesses; what is left of a password without them must be long enough by itself. */
const COMMON = [
  ...[
    'password',
    'passwort',
    'passw0rd',
    'motdepasse',
    'contrasena',
    'qwertzuiop',
    'qwertyuiop',
    'asdfghjkl',
    'yxcvbnm',
  ],
  ...['zxcvbnm', 'qwerty', 'qwertz', 'azerty', 'asdfgh', '1q2w3e4r5t', '1qaz2wsx', 'letmein', 'welcome', 'willkommen'],
  ...[
    'administrator',
    'admin',
    'iloveyou',
    'changeme',
    'secret',
    'geheim',
    'trustno1',
    'hospital',
    'klinik',
    'radiology',
  ],
  ...['radiologie', 'nephos', 'pacs', 'dicom', 'summer', 'winter', 'sommer', 'monkey', 'dragon', 'football', 'master'],
];
/** characters that must be left */
const UNCOMMON = 4;

/**
 * The rules of NIST SP 800-63B §5.1.1.2: a length, and nothing that is guessed first; no demands on kinds of characters.
 * @throws PacsError BAD_REQUEST in words for the person who chose it
 */
export function checkPassword(password: string, name: string, leastCharacters: number): void {
  const text = password.normalize('NFKC');
  const characters = [...text].length;
  if (characters < leastCharacters)
    throw refused(`The password must have at least ${leastCharacters} characters. A few words make a good one.`);
  if (characters > PASSWORD_MOST_CHARACTERS)
    throw refused(`The password must have at most ${PASSWORD_MOST_CHARACTERS} characters.`);
  let rest = text.toLowerCase();
  const ownWords = name.toLowerCase().split(/[^\p{L}\p{N}]+/u);
  for (const word of [...ownWords.filter((part) => part.length >= 3), ...COMMON]) rest = rest.replaceAll(word, '');
  if (withoutRuns(rest).length < UNCOMMON)
    throw refused('This password is among the first that somebody would guess. Choose another.');
}

/** `aaaa`, `1234` and `cba` each count as one character, digits at the end as none. */
function withoutRuns(text: string): string {
  let left = '';
  let before = 0;
  let step = 0;
  for (const character of text.replace(/[^\p{L}]+$/u, '')) {
    const code = character.codePointAt(0)!;
    const now = code - before;
    const goesOn = Math.abs(now) <= 1 && (left.length <= 1 || now === step || step === 0);
    if (!goesOn || left === '') left += character;
    step = goesOn ? now : 0;
    before = code;
  }
  return left;
}

const refused = (title: string): PacsError =>
  new PacsError('BAD_REQUEST', title, { details: { parameter: 'password' } });
