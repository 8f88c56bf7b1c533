import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { loadSession, type Session, session, signOut } from './api/session.ts';
import { DropTarget } from './components/drop-target.tsx';
import { Heading } from './components/page-title.tsx';
import { UploadBadge } from './components/upload-badge.tsx';
import { GatewaysPage } from './pages/gateways.tsx';
import { QuarantinePage } from './pages/quarantine.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { StudiesPage } from './pages/studies.tsx';
import { StudyPage } from './pages/study.tsx';
import { TrashPage } from './pages/trash.tsx';
import { UploadPage } from './pages/upload.tsx';
import { WorklistPage } from './pages/worklist.tsx';
import { href, type Route, useRoute } from './router.ts';
import { useStore } from './store.ts';

const PAGES = [
  { path: '/studies', label: 'Studies' },
  { path: '/worklist', label: 'Worklist' },
  { path: '/upload', label: 'Upload' },
  { path: '/quarantine', label: 'Quarantine' },
  { path: '/trash', label: 'Trash' },
  { path: '/gateways', label: 'Gateways' },
] as const;

export function App() {
  const current = useStore(session);
  useEffect(() => void loadSession(), []);
  if (current.state === 'unknown') return <p class="splash">Nephos</p>;
  if (current.state === 'signedIn') return <Console session={current} />;
  return <SignInPage unreachable={current.state === 'unreachable' ? current.message : undefined} />;
}

function Console({ session }: { session: Session & { state: 'signedIn' } }) {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const [first, setFirst] = useState(true);
  // A new page takes the focus, and its heading takes it over when it is there; filters leave it where it is.
  useLayoutEffect(() => {
    if (first) setFirst(false);
    else main.current?.focus();
    scrollTo(0, 0);
  }, [route.path]);
  return (
    <DropTarget>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href={href('/studies')}>
          <img src="/nephos.svg" alt="" width="22" height="22" />
          Nephos
        </a>
        <nav aria-label="Pages">
          {PAGES.map(({ path, label }) => (
            <a key={path} href={href(path)} aria-current={isCurrent(route, path) ? 'page' : undefined}>
              {label}
              {path === '/upload' && <UploadBadge />}
            </a>
          ))}
        </nav>
        {session.canSignOut && (
          <button type="button" class="quiet sign-out" onClick={() => void signOut()}>
            Sign out
          </button>
        )}
      </header>
      <main ref={main} id="main" tabIndex={-1}>
        <Page route={route} />
      </main>
    </DropTarget>
  );
}

const isCurrent = (route: Route, path: string) =>
  route.path === path || (path === '/studies' && route.path.startsWith('/study/'));

function Page({ route }: { route: Route }) {
  const study = /^\/study\/([0-9.]+)$/.exec(route.path)?.[1];
  if (study !== undefined) return <StudyPage key={study} study={study} query={route.query} />;
  switch (route.path) {
    case '/':
    case '/studies':
      return <StudiesPage params={route.query} />;
    case '/worklist':
      return <WorklistPage params={route.query} />;
    case '/upload':
      return <UploadPage />;
    case '/quarantine':
      return <QuarantinePage selected={route.query.get('id') ?? ''} />;
    case '/gateways':
      return <GatewaysPage />;
    case '/trash':
      return <TrashPage />;
    default:
      return (
        <section class="message">
          <Heading>There is no such page</Heading>
          <p>
            <a href={href('/studies')}>Go to the studies</a>
          </p>
        </section>
      );
  }
}
