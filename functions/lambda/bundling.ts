/**
 * How the functions are bundled by esbuild: the same in the deployment (infra) and in the tests that run the bundles. ESM with everything
 * in it, the AWS SDK too: what the runtime brings would change under us. Pure JavaScript: the same bundle runs on arm64 and x86_64.
 */
export const BUNDLING = {
  format: 'esm',
  platform: 'node',
  target: 'node24',
  bundle: true,
  minify: true,
  keepNames: true,
  external: [] as string[],
  mainFields: ['module', 'main'],
  /** Packages that are still CommonJS ask for `require` and `__dirname`. */
  banner:
    "import{createRequire as nephosRequire}from'node:module';const require=nephosRequire(import.meta.url);" +
    'const __dirname=import.meta.dirname;const __filename=import.meta.filename;',
} as const;

/** Names of a bundle in its folder; CODEC_FILE of functions.ts stands beside it. */
export const BUNDLE_FILE = 'index.mjs';
export const BUNDLE_HANDLER = 'index.handler';

/** of what is uploaded for a function but for the codecs, zipped: its bundle, and the map by which its stack traces are read (bytes) */
export const BUNDLE_LIMIT_BYTES = 1_500_000;
