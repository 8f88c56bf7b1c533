import { createHash } from 'node:crypto';
import { Html, html } from '#core/markup.ts';
import { OWED_LIMIT, type Owed } from '../queues/owed.ts';
import type { Inventory } from '../read/inventory.ts';
import { CONFLICTS_LIMIT } from './conflicts.ts';
import { action, conflictTable, heldTable, leftTable, mayGo } from './decisions.ts';
import type { DestinationState, GatewayStatus } from './snapshot.ts';
import { ago, bytes, clockTime, count, span } from './words.ts';

const STYLE = `
:root{color-scheme:light dark;--line:#c9d1d9;--soft:#f3f5f7;--muted:#57606a;--good:#116329;--bad:#a40e26;--warn:#7d4e00}
@media (prefers-color-scheme:dark){:root{--line:#3d444d;--soft:#1c2128;--muted:#9198a1;--good:#56d364;--bad:#ff7b72;--warn:#e3b341}}
*{box-sizing:border-box}
body{font:1rem/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:70rem}
h1{font-size:1.35rem;margin:0 0 .25rem}
h2{font-size:1.1rem;margin:1.75rem 0 .5rem}
h3{font-size:1rem;margin:0}
p{margin:.25rem 0}
.hint{color:var(--muted)}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.card{border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem;margin:.5rem 0}
.said{background:var(--soft);border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));gap:.5rem 1rem;margin:.5rem 0}
dt{color:var(--muted);font-size:.875rem}
dd{margin:0;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
td.uid{font-family:ui-monospace,monospace;font-size:.8125rem;overflow-wrap:anywhere}
.wide{overflow-x:auto}
@media (max-width:40rem){.decide thead{display:none}.decide tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}.decide td,.decide th{display:block;border:0;padding:.1rem 0}.decide td[data-label]::before{content:attr(data-label) ': ';color:var(--muted);font-family:system-ui,sans-serif}}
form{display:inline}
button{font:inherit;padding:.3rem .8rem;min-height:2.25rem;border:1px solid var(--line);border-radius:.375rem;background:var(--soft);color:inherit;cursor:pointer}
input{font:inherit;padding:.3rem .5rem;min-height:2.25rem;width:100%;max-width:26rem}
:focus-visible{outline:2px solid currentColor;outline-offset:2px}
.actions{display:flex;flex-wrap:wrap;gap:.5rem;margin-top:.5rem}
`;

/** Nothing is loaded or run: the page is its own text and this style sheet. */
export const PAGE_POLICY =
  `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; ` +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const document = (title: string, body: Html, refreshSeconds?: number): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refreshSeconds !== undefined && html`<meta http-equiv="refresh" content="${refreshSeconds}; url=/status">`}
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
${body}
</body>
</html>
`.text;

const REFRESH_SECONDS = 15;

/** `said`: what has just been done. `refresh`: whether the page loads itself anew, which a reader can switch off. */
export function statusPage(status: GatewayStatus, options: { said?: string | undefined; refresh: boolean }): string {
  const { said, refresh } = options;
  const name = status.id ?? status.aeTitle;
  const body = html`<header>
<h1>Edge gateway ${name}</h1>
<p>${summary(status)}</p>
<p class="hint">Version ${status.version}, AE title ${status.aeTitle}, running for ${span(status.at - status.startedAt)}, ${count(status.associations, 'association')} under way.
As of ${clockTime(status.at)}. ${
    refresh
      ? html`<a href="/status?refresh=off">Stop loading this page anew</a>`
      : html`<a href="/status">Load this page anew every ${REFRESH_SECONDS} seconds</a>`
  }</p>
</header>
<main>
${said !== undefined && html`<p class="said" role="status">${said}</p>`}
<section aria-labelledby="destinations"><h2 id="destinations">Where it sends to</h2>
${status.destinations.map((one) => destination(one, status.at))}
</section>
${status.left.length > 0 && leftTable(status)}
${status.destinations.filter(({ held }) => held > 0).map(heldTable)}
${status.conflicts.count > 0 && conflictTable(status)}
<section aria-labelledby="worklist"><h2 id="worklist">Worklist and procedure steps</h2>
${procedures(status)}
</section>
<section aria-labelledby="owed"><h2 id="owed">What others wait for</h2>
${owed(status)}
</section>
<section aria-labelledby="modalities"><h2 id="modalities">Who has called</h2>
${callers(status)}
</section>
<section aria-labelledby="disk"><h2 id="disk">Room</h2>
${room(status)}
</section>
<section aria-labelledby="archive"><h2 id="archive">Reports to the archive</h2>
${identified(status)}
${reports(status)}
</section>
</main>`;
  return document(`${name} – Nephos edge gateway`, body, refresh ? REFRESH_SECONDS : undefined);
}

export const signInPage = (failed: boolean): string =>
  document(
    'Sign in – Nephos edge gateway',
    html`<main><h1>Nephos edge gateway</h1>
${failed && html`<p class="bad" role="alert">The token is not valid.</p>`}
<form method="post" action="/sign-in"><p><label for="token">Access token</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus></p>
<p><button>Sign in</button></p></form></main>`,
  );

function summary({ untaken, destinations, conflicts, disk, left, identity, owed: owes }: GatewayStatus): Html {
  const held = destinations.reduce((sum, one) => sum + one.held, 0);
  const waiting = destinations.reduce((sum, one) => sum + one.pending, 0);
  const waits = waitingInstances(destinations);
  const down = destinations.filter(({ link, pause }) => link === 'offline' || pause !== undefined);
  if (disk.refusing)
    return html`<strong class="bad">The disk is nearly full: new objects are refused until there is room.</strong>`;
  if (identity?.refusal !== undefined)
    return html`<strong class="bad">The archive gives this gateway no access: ${identity.refusal}. ${waits} wait here, safe.</strong>`;
  if (held > 0) return html`<strong class="bad">${count(held, 'instance')} held: somebody has to look.</strong>`;
  if (conflicts.count > 0)
    return html`<strong class="bad">${count(conflicts.count, 'object')}${conflicts.count >= CONFLICTS_LIMIT && ' or more'} under a UID that other bytes have: somebody has to decide.</strong>`;
  if (left.length > 0)
    return html`<strong class="bad">Instances wait for ${listed(left.map(({ name }) => name))}, which the configuration no longer has: somebody has to look.</strong>`;
  if (owes.givenUp.length > 0)
    return html`<strong class="bad">Something was given up after a week: somebody has to look.</strong>`;
  if (down.length > 0)
    return html`<strong class="warn">${listed(down.map(({ name }) => name))} cannot be sent to at the moment; ${waits} wait here, safe.</strong>`;
  const deaf = owes.notices.filter(({ reason }) => reason !== undefined);
  if (deaf.length > 0)
    return html`<strong class="warn">${listed(deaf.map(({ aeTitle }) => aeTitle))} cannot be told of studies at the moment; it is tried again.</strong>`;
  if (untaken > 0)
    return html`<strong class="good">${count(untaken, 'instance')}${untaken === 100 && ' or more'} stored a moment ago, not in a queue yet.</strong>`;
  if (waiting > 0) return html`<strong class="good">All is well; ${waits} on the way.</strong>`;
  return html`<strong class="good">All is well; nothing waits.</strong>`;
}

/** An instance waits for each archive that it is meant for: of several, how many instances that is lies between the longest queue and all of them. */
function waitingInstances(destinations: GatewayStatus['destinations']): string {
  const queues = destinations.map(({ pending }) => pending);
  const [least, most] = [Math.max(0, ...queues), queues.reduce((sum, one) => sum + one, 0)];
  return least === most ? count(most, 'instance') : `${least} to ${count(most, 'instance')}`;
}

const listed = (names: readonly string[]): string => new Intl.ListFormat('en').format(names);

function destination(one: DestinationState, now: number): Html {
  const { upstream, name } = one;
  const { lastContactAt, lastError } = upstream;
  const rate =
    one.rate.bytesPerSecond > 0
      ? `${bytes(one.rate.bytesPerSecond)}/s, ${one.rate.objectsPerSecond.toFixed(1)} instances/s`
      : 'nothing of late';
  const limit =
    one.bytesPerSecondLimit === undefined
      ? 'none'
      : one.bytesPerSecondLimit === 0
        ? 'nothing but STAT now'
        : `${bytes(one.bytesPerSecondLimit)}/s`;
  const link = {
    online: html`<span class="good">online</span>`,
    offline: html`<span class="bad">offline</span>`,
    unknown: html`not tried yet`,
  };
  return html`<article class="card" aria-label="${name}">
<h3>${name} <span class="hint">${one.url}</span></h3>
<dl>
${pair('Link', link[one.link])}
${pair('Last answer', lastContactAt === undefined ? 'none yet' : ago(now, lastContactAt))}
${pair('Waiting', `${count(one.pending, 'instance')}, ${bytes(one.pendingBytes)}`)}
${pair('Oldest', one.oldestAt === undefined ? 'none waits' : `for ${span(now - one.oldestAt)}`)}
${pair('Being sent', one.sending)}
${pair('Held', one.held > 0 ? html`<span class="bad">${one.held}</span>` : '0')}
${pair('Confirmed', `${count(one.confirmed, 'instance')}, ${bytes(one.confirmedBytes)}`)}
${pair('Rate', rate)}
${pair('Limit of the schedule', limit)}
${pair('Failed attempts', one.blocked + one.failures.permanent)}
</dl>
${one.paused && html`<p class="warn">Paused by a person: nothing is sent there.</p>`}
${one.sendNowUntil !== undefined && html`<p>At full speed, whatever the schedule says, until ${clockTime(one.sendNowUntil)}.</p>`}
${one.pause !== undefined && html`<p class="warn">Not sent at the moment: ${one.pause.reason}. Tried again at ${clockTime(one.pause.until)}.</p>`}
${lastError !== undefined && html`<p class="hint">Last error, ${ago(now, lastError.at)}: ${lastError.message}</p>`}
<div class="actions">
${one.paused ? action('resume', name, 'Resume') : action('pause', name, 'Pause')}
${action('sendNow', name, 'Send now')}
${one.held > 0 && action('retry', name, 'Retry all that is held')}
${one.heldInstances.some(mayGo) && action('letGo', name, 'Let go of all that is missing or kept aside there')}
</div>
</article>`;
}

const pair = (term: string, value: Html | string | number): Html => html`<div><dt>${term}</dt><dd>${value}</dd></div>`;

function procedures({ worklist, procedureSteps }: GatewayStatus): Html {
  const { state, ageMs = 0, reason = '' } = worklist;
  const { waiting, held } = procedureSteps;
  const words = {
    current: html`<p>The worklist is up to date.</p>`,
    stale: html`<p class="warn">The worklist is that of ${span(ageMs)} ago; it is answered from here.</p>`,
    none: html`<p class="warn">There is no worklist yet: ${reason}.</p>`,
    off: html`<p>No worklist: ${reason}.</p>`,
  };
  return html`${words[state]}
<p>${count(waiting, 'message')} about procedure steps ${waiting === 1 ? 'waits' : 'wait'}${waiting >= 100 && ', or more'}.</p>
${
  held.length > 0 &&
  html`<p class="bad">${count(held.length, 'message')} refused.</p>
<ul>${held.map(({ kind, SOPInstanceUID, source, reason: why }) => html`<li>${kind === 'create' ? 'Begin' : 'Change'} of ${SOPInstanceUID}, from ${source}: ${why}</li>`)}</ul>
<div class="actions">${action('retrySteps', 'procedure steps', 'Retry all that is refused')}</div>`
}`;
}

function owed({ owed: { commitments, notices, givenUp }, at }: GatewayStatus): Html {
  if (commitments.length + notices.length + givenUp.length === 0) return html`<p>Nothing.</p>`;
  const row = ({ aeTitle, count: number, oldestAt, reason }: Owed, one: string, many: string): Html =>
    html`<tr><th scope="row">${aeTitle}</th><td>${count(number, one, many)}${number >= OWED_LIMIT && ', or more'}</td><td>for ${span(at - oldestAt)}</td><td>${reason ?? ''}</td></tr>`;
  const table = html`<div class="wide"><table><thead><tr><th scope="col">Who</th><th scope="col">What</th><th scope="col">Oldest</th><th scope="col">Last failure</th></tr></thead><tbody>
${commitments.map((one) => row(one, 'answer to storage commitment', 'answers to storage commitment'))}
${notices.map((one) => row(one, 'notification of available instances', 'notifications of available instances'))}
</tbody></table></div>`;
  return html`${commitments.length + notices.length > 0 && table}
${
  givenUp.length > 0 &&
  html`<p class="bad">Given up: ${givenUp.map(({ queue, count: number }) => `${number} of ${queue}`).join(', ')}.</p>
<div class="actions">${action('takeUp', 'what was given up', 'Take it up again')}</div>`
}`;
}

function callers({ callers, at }: GatewayStatus): Html {
  if (callers.length === 0) return html`<p>Nobody yet.</p>`;
  return html`<div class="wide"><table><thead><tr><th scope="col">AE title</th><th scope="col">Last heard</th><th scope="col">Stored since the start</th><th scope="col">Refused</th></tr></thead><tbody>
${callers.map(
  (one) =>
    html`<tr><th scope="row">${one.aeTitle}</th><td>${ago(at, one.lastSeenAt)}</td><td>${one.objects} (${bytes(one.bytes)})</td><td>${one.refused}</td></tr>`,
)}
</tbody></table></div>`;
}

function room({ disk, inventory, at }: GatewayStatus): Html {
  const days =
    disk.daysLeft === undefined
      ? html`nothing comes in`
      : html`<span class="${disk.daysLeft < 2 ? 'bad' : disk.daysLeft < 7 ? 'warn' : 'good'}">${disk.daysLeft < 100 ? disk.daysLeft.toFixed(1) : 'more than 100'} days</span>`;
  return html`<dl>
${pair('Buffer, while nothing goes out', days)}
${pair('Free on disk', bytes(disk.freeBytes))}
${pair('Kept free', bytes(disk.reserveBytes))}
${pair('Comes in', `${bytes(disk.bytesPerDay)} a day`)}
${pair('Kept here', disk.cacheBytes === undefined ? 'not counted yet' : `${bytes(disk.cacheBytes)}, ${count(disk.cacheStudies ?? 0, 'study', 'studies')}`)}
${pair('Cache at most', bytes(disk.maxCacheBytes))}
</dl>
${inventory !== undefined && inventoryOf(inventory, at)}
<p class="hint">When an archive was restored from a backup, ask whether it still has what it has confirmed. Of what it does not have, the copy that is here is held; nothing is sent before you say so.</p>
<div class="actions">${action('inventory', 'all that is here', 'Ask the archives')}</div>`;
}

function inventoryOf({ startedAt, endedAt, there, deleted, lost, unanswered }: Inventory, at: number): Html {
  const found = `${count(there, 'instance')} there, ${deleted === 0 ? '' : `${deleted} deleted there on purpose, `}${lost} missing, ${unanswered} without an answer`;
  const when = endedAt === undefined ? 'Being asked since' : 'Asked';
  return html`<p class="${lost > 0 ? 'bad' : unanswered > 0 ? 'warn' : 'good'}">${when} ${clockTime(startedAt)} (${ago(at, startedAt)}): ${found}.</p>`;
}

function identified({ identity, at }: GatewayStatus): Html | false {
  if (identity === undefined) return false;
  const { clientId, archive, enrolledAt, refusal } = identity;
  const enrolled = clientId !== '' && html`<p>Enrolled with ${archive} as ${clientId}, ${ago(at, enrolledAt)}.</p>`;
  return html`${enrolled}
${refusal !== undefined && html`<p class="bad">It gets no access there: ${refusal}. What comes in is kept here; an administrator’s new code (edge enrol) opens the way again.</p>`}`;
}

function reports({ report, configuration, id, at }: GatewayStatus): Html {
  const { number, refused } = configuration;
  const sent =
    id === undefined
      ? html`<p>None: the configuration has no heartbeat.</p>`
      : report === undefined
        ? html`<p>None has been sent yet.</p>`
        : report.error === undefined
          ? html`<p>The last one, ${ago(at, report.at)}, was taken.</p>`
          : html`<p class="warn">The last one, ${ago(at, report.at)}, was not taken: ${report.error}</p>`;
  return html`${sent}
<p>Configuration: ${number === null ? 'its own file' : `signed configuration ${number}, over its own file`}.</p>
${refused !== undefined && html`<p class="bad">Signed configuration ${refused.number} was refused: ${refused.reason}</p>`}`;
}
