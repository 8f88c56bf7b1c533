/** The address of a page; empty values are left out. */
export function href(path: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  const pairs = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '',
  );
  return `#${path}${pairs.length > 0 ? `?${new URLSearchParams(pairs)}` : ''}`;
}
