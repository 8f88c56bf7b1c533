import type { Grammar } from './mutate.ts';

/** Something that reads what strangers send, and how to tell that it did not do so well. */
export interface Target {
  readonly name: string;
  readonly grammar: Grammar;
  /** parts of the paths of the sources whose blocks count as covered */
  readonly covers: readonly string[];
  /** inputs are cut to this (bytes); 64 KiB unless told */
  readonly limitBytes?: number;
  seeds(): Iterable<Uint8Array>;
  open(): Promise<OpenTarget> | OpenTarget;
}

export interface OpenTarget {
  /** @throws whatever is a finding: anything but what the format's errors are, or an answer that contradicts another */
  run(input: Uint8Array): void | Promise<void>;
  close?(): Promise<void> | void;
}

/** The archive said something about an input that cannot be so. */
export class Contradiction extends Error {}
