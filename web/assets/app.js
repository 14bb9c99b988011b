// orch: small behaviours, each attached by a data- attribute and removable. The pages work without them.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// orchFollow(url, { event: does }): the stream of a live page. data-live-sign shows its state; the root has the class `connected`
// while it is open, and `lost` while it is cut. It is opened again then. `url` is a function, because a log continues where it was.
// The caller reports a new copy of the page with shown(when it was requested).
const sign = $('[data-live-sign]');
const say = (words, look) => {
  if (!sign || (sign.textContent === words && sign.className === look)) return;
  sign.hidden = !words;
  sign.textContent = words;
  sign.className = look;
};
// A time in the zone of the page, with the date if it is not today. The locale writes 2026-12-01 12:03:20.
const written = (at) => {
  const write = (timeZone) => [at, Date.now()].map((time) => new Date(time).toLocaleString('sv-SE', { timeZone }).split(' '));
  let times;
  try { times = write(sign?.dataset.timeZone); } catch { times = write('UTC'); }
  const [[day, time], [today]] = times;
  return day === today ? time : `${day} ${time}`;
};
// The server sends an event at least every 15 s. A connection without any for this long is lost.
const silence = 45_000;
window.orchFollow = (url, does) => {
  let stream;
  let wait;
  let cut = false;
  // When this copy of the page was requested, and when the last change was reported.
  let shownAt = performance.timeOrigin;
  let changedAt = 0;
  let asOf = shownAt;
  let heard = Date.now();
  const connected = (is, isLost = false) => {
    document.documentElement.classList.toggle('connected', is);
    document.documentElement.classList.toggle('lost', isLost);
  };
  const lost = () => { cut = true; connected(false, true); say(`Not connected; as of ${written(asOf)}`, 'live lost'); };
  const hear = () => { heard = Date.now(); if (changedAt <= shownAt) asOf = heard; };
  const close = (words = '') => { clearTimeout(wait); stream?.close(); stream = null; connected(false, words !== ''); say(words, 'live lost'); };
  const open = () => {
    heard = Date.now();
    stream = new EventSource(url());
    stream.addEventListener('open', () => {
      heard = Date.now();
      connected(true);
      say('Live', 'live wide');
      if (cut && does.changed) { changedAt = heard; does.changed(); }
      cut = false;
    });
    stream.addEventListener('error', async () => {
      lost();
      // The browser itself does not come back after an answer that is no stream, as of a proxy without its server.
      if (stream?.readyState !== EventSource.CLOSED) return;
      const page = await fetch(location.href, { method: 'HEAD' }).catch(() => null);
      if (page?.redirected) close('Signed out: reload the page');
      else if (stream) wait = setTimeout(open, 2000);
    });
    stream.addEventListener('alive', hear);
    for (const [name, act] of Object.entries(does)) {
      stream.addEventListener(name, (e) => { if (name === 'changed') changedAt = Date.now(); hear(); act(e); });
    }
  };
  const shown = (at) => { shownAt = at; asOf = Math.max(asOf, at); };
  open();
  setInterval(() => {
    if (stream?.readyState !== EventSource.OPEN || Date.now() - heard < silence) return;
    lost();
    stream.close();
    open();
  }, 5000);
  return { close, open: () => { clearTimeout(wait); stream?.close(); open(); }, shown };
};

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

// data-submit: a choice sends its form.
for (const s of $$('[data-submit]')) s.addEventListener('change', () => s.form.requestSubmit());

// data-copy: copies the text of the nearest command.
for (const b of $$('[data-copy]')) b.addEventListener('click', async () => {
  await navigator.clipboard.writeText($('code', b.closest('.cmd')).textContent.trim());
  b.setAttribute('aria-label', 'Copied');
});
