// What was asked for is below the inputs on a phone: come to it once it is there.
const ASKS = { 'set-show': '#set-make', 'compare-show': '#compare-make', 'batch-list': '#batch-plan [data-own=go]' };
const asks = ASKS[element.closest(Object.keys(ASKS).map((id) => `#${id}`).join())?.id];
let asked = false;
document.addEventListener('click', (event) => { if (asks && event.target.closest?.(asks)) asked = true; });
watch('value', () => {
  if (!asked || !element.offsetParent) return;
  asked = false;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (element.getBoundingClientRect().top > innerHeight * 0.6)
    element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
});
