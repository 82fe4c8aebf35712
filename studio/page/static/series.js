// Refreshes the series on show when queue or gallery change.
studio.listen(element, trigger);
const refresh = () => { if (element.offsetParent) trigger('input'); };
studio.follow({ queue: refresh, gallery: refresh });

// On a phone the panel is below the inputs: scroll to it once a new series or a refusal is there.
const tab = (at) => at.closest('[role=tabpanel]');
const shown = () => element.querySelector('[data-series]')?.dataset.series;
let before = null; // the series on show when the button was pressed: an earlier refresh may arrive first
document.addEventListener('click', (event) => {
  const make = event.target.closest?.('.make');
  if (make && tab(make) === tab(element)) before = { shown: shown() };
});
watch('value', () => {
  if (!before || !element.offsetParent || (shown() === before.shown && !element.querySelector('.notice'))) return;
  before = null;
  studio.scrollTo(element);
});
