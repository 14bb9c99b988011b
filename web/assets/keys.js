// orch: the keyboard. A single key clicks what carries it in data-key, in the row that has the focus before anywhere
// else; j and k walk the rows of what carries data-rows. Without this script every one of them is a link or a button.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const typing = 'input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]';

// Rows: Tab goes through everything as always, j and k go from row to row.
const rowsOf = (list) => $$(':scope > tbody > tr, :scope > li', list).filter((row) => !row.hidden && mainOf(row));
const mainOf = (row) => $('[data-open-row]', row) ?? $('a[href]', row);
const listOf = (row) => row?.closest('[data-rows]');
const rowOf = (element) => {
  const row = element?.closest?.('tr, li');
  return row && listOf(row) ? row : null;
};
const walk = (by) => {
  const here = rowOf(document.activeElement);
  const list = listOf(here) ?? $('main [data-rows]');
  if (!list) return false;
  const rows = rowsOf(list);
  const next = here ? rows[rows.indexOf(here) + by] : rows[by > 0 ? 0 : rows.length - 1];
  if (next) { mainOf(next).focus(); next.scrollIntoView({ block: 'nearest' }); }
  return rows.length > 0;
};

const carrier = (key) => {
  const wanted = (e) => e.dataset.key === key && e.getClientRects().length > 0;
  const row = rowOf(document.activeElement);
  return (row && $$('[data-key]', row).find(wanted)) ?? $$('[data-key]').find((e) => wanted(e) && !rowOf(e));
};

const alias = { '=': '+', '_': '-', '−': '-' };
addEventListener('keydown', (e) => {
  if (e.defaultPrevented || e.metaKey || e.ctrlKey || e.altKey || e.target.closest?.(`${typing}, dialog`)) return;
  const key = alias[e.key] ?? e.key;
  if (key === 'j' || key === 'k') { if (walk(key === 'j' ? 1 : -1)) e.preventDefault(); return; }
  let target = carrier(key);
  // One level up: where the last but one of the crumbs leads.
  if (!target && key === 'u') target = $('.crumbs li:nth-last-child(2) a');
  if (!target && key === 'x') target = $('input[type=checkbox]', rowOf(document.activeElement) ?? document.createElement('i'));
  if (!target) return;
  e.preventDefault();
  target.matches(typing) ? target.focus() : target.click();
});

// data-keys="/keys": a sheet with the keys of this page. Without this script it is a link to all keys.
const help = $('[data-keys]');
const name = (e) => {
  const text = e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.title ?? '';
  return (text || e.textContent.replace(/\s+/g, ' ')).trim().replace(new RegExp(`\\s*${e.dataset.key.replace(/\W/, '\\$&')}$`), '');
};
const sheet = () => {
  const lines = new Map();
  if ($('main [data-rows]')) {
    lines.set('j k', 'next row, row before');
    lines.set('↵', 'open the row');
    if ($('main [data-rows] input[type=checkbox]')) lines.set('x', 'choose the row');
  }
  if ($('[data-roving]')) lines.set('← ↑ ↓ →', 'walk the grid');
  const first = $$('[data-key]').filter((e) => e.getClientRects().length > 0);
  for (const e of first) if (!lines.has(e.dataset.key)) lines.set(e.dataset.key, rowOf(e) ? e.dataset.keyWords ?? `of a row: ${name(e)}` : e.dataset.keyWords ?? name(e));
  if ($('.crumbs li:nth-last-child(2) a')) lines.set('u', 'one level up');
  lines.set('⌘K', 'search or run');
  const dialog = document.createElement('dialog');
  dialog.className = 'palette keysheet';
  dialog.setAttribute('aria-labelledby', 'keysheet');
  const head = document.createElement('h2');
  head.id = 'keysheet';
  head.textContent = 'Keys of this page';
  const list = document.createElement('dl');
  for (const [keys, words] of lines) {
    const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
    for (const key of keys.split(' ')) dt.append(Object.assign(document.createElement('kbd'), { textContent: key }), ' ');
    dd.textContent = words;
    list.append(dt, dd);
  }
  const close = Object.assign(document.createElement('button'), { className: 'btn', textContent: 'Close', autofocus: true });
  close.addEventListener('click', () => dialog.close());
  const all = Object.assign(document.createElement('a'), { className: 'btn bare', textContent: 'All keys', href: help.href });
  const foot = document.createElement('footer');
  foot.append(close, all);
  dialog.append(head, list, foot);
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (e) => { if (e.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
};
help?.addEventListener('click', (e) => { e.preventDefault(); sheet(); });

// data-zone: in which zone times are written. The cookie tells the server; it follows the browser unless a person chose.
const zone = document.body.dataset.zone;
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone !== undefined && here && zone !== here) {
  const secure = location.protocol === 'https:' ? '; Secure' : '';
  document.cookie = `zone=~${here}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}
for (const e of $$('[data-browser-zone]')) { e.hidden = false; $('input[name=browser]', e).value = here; $('[data-zone-name]', e).textContent = here.replace(/_/g, ' '); }

// data-all: one box chooses all rows; data-chosen says how many are.
const count = (form) => {
  const on = $$('input[type=checkbox][data-pick]').filter((b) => b.form === form);
  const many = on.filter((b) => b.checked).length;
  for (const e of $$('[data-chosen]')) e.textContent = many ? `${many} chosen` : e.dataset.chosen;
  for (const b of $$('[data-needs-chosen]')) if (b.form === form) b.disabled = many === 0;
  for (const b of $$('[data-all]')) if (b.form === form) { b.checked = many > 0 && many === on.length; b.indeterminate = many > 0 && many < on.length; }
};
addEventListener('change', (e) => {
  const form = e.target.form;
  if (!form || !e.target.matches('[data-pick], [data-all]')) return;
  if (e.target.matches('[data-all]')) for (const b of $$('[data-pick]')) if (b.form === form) b.checked = e.target.checked;
  count(form);
});
const countAll = () => { for (const b of $$('[data-all]')) if (b.form) { b.hidden = false; count(b.form); } };
countAll();
addEventListener('orch:placed', countAll);
addEventListener('pageshow', countAll);
