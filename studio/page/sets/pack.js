// A pack takes a moment, and what is done meanwhile is said.
const save = (blob, name) => {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};
element.addEventListener('click', async (event) => {
  const link = event.target.closest('a[data-pack]');
  if (!link) return;
  event.preventDefault();
  if (element.dataset.packing) return;
  const status = element.querySelector('.packing');
  element.dataset.packing = 'true';
  status.textContent = link.dataset.busy;
  try {
    const answer = await fetch(link.href);
    const name = decodeURIComponent((answer.headers.get('content-disposition') || '').split("''")[1] || 'stickers.zip');
    if (!answer.ok) throw new Error((await answer.json()).detail);
    save(await answer.blob(), name);
    status.textContent = '';
  } catch (error) {
    status.textContent = error.message;
  }
  delete element.dataset.packing;
});
