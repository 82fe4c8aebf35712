// The keys of the Rate tab: 1 and 2 choose, 0 is a tie, x says that both are bad.
studio.listen(element, trigger);

const KEYS = { 1: 'left', 2: 'right', 0: 'tie', x: 'bad' };
document.addEventListener('keydown', (event) => {
  const held = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
  if (held || !element.offsetParent || event.target.matches('input, select, textarea') || document.querySelector('dialog[open]')) return;
  const button = element.querySelector(`[data-own="${KEYS[event.key.toLowerCase()]}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});
// An answer is sent once: its buttons wait for the next pair.
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-pair]')) setTimeout(() => { for (const button of element.querySelectorAll('[data-pair]')) button.disabled = true; });
});
