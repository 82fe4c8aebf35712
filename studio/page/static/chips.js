// The chips of a prompt. They follow the text in the box, by polling since scripts change it too; a chip edits only the
// text that it was made of.
const WAIT = 300; // ms between polls; the text must be unchanged for that long
const holder = () => element.querySelector('.chips-of');
// The negative prompt, from the chips beside the button: its input exists only once its fold was opened.
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
// Offsets count code points, as in Python.
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
