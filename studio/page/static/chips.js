// What was understood of the prompt, as chips. They follow what stands in the box, whoever wrote it there; a chip acts on
// the very text that it was made of.
const WAIT = 300; // ms for which the text has stood still
const holder = () => element.querySelector('.chips-of');
// What is to be left out, which may stand in a fold that was never opened: the stage's chips of what is set know it.
const without = () => document.querySelector(`#${holder()?.dataset.prompt.replace('prompt', 'active')} [data-name=negative]`)?.dataset.value ?? '';
const box = () => document.querySelector(`#${holder()?.dataset.prompt} :is(textarea, input)`);
let seen = '', shown = '', beside = '', asking = new AbortController(), composing = false;

const read = async (text, negative) => {
  shown = text;
  beside = negative;
  asking.abort();
  asking = new AbortController();
  try {
    const { html } = text.trim() ? await studio.fetchJson(`/read?${new URLSearchParams({ text, negative })}`, { signal: asking.signal }) : { html: '' };
    if (box()?.value === text) holder().innerHTML = html;
  } catch { /* an older text, or one that can't be read: the stage says why */ }
};
const follow = () => {
  const text = box()?.value ?? '', negative = without();
  if ((text !== shown || negative !== beside) && text === seen && !composing && !document.hidden) read(text, negative);
  seen = text;
};
const write = (text, at) => {
  const input = box();
  input.value = text;
  input.dispatchEvent(new Event('input', { bubbles: true }));
  input.focus();
  input.setSelectionRange(at, at);
};
// Offsets count characters as Python does, of which a text of two code units is one.
const replaced = ({ start, words }, by) => {
  const letters = [...shown], at = Number(start), before = letters.slice(0, at).join('');
  const after = letters.slice(at + [...words].length).join('');
  if (by) return [before + by + after, before.length + by.length];
  const left = before.replace(/\s+$/, ''), joint = left && /^\s*\w/.test(after) ? ' ' : '';
  return [left + joint + after.trimStart(), left.length];
};
const change = (data, by = '') => {
  if (box()?.value === shown) write(...replaced(data, by));
};
element.addEventListener('change', ({ target }) => { if (target.value) change(target.dataset, target.value); });
element.addEventListener('click', ({ target }) => {
  const button = target.closest('button');
  if (button?.dataset.take) write(button.dataset.take, button.dataset.take.length);
  else if (button) change(button.dataset);
});
document.addEventListener('compositionstart', ({ target }) => { composing = target === box(); });
document.addEventListener('compositionend', () => { composing = false; });
const timer = setInterval(() => { if (element.isConnected) follow(); else clearInterval(timer); }, WAIT);
