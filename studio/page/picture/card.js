// The card is a real dialog: it keeps the focus, Escape closes it, and the focus goes back to what opened it.
studio.listen(element, trigger);

let opener = null;
const dialog = () => element.querySelector('dialog');
const show = () => {
  const card = dialog();
  if (!card) return;
  if (card.open) return;
  const again = element.dataset.key;
  if (!again) opener = document.activeElement;
  card.showModal();
  const back = again && card.querySelector(`[data-key="${again}"]`);
  (back || card.querySelector('[data-close]')).focus();
  element.dataset.key = '';
  outline(element.dataset.outline === 'true');
  card.addEventListener('close', () => {
    props.value = ''; // else the same card would be no news the next time
    opener?.focus?.();
  });
};
const outline = (on) => {
  element.dataset.outline = String(on);
  const box = element.querySelector('[data-outline]');
  if (!box) return;
  box.checked = on;
  for (const link of element.querySelectorAll('[data-outlined]')) {
    link.dataset.plain ||= link.getAttribute('href');
    link.href = on ? `${link.dataset.outlined}?outline=1` : link.dataset.plain;
  }
  const picture = element.querySelector('#card-image');
  picture.dataset.plain ||= picture.getAttribute('src');
  picture.src = on ? `${element.querySelector('[data-outlined]').dataset.outlined}?outline=1` : picture.dataset.plain;
};
const copy = async (button) => {
  const blob = fetch(element.querySelector('#card-image').src).then((answer) => answer.blob());
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
  button.textContent = button.dataset.done;
};

element.addEventListener('click', (event) => {
  const marked = event.target.closest('[data-key]');
  element.dataset.key = marked ? marked.dataset.key : '';
  if (event.target.closest('[data-close]') || event.target === dialog()) dialog().close();
  const button = event.target.closest('[data-copy]');
  if (button) copy(button);
});
element.addEventListener('change', (event) => {
  if (event.target.matches('[data-outline]')) outline(event.target.checked);
  else if (event.target.dataset.key) element.dataset.key = event.target.dataset.key;
});
watch('value', show);
