// orch: a graph fits its frame, shows first what was chosen or failed, and lights up what stands above and below a task.
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Smaller than this, words cannot be read: then the frame scrolls.
const LEAST = 0.6;
const fit = (canvas) => {
  const svg = canvas.querySelector('svg.fit');
  if (!svg) return;
  const { width, height } = svg.viewBox.baseVal;
  const scale = Math.max(LEAST, Math.min(1, canvas.clientWidth / width, (innerHeight * 0.72) / height));
  svg.style.maxWidth = 'none';
  svg.style.width = `${Math.floor(width * scale)}px`;
};

// Only the frame moves, not the page.
const centre = (canvas, node) => {
  const [frame, box] = [canvas.getBoundingClientRect(), node.getBoundingClientRect()];
  canvas.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  canvas.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
};

// All that is reached from a node along wires, which lead from one attribute to the other.
const reach = (wires, start, from, to) => {
  const [seen, open] = [new Set([start]), [start]];
  while (open.length) {
    const at = open.pop();
    for (const wire of wires) {
      if (wire.dataset[from] !== at) continue;
      wire.classList.add('on');
      if (!seen.has(wire.dataset[to])) { seen.add(wire.dataset[to]); open.push(wire.dataset[to]); }
    }
  }
  return seen;
};
const dark = (svg) => {
  svg.classList.remove('lit');
  for (const one of $$('.on', svg)) one.classList.remove('on');
};
const light = (svg, node) => {
  dark(svg);
  const wires = $$('.wire', svg);
  const seen = new Set([...reach(wires, node.dataset.node, 'from', 'to'), ...reach(wires, node.dataset.node, 'to', 'from')]);
  for (const one of $$('.node', svg)) one.classList.toggle('on', seen.has(one.dataset.node));
  svg.classList.add('lit');
};

const set = (first) => $$('.canvas').forEach((canvas) => {
  fit(canvas);
  const node = canvas.querySelector('.node[aria-current]') ?? canvas.querySelector('#failed');
  if (first && node) centre(canvas, node);
});
set(true);
addEventListener('orch:placed', () => set(false));
addEventListener('resize', () => set(false));
for (const kind of ['pointerover', 'focusin']) {
  addEventListener(kind, (e) => {
    const node = e.target.closest?.('.canvas .node');
    if (node) light(node.ownerSVGElement, node);
    else if (kind === 'pointerover') $$('.canvas svg.lit').forEach(dark);
  });
}
addEventListener('focusout', (e) => { if (e.target.closest?.('.canvas .node')) dark(e.target.ownerSVGElement); });
