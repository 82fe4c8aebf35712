// A picture dropped anywhere on the page, but for the inputs that take pictures themselves.
const own = (event) => event.target.closest?.('.image-container, .image-editor, #canvas, #like, #first, #second, [data-drop]');
const files = (event) => event.dataTransfer?.types.includes('Files');
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
  trigger('select', { path });
});
