// The map of the collection: a canvas of points. Wheel or + and - zoom, dragging or arrows pan; a point shows its picture,
// and opens its card. With Lasso, dragging takes what is inside, and Put on a board does so.
studio.listen(element, trigger);

const NEAR = 14, STEP = 40, AT_ONCE = 100; // px within which a point is meant; of an arrow key; pictures of one change
const find = (selector) => element.querySelector(selector);
const canvas = () => find('canvas');
const say = (words) => studio.write(find('[role=status]'), words);
const text = (name, count) => find('.map').dataset[name].replace('{count}', count);
let points = [], view = { x: 0, y: 0, scale: 1 }, chosen = new Set(), lasso = null, drag = null, shown = null;

const size = () => [canvas().clientWidth, canvas().clientHeight];
const onCanvas = (point) => {
  const [width, height] = size(), margin = 16;
  const at = (share, room) => margin + share * (room - 2 * margin);
  return [(at(point.x, width) - view.x) * view.scale, (at(1 - point.y, height) - view.y) * view.scale];
};
const draw = () => {
  const [width, height] = size(), ratio = devicePixelRatio, to = canvas().getContext('2d');
  Object.assign(canvas(), { width: width * ratio, height: height * ratio });
  to.scale(ratio, ratio);
  const style = getComputedStyle(canvas()), radius = Math.min(12, 3 + view.scale);
  for (const point of points) {
    const [x, y] = onCanvas(point);
    if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
    to.beginPath();
    to.arc(x, y, radius, 0, 7);
    to.fillStyle = chosen.has(point) ? style.getPropertyValue('--chosen') : style.color;
    to.fill();
  }
  if (!lasso) return;
  to.beginPath();
  for (const [x, y] of lasso) to.lineTo(x, y);
  to.strokeStyle = style.getPropertyValue('--chosen');
  to.stroke();
};
const nearest = (x, y, within = NEAR) => {
  let best = null, least = within ** 2;
  for (const point of points) {
    const [a, b] = onCanvas(point), distance = (a - x) ** 2 + (b - y) ** 2;
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
};
const show = (point) => {
  if (point === shown) return;
  shown = point;
  const preview = find('.preview');
  studio.hide(preview, !point);
  if (!point) return;
  const [x, y] = onCanvas(point), [width] = size();
  preview.style.left = `${Math.min(x + 12, width - 140)}px`;
  preview.style.top = `${y + 12}px`;
  Object.assign(preview.querySelector('img'), { src: point.thumbnail, alt: '' });
  studio.write(preview.querySelector('span'), point.words);
};
const zoom = (factor, [x, y] = size().map((side) => side / 2)) => {
  const scale = Math.min(40, Math.max(1, view.scale * factor));
  view = { x: view.x + x / view.scale - x / scale, y: view.y + y / view.scale - y / scale, scale };
  show(null);
  draw();
};
const pan = (x, y) => { view.x += x / view.scale; view.y += y / view.scale; show(null); draw(); };
const inside = ([x, y], ring) => ring.reduce((odd, [a, b], n) => {
  const [c, d] = ring[(n || ring.length) - 1];
  return (b > y) !== (d > y) && x < ((c - a) * (y - b)) / (d - b) + a ? !odd : odd;
}, false);
const choose = (some) => {
  chosen = new Set(some);
  studio.hide(find('.onto'), !chosen.size);
  say(text('chosen', chosen.size));
  draw();
};
const load = async () => {
  try {
    ({ points } = await studio.fetchJson('/map'));
    studio.hide(find('.plane'), !points.length);
    say(points.length ? text('count', points.length) : text('empty', 0));
    choose([]);
    say(points.length ? text('count', points.length) : text('empty', 0));
  } catch (problem) { say(studio.why(problem)); }
};
const board = async () => {
  const name = find('[name=board]').value.trim(), all = [...chosen].map((point) => point.picture);
  try {
    let done = 0;
    for (let n = 0; n < all.length; n += AT_ONCE) {
      const body = { do: 'board', value: name, pictures: all.slice(n, n + AT_ONCE) };
      const answer = await studio.fetchJson('/gallery/act', studio.asJson(body));
      if (answer.problem) { say(answer.problem); return; }
      done += answer.done.length;
    }
    say(text('done', done));
  } catch (problem) { say(studio.why(problem)); }
};
const open = (point) => { if (point) trigger('click', { do: 'open', picture: point.picture }); };
const isLasso = () => find('[data-act=lasso]').getAttribute('aria-pressed') === 'true';
const ACTS = {
  map: () => { studio.hide(find('.map-body'), false); load(); },
  closer: () => zoom(1.5),
  farther: () => zoom(1 / 1.5),
  whole: () => { view = { x: 0, y: 0, scale: 1 }; show(null); draw(); },
  lasso: () => find('[data-act=lasso]').setAttribute('aria-pressed', String(!isLasso())),
  board,
};
element.addEventListener('click', (event) => ACTS[event.target.closest('[data-act]')?.dataset.act]?.());
const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
element.addEventListener('keydown', (event) => {
  if (event.target === find('[name=board]') && event.key === 'Enter') board();
  if (event.target !== canvas() || event.ctrlKey || event.metaKey) return;
  const middle = () => nearest(...size().map((side) => side / 2), Infinity);
  if (KEYS[event.key]) { pan(...KEYS[event.key]); show(middle()); }
  else if ('+='.includes(event.key)) { zoom(1.5); show(middle()); }
  else if (event.key === '-') zoom(1 / 1.5);
  else if (event.key === 'Enter') open(shown || middle());
  else return;
  event.preventDefault();
});
const at = (event) => [event.offsetX, event.offsetY];
element.addEventListener('pointerdown', (event) => {
  if (event.target !== canvas()) return;
  canvas().setPointerCapture(event.pointerId);
  drag = { at: at(event), moved: false };
  if (isLasso()) lasso = [at(event)];
});
element.addEventListener('pointermove', (event) => {
  if (event.target !== canvas()) { show(null); return; }
  const [x, y] = at(event);
  if (!drag) { show(nearest(x, y)); return; }
  drag.moved ||= Math.hypot(x - drag.at[0], y - drag.at[1]) > 4;
  if (lasso) { lasso.push([x, y]); draw(); }
  else if (drag.moved) { pan(drag.at[0] - x, drag.at[1] - y); drag.at = [x, y]; }
});
element.addEventListener('pointerup', (event) => {
  if (!drag) return;
  if (lasso && drag.moved) { const ring = lasso; lasso = null; choose(points.filter((one) => inside(onCanvas(one), ring))); }
  else if (!drag.moved) open(nearest(...at(event)));
  [drag, lasso] = [null, null];
});
element.addEventListener('wheel', (event) => {
  if (event.target !== canvas()) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, at(event));
}, { passive: false });
new ResizeObserver(() => { if (points.length && canvas()?.offsetParent) draw(); }).observe(element);
