import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { loadSession, lookAgainOnReturn, type SignedIn, session } from './api/session.ts';
import { arrival } from './arrival.ts';
import { DropTarget } from './components/drop-target.tsx';
import { EmergencyBanner } from './components/emergency-banner.tsx';
import { homeOf, Navigation } from './components/navigation.tsx';
import { Heading } from './components/page-title.tsx';
import { AccessPage } from './pages/access.tsx';
import { AccountPage } from './pages/account.tsx';
import { ArrivedPage, isOnTheWay, LaunchPage } from './pages/arrived.tsx';
import { AuditPage } from './pages/audit.tsx';
import { ClientsPage } from './pages/clients.tsx';
import { CostsPage } from './pages/costs.tsx';
import { GatewaysPage } from './pages/gateways.tsx';
import { IntegrityPage } from './pages/integrity.tsx';
import { PeoplePage } from './pages/people.tsx';
import { QuarantinePage } from './pages/quarantine.tsx';
import { RoutingPage } from './pages/routing.tsx';
import { SharesPage } from './pages/shares.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { StudiesPage } from './pages/studies.tsx';
import { StudyPage } from './pages/study.tsx';
import { TokensPage } from './pages/tokens.tsx';
import { TrashPage } from './pages/trash.tsx';
import { UploadPage } from './pages/upload.tsx';
import { WorklistPage } from './pages/worklist.tsx';
import { href, type Route, useRoute } from './router.ts';
import { useStore } from './store.ts';
import { keepUploading } from './upload/queue.ts';

export function App() {
  const current = useStore(session);
  const arrived = useStore(arrival);
  useEffect(() => void loadSession(), []);
  useEffect(lookAgainOnReturn, []);
  useEffect(keepUploading, []);
  if (arrived && isOnTheWay(arrived)) return <LaunchPage arrival={arrived} />;
  if (current.state === 'unknown') return <p class="splash">Nephos</p>;
  if (current.state === 'signedIn') return <Console session={current} />;
  const unreachable = current.state === 'unreachable' ? current.message : undefined;
  return <SignInPage unreachable={unreachable} expired={current.state === 'signedOut' && current.expired === true} />;
}

function Console({ session }: { session: SignedIn }) {
  const arrived = useStore(arrival);
  const asked = useRoute();
  const route = asked.path === '/' ? { ...asked, path: homeOf(session) } : asked;
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
      <Navigation session={session} route={route} />
      <EmergencyBanner />
      <main ref={main} id="main" tabIndex={-1}>
        {arrived && !isOnTheWay(arrived) ? <ArrivedPage arrival={arrived} /> : <Page route={route} />}
      </main>
    </DropTarget>
  );
}

function Page({ route }: { route: Route }) {
  const study = /^\/study\/([0-9.]+)$/.exec(route.path)?.[1];
  if (study !== undefined) return <StudyPage key={study} study={study} query={route.query} />;
  switch (route.path) {
    case '/studies':
      return <StudiesPage params={route.query} />;
    case '/worklist':
      return <WorklistPage params={route.query} />;
    case '/upload':
      return <UploadPage />;
    case '/quarantine':
      return <QuarantinePage selected={route.query.get('id') ?? ''} />;
    case '/costs':
      return <CostsPage />;
    case '/routing':
      return <RoutingPage />;
    case '/gateways':
      return <GatewaysPage />;
    case '/shares':
      return <SharesPage selected={route.query.get('id') ?? ''} />;
    case '/trash':
      return <TrashPage />;
    case '/integrity':
      return <IntegrityPage />;
    case '/audit':
      return <AuditPage params={route.query} />;
    case '/clients':
      return <ClientsPage />;
    case '/access':
      return <AccessPage />;
    case '/people':
      return <PeoplePage />;
    case '/account':
      return <AccountPage />;
    case '/tokens':
      return <TokensPage />;
    default:
      return (
        <section class="message">
          <Heading>There is no such page</Heading>
          <p>
            <a href={href('/')}>Go to the first page</a>
          </p>
        </section>
      );
  }
}
