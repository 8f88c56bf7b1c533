declare module '@cornerstonejs/codec-openjpeg/decode' {
  interface FrameInfo {
    readonly width: number;
    readonly height: number;
    readonly componentCount: number;
    readonly bitsPerSample: number;
  }
  interface J2KDecoder {
    getEncodedBuffer(bytes: number): Uint8Array;
    decode(): void;
    getFrameInfo(): FrameInfo;
    getDecodedBuffer(): Uint8ClampedArray;
    delete(): void;
  }
  export interface OpenJpeg {
    readonly J2KDecoder: new () => J2KDecoder;
  }
  const open: (options: { print: () => void; printErr: () => void }) => Promise<OpenJpeg>;
  export default open;
}
