// What was asked for is below the inputs on a phone: come to it once it is there, or once it is said why it can't be.
const tab = (at) => at.closest('[role=tabpanel]');
const shown = () => element.querySelector('[data-series]')?.dataset.series;
let before = null; // what was on show when it was asked for: a look that was on its way then may still come first
document.addEventListener('click', (event) => {
  const make = event.target.closest?.('.make');
  if (make && tab(make) === tab(element)) before = { shown: shown() };
});
watch('value', () => {
  if (!before || !element.offsetParent || (shown() === before.shown && !element.querySelector('.told'))) return;
  before = null;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (element.getBoundingClientRect().top > innerHeight * 0.6)
    element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
});
