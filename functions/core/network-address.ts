/** What counts as one address: of IPv6 the /64, which one machine has whole. Undefined for loopback: a proxy on this machine stands for everybody. */
export function networkOf(address: string | undefined): string | undefined {
  if (address === undefined || address === '::1') return undefined;
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined) return v4.startsWith('127.') ? undefined : v4;
  const [head = '', tail] = address.split('%', 1)[0]!.split('::');
  const groups = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  while (tail !== undefined && groups.length + behind.length < 8) groups.push('0');
  return [...groups, ...behind].slice(0, 4).join(':');
}
