/** Generous: a viewer asks for a study's frames all at once. Pure constants, so that infra may import them. */
export const DEFAULT_RATES = {
  requestsPerSecond: 2_000,
  bytesPerSecond: 1024 ** 3,
  addressRequestsPerSecond: 5_000,
  failuresPerMinute: 30,
} as const;
