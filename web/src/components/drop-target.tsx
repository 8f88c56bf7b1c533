import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useState } from 'preact/hooks';
import { href, navigate } from '../router.ts';
import { fromDrop } from '../upload/collect.ts';
import { add } from '../upload/queue.ts';

const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;

/** Files may be dropped on any page; the upload page then shows what becomes of them. */
export function DropTarget({ children }: { children: ComponentChildren }) {
  const [over, setOver] = useState(false);
  useLayoutEffect(() => {
    const listeners = new AbortController();
    const on = <K extends 'dragenter' | 'dragover' | 'dragleave' | 'drop'>(
      type: K,
      listener: (event: DragEvent) => void,
    ) => addEventListener(type, (event) => holdsFiles(event) && listener(event), { signal: listeners.signal });
    // Without preventDefault the browser would leave the page and open the file.
    on('dragenter', (event) => {
      event.preventDefault();
      setOver(true);
    });
    on('dragover', (event) => event.preventDefault());
    on('dragleave', (event) => event.relatedTarget === null && setOver(false));
    on('drop', (event) => {
      event.preventDefault();
      setOver(false);
      if (event.dataTransfer) void add(fromDrop(event.dataTransfer));
      navigate(href('/upload'));
    });
    return () => listeners.abort();
  }, []);
  return (
    <>
      {children}
      {over && <div class="drop-veil">Drop files, folders or zips to store them</div>}
    </>
  );
}
