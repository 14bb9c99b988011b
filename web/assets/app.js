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
  document.cookie = `theme=${root.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
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

// data-log: search, level filter, wrap, follow.
const log = $('[data-log]');
if (log) {
  const find = $('[data-log-find]');
  const count = $('[data-log-count]');
  const texts = new Map($$('.m', log).map((m) => [m, m.innerHTML]));
  find?.addEventListener('input', () => {
    const needle = find.value.toLowerCase();
    let hits = 0;
    for (const [m, html] of texts) {
      m.innerHTML = html;
      if (!needle) continue;
      const walker = document.createTreeWalker(m, NodeFilter.SHOW_TEXT);
      const nodes = [];
      while (walker.nextNode()) nodes.push(walker.currentNode);
      for (const node of nodes) {
        const at = node.data.toLowerCase().indexOf(needle);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + needle.length);
        range.surroundContents(document.createElement('mark'));
        m.closest('details')?.setAttribute('open', '');
        hits++;
      }
    }
    count.textContent = needle ? `${hits} found` : '';
  });
  for (const b of $$('[data-level]')) b.addEventListener('click', () => {
    const on = b.getAttribute('aria-pressed') !== 'true';
    b.setAttribute('aria-pressed', on);
    for (const line of $$(`.${b.dataset.level}`, log)) line.hidden = !on;
  });
  $('[data-wrap]')?.addEventListener('click', (e) => {
    const on = e.currentTarget.getAttribute('aria-pressed') !== 'true';
    e.currentTarget.setAttribute('aria-pressed', on);
    log.classList.toggle('nowraplines', !on);
  });
}

// data-submit: a choice sends its form.
for (const s of $$('[data-submit]')) s.addEventListener('change', () => s.form.requestSubmit());

// data-copy: copies the text of the nearest command.
for (const b of $$('[data-copy]')) b.addEventListener('click', async () => {
  await navigator.clipboard.writeText($('code', b.closest('.cmd')).textContent.trim());
  b.setAttribute('aria-label', 'Copied');
});

// data-live="…/events": asks for the page again when the server says that it changed, and puts the new parts in place.
const live = $('[data-live]');
if (live && window.EventSource) {
  const stream = new EventSource(live.dataset.live);
  let asking = false;
  let again = false;
  const refresh = async () => {
    if (asking || document.hidden) { again = true; return; }
    asking = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (!answer.ok || answer.redirected) { stream.close(); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      document.title = fresh.title;
      place(fresh, '.head');
      place(fresh, '.why-first');
      place(fresh, '.aside');
      const lines = $('[data-log]');
      const newer = $('[data-log]', fresh);
      if (lines && newer) append(lines, newer); else place(fresh, `[id="${live.id}"]`);
    } finally {
      asking = false;
      if (again && !document.hidden) refresh();
    }
  };
  const place = (fresh, selector) => {
    const [old, now] = [$(selector), $(selector, fresh)];
    if (old && now && old.innerHTML !== now.innerHTML && !old.contains(document.activeElement)) { old.innerHTML = now.innerHTML; dispatchEvent(new Event('orch:placed')); }
  };
  // Only lines that are new, so that folds, filters and the place of the reader stay.
  const append = (lines, newer) => {
    const last = Number(lines.lastElementChild?.id.slice(1) ?? 0);
    const more = [...newer.children].filter((line) => Number(line.id.slice(1)) > last);
    if (!more.length) return;
    const atEnd = innerHeight + scrollY > document.documentElement.scrollHeight - 120;
    for (const b of $$('[data-level][aria-pressed=false]')) for (const line of more) if (line.classList.contains(b.dataset.level)) line.hidden = true;
    lines.append(...more);
    const note = $('[data-new-lines]');
    if (atEnd) scrollTo({ top: document.documentElement.scrollHeight });
    else if (note) note.textContent = `${more.length} new below`;
  };
  stream.addEventListener('changed', refresh);
  stream.addEventListener('over', () => { stream.close(); location.reload(); });
  document.addEventListener('visibilitychange', () => { if (again) refresh(); });
}
