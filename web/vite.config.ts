import { defineConfig, type Plugin } from 'vite';
import { attributes } from '../functions/core/dicom/dictionary.ts';

/**
 * The console. Its files stand under /console/, because the viewer (OHIF) wants its own at the root of the same origin.
 * `vite dev web` speaks to a server started with `npm start`.
 */
const server = `http://127.0.0.1:${process.env.NEPHOS_HTTP_PORT ?? 8080}`;

/** The names of all attributes as one text, `00100010PatientName` a line: half the size of an object, parsed in no time. */
function dicomDictionary(): Plugin {
  const id = 'virtual:dicom-dictionary';
  return {
    name: 'dicom-dictionary',
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load: (resolved) => {
      if (resolved !== `\0${id}`) return undefined;
      const lines = [...attributes()].map(({ tag, keyword }) => tag + keyword).sort();
      return `export default ${JSON.stringify(lines.join('\n'))}`;
    },
  };
}

export default defineConfig({
  plugins: [dicomDictionary()],
  build: {
    assetsDir: 'console',
    target: 'es2022',
    // A preload polyfill and inlined assets would ask for a wider Content-Security-Policy.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    emptyOutDir: true,
    // The console, and the page of whoever was sent a share link: each with no more than it needs.
    rolldownOptions: { input: ['index.html', 'share.html'].map((page) => `${import.meta.dirname}/${page}`) },
  },
  server: { proxy: { '/api': server, '/dicomweb': server } },
});
