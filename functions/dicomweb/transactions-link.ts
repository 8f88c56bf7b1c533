/** Where store transactions are created (docs/store-transactions.md), as a Link header (RFC 8288) says it. */
export const transactionsLink = (origin: string): string =>
  `<${origin}${TRANSACTIONS_PATH}>; rel="${TRANSACTIONS_RELATION}"`;

export const TRANSACTIONS_PATH = '/api/transactions';
export const TRANSACTIONS_RELATION = 'urn:nephos:rel:store-transactions';
