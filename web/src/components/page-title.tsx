import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** The heading of a page. Where the page has just taken the focus, it takes it over, so that a screen reader says where we are. */
export function Heading({ children }: { children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (document.activeElement?.tagName === 'MAIN') heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

/** No names of patients here: titles end up in the history of the browser. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} – Nephos`;
  }, [title]);
}

export function PageTitle({ title, children }: { title: string; children?: ComponentChildren }) {
  useTitle(title);
  return (
    <div class="page-title">
      <Heading>{title}</Heading>
      {children}
    </div>
  );
}
