
// --- Keys ------------------------------------------------------------------------------------------------------------

// One cell at a time is in the order of Tab; arrows move it.
const focus = (cell, really = true) => {
  cell.parentElement.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
  const board = cell.querySelector('.board');
  board.tabIndex = 0;
  if (really) { board.focus({ preventScroll: true }); cell.scrollIntoView({ block: 'nearest' }); }
};
const columns = () => getComputedStyle(grid()).gridTemplateColumns.split(' ').length;
const stepped = (cell, steps) => {
  const way = steps > 0 ? 'nextElementSibling' : 'previousElementSibling';
  let to = cell;
  for (let left = Math.abs(steps); left && to[way]; left -= 1) to = to[way];
  return to;
};
const STEPS = {
  ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: columns,
  PageUp: () => -4 * columns(), PageDown: () => 4 * columns(), Home: () => -1e9, End: () => 1e9,
};

const meant = (cell) => (chosen.size ? [...chosen] : [cell.dataset.picture]);
const star = (cell) => {
  const cells = meant(cell).map(cellWith);
  perform(cells.every((one) => one?.dataset.star === '1') ? 'unstar' : 'star', '', meant(cell));
};

const onCell = (event, cell) => {
  const move = STEPS[event.key];
  if (move) {
    const to = stepped(cell, move());
    if (event.shiftKey) { from?.isConnected || (from = cell); range(from, to, true); update(); }
    focus(to);
  } else if (event.key === ' ') select(cell, !chosen.has(cell.dataset.picture), event.shiftKey);
  else if (event.key === 'Delete' && !binned()) perform('delete', '', meant(cell));
  else if (event.key.toLowerCase() === 's' && !binned()) star(cell);
  else if (/^[0-5]$/.test(event.key) && !binned()) perform('rate', event.key, meant(cell));
  else return false;
  return true;
};

element.addEventListener('keydown', (event) => {
  const cell = cellOf(event.target), held = event.ctrlKey || event.metaKey;
  const typing = event.target.matches('input:not([type=checkbox]), select, textarea');
  let done = false;
  if (event.key === 'Escape' && chosen.size && !find('.sure').open) { selectNone(); done = true; }
  else if (held && event.key === 'z' && !typing) { undo(); done = true; }
  else if (held && event.key === 'a' && cell) { selectAll(); done = true; }
  else if (event.key === 'Enter' && !event.isComposing && event.target.matches('.labels input')) {
    label(event.target.name);
    done = true;
  } else if (cell && !held && !event.altKey) done = onCell(event, cell);
  if (done) event.preventDefault();
});
// A button is pressed when the space bar is let go.
element.addEventListener('keyup', (event) => { if (event.key === ' ' && cellOf(event.target)) event.preventDefault(); });
element.addEventListener('focusin', (event) => {
  const cell = cellOf(event.target);
  if (cell && event.target.matches('.board')) focus(cell, false);
});
