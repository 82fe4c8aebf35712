// Ideas for a prompt. While one types, what may follow is offered behind the last letter and taken by Tab; where nothing
// is offered, Tab is the browser's. A completion that was taken offers no other before the next key: Tab then goes on.
const WAIT = 350, MOST = 200; // ms after the last key; characters
const find = (selector) => element.querySelector(selector);
const box = () => document.querySelector(`#${find('[data-prompt]')?.dataset.prompt} :is(textarea, input)`);
const atEnd = (input) => input.selectionStart === input.value.length;
let timer = 0, asking = new AbortController(), offered = '';

const say = (words) => studio.write(find('[role=status]'), words);
const offer = (text) => {
  if (text === offered || !find('.offer')) return;
  offered = text;
  studio.hide(find('.offer'), !text);
  studio.write(find('.offer span'), text);
  say(text ? find('[role=status]').dataset.offer.replace('{}', text) : '');
};
const show = (html) => {
  find('.ideas').innerHTML = html;
  studio.hide(find('.ideas'), !html);
  find('[data-act=ideas]').setAttribute('aria-expanded', String(Boolean(html)));
};
const take = (text) => {
  offer('');
  show('');
  studio.type(box(), text);
};
const fetchFor = (what, text) => {
  asking.abort();
  asking = new AbortController();
  return studio.fetchJson(`/suggest/${what}?text=${encodeURIComponent(text)}`, { signal: asking.signal });
};
const complete = async () => {
  const input = box(), text = input?.value || '';
  const fits = () => document.activeElement === input && input.value === text && atEnd(input);
  if (!fits() || text.trim().length < 2 || text.length > MOST) return;
  try {
    const [found] = await fetchFor('completion', text);
    if (found && fits()) offer(found.text);
  } catch { /* nothing is offered */ }
};
const list = async () => {
  if (!find('.ideas').hidden) { show(''); return; }
  clearTimeout(timer);
  say(find('[role=status]').dataset.looking);
  element.setAttribute('aria-busy', 'true');
  try {
    show((await fetchFor('list', box().value)).html);
  } catch (error) {
    if (error.name !== 'AbortError') {
      show('<p class="note problem" role="alert"></p>');
      studio.write(find('.ideas p'), studio.why(error));
    }
  }
  element.removeAttribute('aria-busy');
  say('');
};

document.addEventListener('input', (event) => {
  if (event.target !== box()) return;
  offer('');
  show('');
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
  if (event.key === 'Tab' && plain && atEnd(event.target)) { event.preventDefault(); take(offered); }
  else if (event.key === 'Escape') { event.stopPropagation(); offer(''); }
}, true);
element.addEventListener('pointerdown', (event) => { if (event.target.closest('.offer')) event.preventDefault(); });
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button?.dataset.act === 'ideas') list();
  else if (button) take(button.dataset.text ?? offered);
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || find('.ideas').hidden) return;
  show('');
  find('[data-act=ideas]').focus();
});
