/** Clock — the time and the randomness of the host, so that core reads neither. */
export interface Clock {
  /** milliseconds since 1970-01-01T00:00Z */
  now(): number;
  randomBytes(count: number): Uint8Array;
  /** resolves after about `ms` milliseconds */
  sleep(ms: number): Promise<void>;
}
