// A prompt file, dropped or chosen.
const zone = () => element.querySelector('[data-drop]');
const take = async (file) => {
  if (!file) return;
  zone().classList.add('busy');
  try {
    const { path } = await upload(file);
    trigger('select', { own: 'file', path, name: file.name });
  } finally {
    zone().classList.remove('busy');
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
