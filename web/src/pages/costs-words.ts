const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `2024-03` → `Mar` */
export const shortMonth = (month: string): string => MONTHS[Number(month.slice(5)) - 1] ?? month;

/** `2024-03` → `Mar 2024` */
export const formatMonth = (month: string): string => `${shortMonth(month)} ${month.slice(0, 4)}`;

/** An amount and its currency (ISO 4217); small ones as exact as they must be to be seen. */
export function formatAmount(amount: number, currency: string): string {
  const digits = amount !== 0 && amount < 0.1 ? 4 : 2;
  return `${amount.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${currency}`;
}

/** 1,536 → `1.5 KiB`. Prices are by GiB or by 10^12 bytes: here it must be plain which is meant. */
export function formatSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** unit;
  return `${unit === 0 || value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)} ${units[unit]}`;
}

/** The tier of what no policy has moved. */
export const tierWord = (tier: string): string => (tier === 'default' ? 'Default' : tier);
export const modalityWord = (modality: string): string => (modality === 'other' ? 'Other' : modality);
