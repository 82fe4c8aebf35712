// What was asked for is below the inputs on a phone: come to it once it is there.
const tab = (at) => at.closest('[role=tabpanel]');
let asked = false;
document.addEventListener('click', (event) => {
  const make = event.target.closest?.('.make');
  if (make && tab(make) === tab(element)) asked = true;
});
watch('value', () => {
  if (!asked || !element.offsetParent) return;
  asked = false;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (element.getBoundingClientRect().top > innerHeight * 0.6)
    element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
});
