/** Has the browser save a file under a name. */
export function download(file: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  // The browser has read the address by the next minute.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
