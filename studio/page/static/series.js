// Series on show follow the queue and the gallery.
studio.listen(element, trigger);
const refresh = () => { if (element.offsetParent) trigger('input'); };
studio.follow({ queue: refresh, gallery: refresh });

// What was asked for is below the inputs on a phone: scroll to it once it is there, or once it is said why it can't be.
const tab = (at) => at.closest('[role=tabpanel]');
const shown = () => element.querySelector('[data-series]')?.dataset.series;
let before = null; // what was on show when it was asked for: a refresh that was on its way then may still come first
document.addEventListener('click', (event) => {
  const make = event.target.closest?.('.make');
  if (make && tab(make) === tab(element)) before = { shown: shown() };
});
watch('value', () => {
  if (!before || !element.offsetParent || (shown() === before.shown && !element.querySelector('.notice'))) return;
  before = null;
  studio.scrollTo(element);
});
