import { ask, askJson } from './http.ts';

/** An edge gateway as it last reported (functions/core/gateways.ts). Times are ms since 1970. */
export interface Gateway {
  readonly id: string;
  readonly receivedAt: number;
  readonly isStale: boolean;
  readonly configurationNumber?: number;
  readonly report: {
    readonly version: string;
    readonly startedAt: number;
    readonly aeTitle: string;
    readonly queues: readonly GatewayQueue[];
    readonly disk: { readonly freeBytes: number; readonly daysLeft: number | null };
    readonly modalities: readonly { readonly aeTitle: string; readonly lastSeenAt: number; readonly objects: number }[];
    readonly configuration: {
      readonly number: number | null;
      readonly refused?: { readonly number: number; readonly reason: string };
    };
  };
}

export interface GatewayQueue {
  readonly upstream: string;
  readonly link: 'online' | 'offline' | 'unknown';
  readonly paused: boolean;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly oldestAt: number | null;
  readonly held: number;
  readonly lastError?: string;
}

export const listGateways = async (signal: AbortSignal): Promise<readonly Gateway[]> =>
  (await askJson<{ items: readonly Gateway[] }>('/api/gateways', { signal })).items;

export const forgetGateway = (id: string): Promise<Response> =>
  ask(`/api/gateways/${encodeURIComponent(id)}`, { method: 'DELETE' });
