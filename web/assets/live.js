// orch: a run and a log that go on while one looks.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// data-log: wrap, and the first line that was searched for. Search and levels are the server's: it has the whole log.
const log = $('[data-log]');
if (log) {
  $('[data-wrap]')?.addEventListener('click', (e) => {
    const on = e.currentTarget.getAttribute('aria-pressed') !== 'true';
    e.currentTarget.setAttribute('aria-pressed', on);
    log.classList.toggle('nowraplines', !on);
  });
  if (!location.hash) $('mark', log)?.scrollIntoView({ block: 'center' });
}

// data-live="…/events": asks for the page again when the server says that it changed, and puts the new parts in place. Lines
// of a log come by themselves. A page that is not looked at lets its connection go: a browser has few of them.
const live = $('[data-live]');
if (live && window.EventSource) {
  let stream;
  let at;
  let asking = false;
  let again = false;
  const url = () => {
    const url = new URL(live.dataset.live, location.href);
    if (at) url.searchParams.set('at', at);
    return url;
  };
  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    again = false;
    const began = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (answer.redirected) { stream.close('Signed out: reload the page'); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      // Another try began, whose log is another one; or this one began again, which its log says.
      if (attempt(fresh) && attempt(fresh) !== attempt(document)) { stream.close(); location.reload(); return; }
      document.title = fresh.title;
      place(fresh, '.head');
      place(fresh, '.why-first');
      place(fresh, '.aside');
      if (!log) place(fresh, `[id="${live.id}"]`);
      stream.shown(began);
    } catch {
      // The stream shows that the connection is lost, and requests the page when it is back.
    } finally {
      asking = false;
      if (again) refresh();
    }
  };
  const attempt = (page) => {
    const { live, lost } = $('[data-live]', page)?.dataset ?? {};
    return live && `${live.match(/attempt=([^&]*)/)?.[1]} ${lost}`;
  };
  const place = (fresh, selector) => {
    const [old, now] = [$(selector), $(selector, fresh)];
    if (old && now && old.innerHTML !== now.innerHTML && !old.contains(document.activeElement)) { old.innerHTML = now.innerHTML; dispatchEvent(new Event('orch:placed')); }
  };

  // New lines go below the others: folds, filters and the place of the reader stay. Those who read further up are told how
  // many came; f, or going to the end, follows them again.
  const button = $('[data-follow]');
  const note = $('[data-new-lines]');
  const numbers = (root) => $$('[id^=L]', root).map((line) => Number(line.id.slice(1)));
  let following = Boolean(button) && !location.hash && !$('mark', log);
  let last = log ? Math.max(0, ...numbers(log)) : 0;
  let unread = 0;
  const page = document.documentElement;
  const show = () => {
    button?.setAttribute('aria-pressed', following);
    if (following) unread = 0;
    if (note) note.textContent = unread ? `${unread} new ${unread === 1 ? 'line' : 'lines'}` : 'Follow';
  };
  const toEnd = () => { if (page.scrollHeight > innerHeight) scrollTo({ top: page.scrollHeight }); };
  const add = (html) => {
    if (!log) return;
    const box = document.createElement('template');
    box.innerHTML = html;
    const more = [...box.content.children].filter((line) => Number(line.id.slice(1)) > last);
    if (!more.length) return;
    const first = Number(more[0].id.slice(1));
    const levels = log.dataset.levels.split(' ').filter(Boolean);
    if (first > last + 1 && last > 0) {
      const gap = document.createElement('li');
      gap.className = 'gap';
      const link = document.createElement('a');
      link.className = 'link';
      link.href = `?from=${last + 1}`;
      link.textContent = `${first - last - 1} lines came too fast to be shown here`;
      gap.append(link);
      log.append(gap);
    }
    last = Number(more.at(-1).id.slice(1));
    log.append(...more.filter((line) => !levels.length || levels.includes(line.className)));
    $('[data-no-line]')?.remove();
    const total = $('[data-log-total]');
    if (total) total.textContent = `${last} ${last === 1 ? 'line' : 'lines'}`;
    if (following) {
      while (log.children.length > 5000) log.firstElementChild.remove();
      toEnd();
    } else unread += more.length;
    show();
  };
  if (button) {
    button.hidden = false;
    button.addEventListener('click', () => { following = !following; show(); if (following) toEnd(); });
    let was = scrollY;
    addEventListener('scroll', () => {
      const up = scrollY < was;
      was = scrollY;
      if (up) following = false;
      else if (innerHeight + scrollY >= page.scrollHeight - 4) following = true;
      show();
    }, { passive: true });
    if (following) toEnd();
    show();
  }
  stream = orchFollow(url, {
    changed: refresh,
    lines: (e) => { at = e.lastEventId; add(e.data); },
    over: () => { stream.close(); location.reload(); },
  });
  document.addEventListener('visibilitychange', () => { if (document.hidden) stream.close(); else stream.open(); });
}
