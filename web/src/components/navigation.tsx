import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type SignedIn, signOut } from '../api/session.ts';
import { forgetReturn, href, navigate, type Route } from '../router.ts';
import { forget } from '../upload/queue.ts';
import { AlarmBadge } from './alarm-badge.tsx';
import { DamagedBadge } from './damaged-badge.tsx';
import { UploadBadge } from './upload-badge.tsx';

/** The pages, and the action (docs/roles.md) without which there is nothing to see there. */
const PAGES = [
  { path: '/studies', label: 'Studies', action: 'search' },
  { path: '/worklist', label: 'Worklist', action: 'readWorklist' },
  { path: '/upload', label: 'Upload', action: 'store' },
  { path: '/shares', label: 'Shared', action: 'share' },
  { path: '/quarantine', label: 'Quarantine', action: 'administer' },
  { path: '/trash', label: 'Trash', action: 'restore' },
  { path: '/integrity', label: 'Integrity', action: 'administer' },
  { path: '/routing', label: 'Routing', action: 'readRouting' },
  { path: '/costs', label: 'Costs', action: 'readCosts' },
  { path: '/gateways', label: 'Gateways', action: 'monitor' },
  { path: '/audit', label: 'Audit', action: 'readAudit' },
  { path: '/access', label: 'Access', action: 'administer' },
  { path: '/people', label: 'People', action: 'administer' },
  { path: '/tokens', label: 'Tokens', action: 'administer' },
  { path: '/clients', label: 'Machines', action: 'administer' },
] as const;

const pagesOf = ({ permits, keepsPeople }: SignedIn) =>
  PAGES.filter(({ path, action }) => permits.includes(action) && (path !== '/people' || keepsPeople));

/** The first page that somebody may see. */
export const homeOf = (session: SignedIn): string => pagesOf(session)[0]?.path ?? '/studies';

/** The head of the console. Where the entries do not fit beside each other they are behind a button. */
export function Navigation({ session, route }: { session: SignedIn; route: Route }) {
  const [open, setOpen] = useState(false);
  const bar = useRef<HTMLElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  // With the page, not after it: a click on the menu of the new one must find it closed, and open it.
  useLayoutEffect(() => setOpen(false), [route.path]);
  // With the menu, not after it: an Escape that comes at once must find it listening.
  useLayoutEffect(() => {
    if (!open) return;
    const listeners = new AbortController();
    const { signal } = listeners;
    addEventListener(
      'keydown',
      ({ key }) => {
        if (key !== 'Escape') return;
        setOpen(false);
        button.current?.focus();
      },
      { signal },
    );
    addEventListener('pointerdown', ({ target }) => !bar.current?.contains(target as Node) && setOpen(false), {
      signal,
    });
    return () => listeners.abort();
  }, [open]);
  // Whoever signs in next begins anew: filters hold names, and so do files.
  const leave = async () => {
    forgetReturn();
    forget();
    await signOut();
    navigate(href('/'), 'replace');
  };
  return (
    <header ref={bar} class="top">
      <a class="brand" href={href('/')}>
        <img src="/nephos.svg" alt="" width="22" height="22" />
        Nephos
      </a>
      <button
        ref={button}
        type="button"
        class="quiet menu"
        aria-expanded={open}
        aria-controls="pages"
        onClick={() => setOpen(!open)}
      >
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
          <path d="M2 4h12M2 8h12M2 12h12" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
        </svg>
        Menu
        <UploadBadge />
      </button>
      <nav id="pages" aria-label="Pages" data-open={open || undefined}>
        {pagesOf(session).map(({ path, label }) => (
          <a
            key={path}
            href={href(path)}
            aria-current={isCurrent(route, path) ? 'page' : undefined}
            onClick={() => setOpen(false)}
          >
            {label}
            {path === '/upload' && <UploadBadge />}
            {path === '/access' && <AlarmBadge />}
            {path === '/integrity' && <DamagedBadge />}
          </a>
        ))}
      </nav>
      {session.hasAccount && (
        <a class="own" href={href('/account')} aria-current={route.path === '/account' ? 'page' : undefined}>
          {session.subject}
        </a>
      )}
      {session.canSignOut && (
        <button type="button" class="quiet sign-out" title={session.subject} onClick={() => void leave()}>
          Sign out
        </button>
      )}
    </header>
  );
}

const isCurrent = (route: Route, path: string) =>
  route.path === path || (path === '/studies' && route.path.startsWith('/study/'));
