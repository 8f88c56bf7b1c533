import { type Html, html } from '#core/markup.ts';
import { CONFLICTS_LIMIT } from './conflicts.ts';
import type { DestinationState, GatewayStatus } from './snapshot.ts';
import { ago, bytes, count, span } from './words.ts';

/** What a person has to decide, each with its buttons: a form that the gateway answers itself (actions.ts). */
export const action = (name: string, destination: string, label: string, SOPInstanceUID?: string): Html =>
  html`<form method="post" action="/status/actions"><input type="hidden" name="action" value="${name}"><input type="hidden" name="destination" value="${destination}">${
    SOPInstanceUID !== undefined && html`<input type="hidden" name="SOPInstanceUID" value="${SOPInstanceUID}">`
  }<button aria-label="${label}: ${SOPInstanceUID ?? destination}">${label}</button></form>`;

export const mayGo = ({ missing, keptAside }: { readonly missing: boolean; readonly keptAside: boolean }): boolean =>
  missing || keptAside;

export const heldTable = ({ name, held, heldInstances }: DestinationState): Html =>
  html`<section aria-label="Held for ${name}"><h2>Held for ${name}</h2>
<p class="hint">Refused for good. What was wrong has to be put right there, or here; then send again.${
    heldInstances.some(({ missing }) => missing) &&
    ' What it had confirmed and does not have any more was lost there, as by restoring an older backup: send it again. Or it was deleted on purpose: let it go.'
  }${
    heldInstances.some(({ keptAside }) => keptAside) && ' What it keeps aside is decided there: then let it go here.'
  }${held > heldInstances.length && ` The first ${heldInstances.length} of ${held}.`}</p>
<div class="wide"><table class="decide"><thead><tr><th scope="col">Why</th><th scope="col">Instance</th><th scope="col">Study</th><th scope="col">Size</th><th scope="col"><span class="hint">Action</span></th></tr></thead><tbody>
${heldInstances.map(
  (one) =>
    html`<tr><td>${one.reason ?? 'unknown'}</td><td class="uid" data-label="Instance">${one.SOPInstanceUID}</td><td class="uid" data-label="Study">${one.StudyInstanceUID}</td><td data-label="Size">${bytes(one.sizeBytes)}</td><td><div class="actions">${action('retry', name, 'Retry', one.SOPInstanceUID)}${mayGo(one) && action('letGo', name, 'Let go', one.SOPInstanceUID)}</div></td></tr>`,
)}
</tbody></table></div></section>`;

export const conflictTable = ({ conflicts: { count: all, listed }, at }: GatewayStatus): Html =>
  html`<section aria-labelledby="conflicts"><h2 id="conflicts">Conflicts</h2>
<p class="hint">Other bytes came in under a SOP Instance UID that is here, or was. Who sent them was told that they were not taken; they go nowhere until somebody decides. Taken, they take the place of those that are here, and are sent on: the archive then has its own say. The copy that is not wanted stays in the trash of this gateway for its time.${
    all >= CONFLICTS_LIMIT && ` The newest ${CONFLICTS_LIMIT}.`
  }</p>
<div class="wide"><table class="decide"><thead><tr><th scope="col">Why</th><th scope="col">Instance</th><th scope="col">Study</th><th scope="col">From</th><th scope="col">Size</th><th scope="col"><span class="hint">Action</span></th></tr></thead><tbody>
${listed.map(
  (one) =>
    html`<tr><td>${one.reason}</td><td class="uid" data-label="Instance">${one.SOPInstanceUID}</td><td class="uid" data-label="Study">${one.StudyInstanceUID}</td><td data-label="From">${one.source}, ${ago(at, one.receivedAt)}</td><td data-label="Size">${bytes(one.sizeBytes)}</td><td><div class="actions">${decision('takeConflict', one.id, 'Take these', one.SOPInstanceUID)}${decision('discardConflict', one.id, 'Discard these', one.SOPInstanceUID)}</div></td></tr>`,
)}
</tbody></table></div></section>`;

const decision = (name: string, conflict: string, label: string, SOPInstanceUID: string): Html =>
  html`<form method="post" action="/status/actions"><input type="hidden" name="action" value="${name}"><input type="hidden" name="conflict" value="${conflict}"><button aria-label="${label}: ${SOPInstanceUID}">${label}</button></form>`;

export const leftTable = ({ left, at }: GatewayStatus): Html =>
  html`<section aria-labelledby="left"><h2 id="left">Waiting for what is not configured</h2>
<p class="hint">The configuration no longer has these destinations. What waits for them stays here: it is sent when the destination is back under its name, and need not go there once it is dropped. Dropping deletes nothing.</p>
<div class="wide"><table><thead><tr><th scope="col">Destination</th><th scope="col">Waiting</th><th scope="col">Held</th><th scope="col">Oldest</th><th scope="col"><span class="hint">Action</span></th></tr></thead><tbody>
${left.map(
  (one) =>
    html`<tr><th scope="row">${one.name}</th><td>${count(one.pending, 'instance')}, ${bytes(one.pendingBytes)}</td><td>${one.held}</td><td>${one.oldestAt === undefined ? 'none waits' : `for ${span(at - one.oldestAt)}`}</td><td>${action('drop', one.name, 'Drop')}</td></tr>`,
)}
</tbody></table></div></section>`;
