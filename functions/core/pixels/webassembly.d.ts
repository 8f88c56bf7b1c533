/** The part of the WebAssembly JavaScript interface that is used here; TypeScript has it in its browser library only. */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { readonly initial: number });
    readonly buffer: ArrayBuffer;
  }
  interface Instance {
    readonly exports: Readonly<Record<string, unknown>>;
  }
  var Instance: new (module: Module, imports: object) => Instance;
  var Module: new (bytes: Uint8Array) => Module;
}
