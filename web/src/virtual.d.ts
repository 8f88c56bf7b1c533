/** Made by vite.config.ts from the dictionary of the archive: one attribute a line, `00100010PatientName`. */
declare module 'virtual:dicom-dictionary' {
  const text: string;
  export default text;
}
