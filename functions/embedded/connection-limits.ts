import type { Server } from 'node:net';
import { networkOf } from '#core/network-address.ts';

export interface ConnectionLimits {
  /** of one server process */
  readonly connections: number;
  /** of one address (IPv6: /64), a server process; loopback has none, as a proxy stands for everybody */
  readonly ofAddress: number;
}

/** Drops connections beyond the limits before anything is read of them, so that whoever opens thousands cannot keep the others out. */
export function limitConnections(server: Server, { connections, ofAddress }: ConnectionLimits): void {
  const counts = new Map<string, number>();
  server.maxConnections = connections;
  server.on('connection', (socket) => {
    const address = networkOf(socket.remoteAddress);
    if (address === undefined) return;
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    socket.once('close', () => {
      const left = counts.get(address)! - 1;
      if (left > 0) counts.set(address, left);
      else counts.delete(address);
    });
    if (count > ofAddress) socket.destroy();
  });
}
