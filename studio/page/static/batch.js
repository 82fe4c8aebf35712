// Uploads a dropped or chosen prompt file. The plan on show is inert until the plan of this file arrives.
const GIVEN_UP = 120_000; // ms without a plan, after which the old plan is usable again
const zone = () => element.querySelector('[data-drop]');
const plan = () => document.querySelector('#batch-plan');
let awaited = null, patience;
const busy = (on) => { zone().classList.toggle('busy', on); plan().inert = on; };
const done = () => { clearTimeout(patience); awaited = null; busy(false); };
const planned = new MutationObserver(() => {
  if (awaited && [...plan().querySelectorAll('[data-of]')].some((mark) => mark.dataset.of === awaited)) done();
});
const take = async (file) => {
  if (!file) return;
  planned.observe(plan(), { attributes: true, childList: true, subtree: true });
  clearTimeout(patience);
  patience = setTimeout(done, GIVEN_UP);
  awaited = null;
  busy(true);
  try {
    const { path } = await upload(file);
    awaited = path;
    trigger('select', { own: 'file', path, name: file.name });
  } catch (problem) {
    done();
    throw problem;
  }
};
element.addEventListener('change', (event) => {
  if (!event.target.matches('input[type=file]')) return;
  take(event.target.files[0]);
  event.target.value = ''; // so that the same file can be chosen again
});
for (const [name, over] of [['dragover', true], ['dragleave', false], ['drop', false]])
  element.addEventListener(name, (event) => {
    event.preventDefault();
    zone().classList.toggle('over', over);
    if (name === 'drop') take(event.dataTransfer?.files[0]);
  });
