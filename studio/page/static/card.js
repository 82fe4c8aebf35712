// The card is a real dialog: it keeps the focus, Escape closes it, and the focus returns to what opened it.
studio.listen(element, trigger);

let opener = null, shown = false;
const dialog = () => element.querySelector('dialog');
const closed = () => {
  shown = false;
  props.value = ''; // else the same card would be no news the next time
  opener?.focus?.();
};
const show = () => {
  const card = dialog(), held = document.activeElement;
  studio.replay(element);
  if (!card) shown = false;
  if (!card || card.open) return;
  // The answer to a change may come when its card was closed already.
  if (!shown && 'again' in card.dataset) { props.value = ''; return; }
  if (!shown) opener = held;
  card.showModal();
  (shown && card.contains(held) ? held : card.querySelector('[data-close]')).focus();
  shown = true;
  outline(element.dataset.outline === 'true');
  studio.showBackground();
  card.onclose = closed;
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
  if (!picture) return; // a clip is shown as it is
  picture.dataset.plain ||= picture.getAttribute('src');
  picture.src = on ? `${element.querySelector('[data-outlined]').dataset.outlined}?outline=1` : picture.dataset.plain;
};
const copy = async (button) => {
  try { // a page that came over plain HTTP from another computer has no clipboard
    const blob = fetch(element.querySelector('#card-image').src).then((answer) => answer.blob());
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
    button.textContent = button.dataset.done;
  } catch {
    button.textContent = button.dataset.failed;
  }
};

element.addEventListener('click', (event) => {
  if (event.target.closest('[data-close]') || event.target === dialog()) dialog().close();
  const button = event.target.closest('[data-copy]');
  if (button) copy(button);
});
element.addEventListener('change', (event) => {
  if (event.target.matches('[data-outline]')) outline(event.target.checked);
});
watch('value', show);
