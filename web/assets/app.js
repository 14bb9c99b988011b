// orch: small behaviours, each attached by a data- attribute and removable. The pages work without them.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// data-theme-form: changes the colours at once; the cookie tells the server, which draws the next page right.
$('[data-theme-form]')?.addEventListener('submit', (e) => {
  e.preventDefault();
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  const secure = location.protocol === 'https:' ? '; Secure' : '';
  const path = root.dataset.base.replace(/(.)\/$/, '$1');
  document.cookie = `theme=${root.dataset.theme}; Path=${path}; Max-Age=31536000; SameSite=Lax${secure}`;
});

// details.menu: closes when one looks elsewhere.
for (const menu of $$('details.menu')) {
  addEventListener('click', (e) => { if (!menu.contains(e.target)) menu.open = false; });
  menu.addEventListener('keydown', (e) => { if (e.key === 'Escape') { menu.open = false; $('summary', menu).focus(); } });
}

// data-palette="/palette": the command palette. The server says what fits. Combobox pattern: focus stays in the field,
// arrows move the active option.
const palette = $('[data-palette]');
if (palette) {
  const field = $('input', palette);
  const list = $('[role=listbox]', palette);
  const shown = () => $$('[role=option]', list);
  let asked = 0;
  const activate = (option) => {
    for (const o of shown()) o.setAttribute('aria-selected', o === option);
    if (!option) return field.removeAttribute('aria-activedescendant');
    field.setAttribute('aria-activedescendant', option.id);
    option.scrollIntoView({ block: 'nearest' });
  };
  const ask = async () => {
    const mine = ++asked;
    const answer = await fetch(`${palette.dataset.palette}?q=${encodeURIComponent(field.value)}`);
    if (answer.redirected) return location.reload();
    // A later question may have been answered sooner.
    if (!answer.ok || mine !== asked) return;
    const html = await answer.text();
    if (mine !== asked) return;
    list.innerHTML = html;
    activate(shown()[0]);
  };
  const open = (e) => { e?.preventDefault(); palette.showModal(); field.select(); ask(); };
  let typing;
  field.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(ask, 80); });
  palette.addEventListener('keydown', (e) => {
    const options = shown();
    const at = options.findIndex((o) => o.getAttribute('aria-selected') === 'true');
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      activate(options[(at + (e.key === 'ArrowDown' ? 1 : options.length - 1)) % options.length]);
    } else if (e.key === 'Enter' && options[at]) { e.preventDefault(); location.href = options[at].dataset.href; }
  });
  palette.addEventListener('click', (e) => {
    const option = e.target.closest('[role=option]');
    if (option) location.href = option.dataset.href;
    else if (e.target === palette) palette.close();
  });
  for (const b of $$('[data-open=palette]')) b.addEventListener('click', open);
  addEventListener('keydown', (e) => { if ((e.metaKey || e.ctrlKey) && e.key === 'k') open(e); });
}

// data-roving: one tab stop, arrow keys walk the cells of a table; newest (right end) is in view first.
const rove = () => $$('[data-roving]').forEach((table) => {
  if (table.dataset.roving) return;
  table.dataset.roving = 'on';
  table.parentElement.scrollLeft = table.scrollWidth;
  const cells = $$('.cell', table);
  const start = $('[aria-current]', table) ?? cells.at(-1);
  for (const c of cells) c.tabIndex = c === start ? 0 : -1;
  table.addEventListener('pointerover', (e) => { const c = e.target.closest('.cell'); if (c) c.title ||= c.ariaLabel; });
  table.addEventListener('keydown', (e) => {
    const cell = e.target.closest('.cell');
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (!cell || !step) return;
    e.preventDefault();
    const td = cell.parentElement;
    let row = td.parentElement;
    let next = row.cells[td.cellIndex + step[1]];
    if (step[0]) {
      row = step[0] > 0 ? row.nextElementSibling : row.previousElementSibling;
      while (row?.hidden) row = step[0] > 0 ? row.nextElementSibling : row.previousElementSibling;
      next = row?.cells[td.cellIndex];
    }
    const to = next && $('.cell', next);
    if (to) { cell.tabIndex = -1; to.tabIndex = 0; to.focus(); }
  });
});
rove();
addEventListener('orch:placed', rove);

// data-fold="silver": folds the rows with data-in="silver".
addEventListener('click', (e) => {
  const b = e.target.closest('[data-fold]');
  if (!b) return;
  const open = b.getAttribute('aria-expanded') !== 'true';
  b.setAttribute('aria-expanded', open);
  for (const row of $$(`[data-in="${b.dataset.fold}"]`)) row.hidden = !open;
});

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

// data-submit: a choice sends its form.
for (const s of $$('[data-submit]')) s.addEventListener('change', () => s.form.requestSubmit());

// data-copy: copies the text of the nearest command.
for (const b of $$('[data-copy]')) b.addEventListener('click', async () => {
  await navigator.clipboard.writeText($('code', b.closest('.cmd')).textContent.trim());
  b.setAttribute('aria-label', 'Copied');
});

// data-live="…/events": asks for the page again when the server says that it changed, and puts the new parts in place. Lines
// of a log come by themselves. A page nobody looks at lets its connection go: a browser has few of them.
const live = $('[data-live]');
if (live && window.EventSource) {
  let stream;
  let at;
  let asking = false;
  let again = false;
  const open = () => {
    const url = new URL(live.dataset.live, location.href);
    if (at) url.searchParams.set('at', at);
    stream = new EventSource(url);
    stream.addEventListener('changed', refresh);
    stream.addEventListener('lines', (e) => { at = e.lastEventId; add(e.data); });
    stream.addEventListener('over', () => { stream.close(); location.reload(); });
  };
  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (!answer.ok || answer.redirected) { stream.close(); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      // Another try began: its log is another one.
      if (attempt(fresh) && attempt(fresh) !== attempt(document)) { stream.close(); location.reload(); return; }
      document.title = fresh.title;
      place(fresh, '.head');
      place(fresh, '.why-first');
      place(fresh, '.aside');
      if (!log) place(fresh, `[id="${live.id}"]`);
    } finally {
      asking = false;
      if (again) refresh();
    }
  };
  const attempt = (page) => $('[data-live]', page)?.dataset.live.match(/attempt=([^&]*)/)?.[1];
  const place = (fresh, selector) => {
    const [old, now] = [$(selector), $(selector, fresh)];
    if (old && now && old.innerHTML !== now.innerHTML && !old.contains(document.activeElement)) { old.innerHTML = now.innerHTML; dispatchEvent(new Event('orch:placed')); }
  };

  // New lines go below the others: folds, filters and the place of the reader stay. Whoever reads further up is told how
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
  open();
  document.addEventListener('visibilitychange', () => {
    stream.close();
    if (!document.hidden) open();
  });
}

// data-file-for="text": a file that is chosen is read into the field of that id, and its ending chooses the format.
for (const box of $$('[data-file-for]')) {
  box.hidden = false;
  $('input', box).addEventListener('change', async ({ target: { files: [file] } }) => {
    if (!file) return;
    document.getElementById(box.dataset.fileFor).value = await file.text();
    const ending = file.name.split('.').at(-1).replace('yml', 'yaml');
    const format = $(`[name=format][value="${CSS.escape(ending)}"]`, box.closest('form'));
    if (format) format.checked = true;
  });
}
