// Offers a completion of the prompt's last word while one types; Tab takes it. Without an offer, Tab moves the focus as
// usual. After a completion was taken, the next offer comes after the next key.
const WAIT = 150, MOST = 1000; // ms after the last key; characters
const find = (selector) => element.querySelector(selector);
const box = () => document.querySelector(`#${find('[data-prompt]')?.dataset.prompt} :is(textarea, input)`);
const atEnd = (input) => input.selectionStart === input.value.length;
let timer = 0, asking = new AbortController(), offered = '';

const offer = (text) => {
  if (text === offered || !find('.offer')) return;
  offered = text;
  studio.hide(find('.offer'), !text);
  studio.write(find('.offer span'), text);
  studio.write(find('[role=status]'), text ? find('[role=status]').dataset.offer.replace('{}', text) : '');
};
const take = () => {
  const text = offered;
  offer('');
  studio.type(box(), text);
};
const complete = async () => {
  const input = box(), text = input?.value || '';
  const fits = () => document.activeElement === input && input.value === text && atEnd(input);
  if (!fits() || text.trim().length < 2 || text.length > MOST) return;
  asking.abort();
  asking = new AbortController();
  try {
    const [completion] = await studio.fetchJson(`/complete?text=${encodeURIComponent(text)}`, { signal: asking.signal });
    if (completion && fits()) offer(completion);
  } catch { /* nothing is offered */ }
};

document.addEventListener('input', (event) => {
  if (event.target !== box()) return;
  offer('');
  clearTimeout(timer);
  if (event.isTrusted && !event.isComposing) timer = setTimeout(complete, WAIT);
});
document.addEventListener('compositionend', (event) => {
  if (event.target === box()) timer = setTimeout(complete, WAIT);
});
document.addEventListener('focusout', (event) => { if (event.target === box()) offer(''); });
document.addEventListener('keydown', (event) => {
  if (event.target !== box() || !offered) return;
  const plain = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey;
  if (event.key === 'Tab' && plain && atEnd(event.target)) { event.preventDefault(); take(); }
  else if (event.key === 'Escape') { event.stopPropagation(); offer(''); }
}, true);
element.addEventListener('pointerdown', (event) => { if (event.target.closest('.offer')) event.preventDefault(); });
element.addEventListener('click', (event) => { if (event.target.closest('.offer')) take(); });
