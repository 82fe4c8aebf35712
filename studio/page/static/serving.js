// Another model is another page: what was written on this one is written on that.
const WORDS = '[id$=prompt] textarea, [id$=prompt] input, [id$=negative] textarea, [id$=negative] input';
window.studio.reloadKept = (picked) => {
  if (!picked) return;
  const words = [...document.querySelectorAll(WORDS)].map((one) => [one.closest('[id]').id, one.value]);
  sessionStorage.setItem('studio_kept', JSON.stringify(words));
  location.reload();
};
const kept = JSON.parse(sessionStorage.getItem('studio_kept') || '[]');
sessionStorage.removeItem('studio_kept');
for (const [id, words] of kept) {
  const write = (tries) => {
    const box = document.querySelector(`#${CSS.escape(id)} textarea, #${CSS.escape(id)} input`);
    if (box) {
      box.value = words;
      box.dispatchEvent(new Event('input', { bubbles: true }));
    } else if (tries) setTimeout(write, 100, tries - 1);
  };
  if (words) write(50);
}
