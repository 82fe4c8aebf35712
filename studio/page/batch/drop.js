// A prompt file, dropped or chosen. It is busy until the plan beside it is another one.
const zone = () => element.querySelector('[data-drop]');
const busy = (on) => zone().classList.toggle('busy', on);
const planned = new MutationObserver(() => busy(false));
const take = async (file) => {
  if (!file) return;
  planned.observe(document.querySelector('#batch-plan'), { childList: true, characterData: true, subtree: true });
  busy(true);
  try {
    const { path } = await upload(file);
    trigger('select', { own: 'file', path, name: file.name });
  } catch (problem) {
    busy(false);
    throw problem;
  }
};
element.addEventListener('change', (event) => {
  if (!event.target.matches('input[type=file]')) return;
  take(event.target.files[0]);
  event.target.value = ''; // the same file, changed meanwhile, may be chosen again
});
for (const [name, over] of [['dragover', true], ['dragleave', false], ['drop', false]])
  element.addEventListener(name, (event) => {
    event.preventDefault();
    zone().classList.toggle('over', over);
    if (name === 'drop') take(event.dataTransfer?.files[0]);
  });
