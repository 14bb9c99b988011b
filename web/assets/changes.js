// orch: lists that stay true. data-changes="/events" names a stream that says when a run began, went on or ended; the
// page is asked for again and each data-part of it put in place. What one points at, has chosen or has under the
// keyboard stays where it is.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const place = $('[data-changes]');
if (place && window.EventSource) {
  let asking = false;
  let again = false;
  let moved = 0;
  let last = 0;
  let wait;
  addEventListener('pointermove', () => { moved = Date.now(); }, { passive: true });
  const name = (e) => e.getAttribute('href') ?? (e.name ? `${e.name}=${e.value}` : null);
  const put = (old, now) => {
    if (old.innerHTML === now.innerHTML) return;
    const focused = old.contains(document.activeElement) ? name(document.activeElement) : null;
    const picked = new Set($$('input:checked', old).map(name));
    // What scrolls stays where it is; at its end it stays at its end.
    const boxes = () => $$('[role=region]', old);
    const left = boxes().map((b) => (b.scrollLeft + b.clientWidth > b.scrollWidth - 4 ? Infinity : b.scrollLeft));
    old.innerHTML = now.innerHTML;
    for (const box of $$('input[type=checkbox]', old)) box.checked = picked.has(name(box));
    dispatchEvent(new Event('orch:placed'));
    boxes().forEach((b, i) => { b.scrollLeft = Math.min(left[i] ?? 0, b.scrollWidth); });
    if (focused !== null) $$('a, button, input', old).find((e) => name(e) === focused)?.focus({ preventScroll: true });
  };
  // Nothing moves under a hand, and nothing while one types.
  const busy = () => document.hidden || asking || Date.now() - moved < 1500 || Date.now() - last < 1500 || $('dialog[open]') || $('details.menu[open]')
    || document.activeElement?.matches('input:not([type=checkbox]), textarea, select');
  const refresh = async () => {
    clearTimeout(wait);
    if (busy()) { again = true; wait = setTimeout(refresh, 1000); return; }
    asking = true;
    again = false;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (answer.redirected) { stream.close('Signed out: reload the page'); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      document.title = fresh.title;
      $('link[rel=icon]').href = $('link[rel=icon]', fresh).href;
      for (const part of $$('[data-part]')) {
        const now = $(`[data-part="${part.dataset.part}"]`, fresh);
        if (now) put(part, now);
      }
      stream.shown(last);
    } catch {
      // The stream shows that the connection is lost, and requests the page when it is back.
    } finally {
      asking = false;
      if (again) wait = setTimeout(refresh, 1000);
    }
  };
  const stream = orchFollow(() => place.dataset.changes, { changed: refresh });
  document.addEventListener('visibilitychange', () => { if (again && !document.hidden) refresh(); });
}
