// orch: the grid of a DAG by keyboard.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// data-roving: one tab stop, arrow keys walk the cells of a table; newest (right end) is in view first.
const folded = new Set();
const fold = (b, open) => {
  b.setAttribute('aria-expanded', open);
  for (const row of $$(`[data-in="${b.dataset.fold}"]`)) row.hidden = !open;
};
const rove = () => $$('[data-roving]').forEach((table) => {
  if (table.dataset.roving) return;
  table.dataset.roving = 'on';
  table.parentElement.scrollLeft = table.scrollWidth;
  for (const b of $$('[data-fold]', table)) if (folded.has(b.dataset.fold)) fold(b, false);
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

// data-beside: a link whose words stand beside the grid.
const beside = async (href) => {
  const answer = await fetch(href);
  const now = $('[data-part=now]', new DOMParser().parseFromString(await answer.text(), 'text/html'));
  if (!now) { location = href; return; }
  $('[data-part=now]').innerHTML = now.innerHTML;
  for (const a of $$('.grid [data-beside]')) a.ariaCurrent = a.href === href ? 'true' : null;
};
addEventListener('click', (e) => {
  const a = e.target.closest('a[data-beside]');
  if (!a || e.metaKey || e.ctrlKey || e.shiftKey) return;
  e.preventDefault();
  history.pushState(null, '', a.href);
  beside(a.href);
});
addEventListener('popstate', () => beside(location.href));

// data-fold="silver": folds the rows with data-in="silver".
addEventListener('click', (e) => {
  const b = e.target.closest('[data-fold]');
  if (!b) return;
  const open = b.getAttribute('aria-expanded') !== 'true';
  folded[open ? 'delete' : 'add'](b.dataset.fold);
  fold(b, open);
});
