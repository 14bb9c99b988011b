// orch: a file that is imported, read by the browser.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

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
