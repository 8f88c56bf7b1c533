import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

let compiled: WebAssembly.Module | undefined;

/** The codecs of npm dcmjs-codecs, compiled once a process; threads share the compiled code. */
export function codecModule(): WebAssembly.Module {
  if (compiled === undefined) {
    const entry = createRequire(import.meta.url).resolve('dcmjs-codecs');
    compiled = new WebAssembly.Module(readFileSync(join(dirname(entry), 'dcmjs-native-codecs.wasm')));
  }
  return compiled;
}
