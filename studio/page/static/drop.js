// A picture dropped anywhere on the page, but for the inputs that take pictures themselves.
let inside = false; // browsers list a dragged picture of the page itself as a file, too
addEventListener('dragstart', () => { inside = true; }, true);
// There is no end where the picture is gone by then; but while something is dragged, no pointer moves.
for (const end of ['dragend', 'pointermove']) addEventListener(end, () => { inside = false; }, true);
const own = (event) => event.target.closest?.('.takes-files, [data-drop]');
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
