// Files dropped anywhere on the page, except on inputs that take files themselves.
let inside = false; // browsers list a dragged picture of the page as a file, too
addEventListener('dragstart', () => { inside = true; }, true);
// If the dragged picture was removed, there is no dragend; the next pointermove means that the drag has ended.
for (const end of ['dragend', 'pointermove']) addEventListener(end, () => { inside = false; }, true);
const own = (event) => event.target.closest?.('.takes-files');
const files = (event) => !inside && event.dataTransfer?.types.includes('Files');
addEventListener('dragover', (event) => {
  if (!files(event) || own(event)) return;
  event.preventDefault();
  document.body.classList.add('dropping');
});
addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('dropping'); });
addEventListener('drop', async (event) => {
  document.body.classList.remove('dropping');
  if (!files(event) || own(event) || !event.dataTransfer.files.length) return;
  event.preventDefault();
  const { path } = await upload(event.dataTransfer.files[0]);
  trigger('select', { path, video: Boolean(document.querySelector('#video-stage')?.offsetParent) });
});
