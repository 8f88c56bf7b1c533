// In the viewer, below the address of a share link: the receiver's name, the time and the link across every picture, and the way out when
// the link ends. Pictures that the archive renders carry the same in their pixels; frames do not, so this is a reminder and no lock.
(() => {
  const link = /^\/s\/[0-9A-Z]{26}(?=\/)/.exec(location.pathname)?.[0];
  if (link === undefined) return;
  const LOOK_MS = 20_000;
  const FOLLOW_MS = 400;
  const layer = document.createElement('div');
  layer.id = 'nephos-watermark';
  layer.setAttribute('role', 'note');
  Object.assign(layer.style, { position: 'fixed', inset: '0', pointerEvents: 'none', zIndex: '2147483000' });

  const escaped = (text) => text.replace(/[&<>"']/g, (letter) => `&#${letter.codePointAt(0)};`);

  /** A tile with the text at a slant; white letters with a dark edge are read on any ground. */
  function draw(text) {
    const width = Math.max(300, text.length * 9 + 60);
    const height = Math.round(width * 0.42);
    const style =
      'font:600 15px ui-sans-serif,system-ui,sans-serif;fill:#fff;fill-opacity:.34;stroke:#000;stroke-opacity:.4;stroke-width:2.4px;paint-order:stroke';
    const line = (x, y) =>
      `<text x="${x}" y="${y}" transform="rotate(-20 ${x} ${y})" style="${style}">${escaped(text)}</text>`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${line(20, height - 14)}</svg>`;
    layer.style.backgroundImage = `url("data:image/svg+xml,${encodeURIComponent(svg)}")`;
    layer.setAttribute('aria-label', text);
  }

  /** Lies over the pictures, wherever the viewer has put them, and comes back when it was taken away. */
  function follow() {
    if (!layer.isConnected) document.body.append(layer);
    const grid = document.querySelector('[data-cy="viewport-grid"]')?.getBoundingClientRect();
    if (!grid || grid.width === 0) return;
    layer.style.inset = `${grid.top}px auto auto ${grid.left}px`;
    layer.style.width = `${grid.width}px`;
    layer.style.height = `${grid.height}px`;
  }

  /** Whoever's link has ended is shown where he stands, not pictures without an archive behind them. */
  async function look() {
    const response = await fetch(`${link}/api/guest/session`, { credentials: 'same-origin' }).catch(() => undefined);
    if (response?.status === 401) return location.replace(link);
    if (response?.ok) draw((await response.json()).watermark.replace(/\s{2,}/g, ' · '));
  }

  addEventListener('DOMContentLoaded', () => {
    follow();
    setInterval(follow, FOLLOW_MS);
    setInterval(look, LOOK_MS);
  });
  void look();
})();
