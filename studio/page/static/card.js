// The card: a modal dialog. When it closes, the focus returns to the element that opened it.
studio.listen(element, trigger);

let opener = null, shown = false;
const dialog = () => element.querySelector('dialog');
const say = (words) => { const status = element.querySelector('.files .fetching'); if (status) status.textContent = words; };
const closed = () => {
  shown = false;
  props.value = ''; // else opening the same card again would not change the value
  opener?.focus?.();
};
const show = () => {
  const card = dialog(), held = document.activeElement;
  studio.replay(element);
  if (!card) shown = false;
  if (!card || card.open) return;
  // The answer to a change may arrive after its card was closed.
  if (!shown && 'again' in card.dataset) { props.value = ''; return; }
  if (!shown) opener = held;
  card.showModal();
  (shown && card.contains(held) ? held : card.querySelector('[data-close]')).focus();
  shown = true;
  draw();
  mark();
  studio.showBackground();
  card.onclose = closed;
};
// Shows the picture enlarged or not, with an outline or without. The choice stays from card to card.
const seen = { outline: false, large: false };
const draw = () => {
  const box = element.querySelector('[data-outline]'), enlarge = element.querySelector('[data-enlarge]');
  if (!box) return;
  const on = box.checked = seen.outline;
  enlarge?.setAttribute('aria-pressed', String(seen.large));
  for (const link of element.querySelectorAll('[data-outlined]')) {
    link.dataset.plain ||= link.getAttribute('href');
    link.href = on ? `${link.dataset.outlined}?outline=1` : link.dataset.plain;
  }
  const picture = element.querySelector('#card-image');
  if (!picture) return; // a clip is shown as it is
  const large = enlarge && seen.large ? enlarge.dataset.enlarge : '';
  const plain = large || dialog().dataset.src, outlined = large || `/downloads/${dialog().dataset.picture}/png`;
  const src = on ? `${outlined}?outline=1&shown=1` : large ? `${large}?shown=1` : plain; // what is shown is no download
  if (picture.getAttribute('src') === src) return;
  if (large) say(enlarge.dataset.busy);
  picture.onload = () => say('');
  picture.onerror = () => studio.ask(src).catch((problem) => say(studio.why(problem)));
  picture.src = src;
};

// Steps through the pictures of the list that the card was opened from.
const around = () => [...(opener?.closest('.cells, .row, .picks, .hits, .tiles, table') || element).querySelectorAll('[data-do=open]')];
const step = (by) => {
  const all = around(), next = all[all.findIndex((one) => one.dataset.picture === dialog().dataset.picture) + by];
  if (!next || next.dataset.picture === dialog().dataset.picture) return;
  opener = next;
  next.scrollIntoView({ block: 'nearest' }); // the gallery fetches more as it scrolls
  trigger('click', { ...next.dataset });
};
// Disables a step at either end of the list.
const mark = () => {
  const all = around(), at = all.findIndex((one) => one.dataset.picture === dialog().dataset.picture);
  for (const button of element.querySelectorAll('[data-step]'))
    button.setAttribute('aria-disabled', String(at < 0 || !all[at + Number(button.dataset.step)]));
};
const copyPicture = async () => {
  const blob = fetch(element.querySelector('#card-image').src).then((answer) => answer.blob());
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
};

element.addEventListener('click', (event) => {
  if (event.target.closest('[data-close]') || event.target === dialog()) dialog().close();
  const button = event.target.closest('[data-copy], [data-step], [data-enlarge]');
  if (!button) return;
  if ('copy' in button.dataset) studio.copy(button, copyPicture);
  else if ('step' in button.dataset) step(Number(button.dataset.step));
  else { seen.large = !seen.large; draw(); }
});
element.addEventListener('keydown', (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && dialog()?.open && !event.target.matches('input, select, textarea')) step(by);
});
element.addEventListener('change', (event) => {
  if (event.target.matches('[data-outline]')) { seen.outline = event.target.checked; draw(); }
});
watch('value', show);
