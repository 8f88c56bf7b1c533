/** How the conformance statement is written. */

export const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
export const hex = (value: number): string => value.toString(16).toUpperCase().padStart(4, '0');
export const tagText = (tag: string): string => `(${tag.slice(0, 4)},${tag.slice(4)})`;
export const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
