// --- What is selected, and what is done with it ------------------------------------------------------------------------

const SLICE = 50; // pictures of one request: none takes long, and one sees how far it is
let from = null;          // where a range begins
const undone = [];        // what undoes the last changes, the latest last

const cellOf = (node) => node?.closest?.('.pick');
const cellWith = (digest) => element.querySelector(`.pick[data-picture="${digest}"]`);

const box = (cell) => cell.querySelector('.tick input');
const ticked = () => [...element.querySelectorAll('.pick:has(.tick :checked)')];
const chosen = () => [...new Set(ticked().map((cell) => cell.dataset.picture))];
const tick = (cell, on) => { box(cell).checked = on; };
const range = (a, b, on) => {
  if (a.parentElement !== b.parentElement) { tick(b, on); return; }
  const [first, last] = a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? [a, b] : [b, a];
  for (let cell = first; cell; cell = cell === last ? null : cell.nextElementSibling) tick(cell, on);
};
const select = (cell, on, whole) => {
  whole && from?.isConnected ? range(from, cell, on) : tick(cell, on);
  from = cell;
  update();
};
const selectAll = () => { for (const cell of element.querySelectorAll('.pick')) tick(cell, true); update(); };
const selectNone = () => { for (const cell of ticked()) tick(cell, false); update(); };
const update = () => {
  const count = chosen().length;
  hide(find('.chosen'), !count);
  write(find('.chosen b'), text('chosen', { count }));
};

// Does one thing to pictures, slice by slice -> those to which it was done.
const changeAll = async (act, value, pictures) => {
  const done = [];
  for (let start = 0; start < pictures.length; start += SLICE) {
    if (pictures.length > SLICE) say(text('at_work', { count: start, total: pictures.length }));
    const change = { do: act, value, pictures: pictures.slice(start, start + SLICE) };
    const slice = await studio.fetchJson('/gallery/act', studio.asJson(change));
    done.push(...slice.done);
    if (slice.problem) say(slice.problem, 'problem');
    if (slice.problem && !slice.done.length) break;
  }
  return done;
};

const OPPOSITE = { delete: 'restore', restore: 'delete' };

// What goes wrong is said.
const tried = (what) => what().catch((problem) => say(studio.why(problem), 'problem'));

// What is pressed while another change is being made comes after it: what is undone is the last that was pressed.
let turn = Promise.resolve();
const inTurn = (what) => (turn = turn.catch(() => {}).then(what));

const perform = (act, value, pictures) => inTurn(() => carryOut(act, value, pictures));

const carryOut = async (act, value, pictures, undoing = false) => {
  if (!pictures.length) return;
  await tried(async () => {
    say('');
    const done = await changeAll(act, value, pictures), moved = OPPOSITE[act] && done.length;
    if (moved && !undoing) undone.push({ act: OPPOSITE[act], pictures: done });
    const undoable = Boolean(moved && undone.length);
    if (done.length && !find('.outcome').classList.contains('problem')) say(text(`was_${act}`, { count: done.length }), '', undoable);
    if (moved) for (const digest of done) away(digest);
  });
  news += 1;
  studio.pollNow();
  await keepUp();
};

// A cell whose picture went elsewhere; the one after it takes the focus.
const away = (digest) => {
  const cell = cellWith(digest);
  if (!cell) return;
  const focused = cell.contains(document.activeElement), tabbed = cell.querySelector('[tabindex="0"]');
  const next = cell.nextElementSibling || cell.previousElementSibling;
  cell.remove();
  if (next && (focused || tabbed)) focus(next, focused);
  else if (focused) find('[data-act=undo]').focus(); // else Ctrl+Z would be heard by nobody
  update();
};

const undo = () => inTurn(() => {
  const last = undone.pop();
  return last && carryOut(last.act, '', last.pictures, true);
});

const zip = async (pictures) => {
  const most = Number(find('.gallery-tab').dataset.zipMost);
  if (pictures.length > most) return say(text('too_many', { count: most }), 'problem');
  await tried(async () => {
    say(text('at_work', { count: 0, total: pictures.length }));
    await studio.save(await studio.ask('/gallery/zip', studio.asJson({ pictures })), 'studio.zip');
    say(text('was_zip', { count: pictures.length }));
  });
};

const emptyBin = async () => {
  find('.sure').close();
  await tried(async () => {
    const answer = await studio.fetchJson('/gallery/empty', studio.asJson({}));
    say(text('was_empty', { count: answer.done }));
  });
  anew = true;
  undone.length = 0;
  selectNone();
  studio.pollNow();
  await keepUp();
};

const label = (act) => {
  const field = find(`.labels input[name=${act.replace('un', '')}]`);
  if (!field.value.trim()) { say(text('no_label'), 'problem'); field.focus(); return; }
  perform(act, field.value.trim(), chosen());
};

const ACTS = {
  newer: () => { scrollTo({ top: 0 }); keepUp(); },
  all: selectAll,
  none: selectNone,
  clear,
  sure: () => find('.sure').showModal(),
  keep: () => find('.sure').close(),
  empty: emptyBin,
  undo,
  dismiss: () => say(''),
  zip: () => zip(chosen()),
  tag: () => label('tag'), untag: () => label('untag'), board: () => label('board'), unboard: () => label('unboard'),
};

// Before `data-do` is heard: with Ctrl or Shift a click selects.
element.addEventListener('click', (event) => {
  const cell = cellOf(event.target);
  if (cell && event.target === box(cell)) return select(cell, event.target.checked, event.shiftKey);
  if (cell && event.target.closest('.board') && (event.shiftKey || event.ctrlKey || event.metaKey)) {
    event.stopImmediatePropagation();
    event.preventDefault();
    return select(cell, event.shiftKey || !box(cell).checked, event.shiftKey);
  }
  const act = event.target.closest('[data-act]')?.dataset.act;
  if (act) (ACTS[act] || (() => perform(act, '', chosen())))();
}, { capture: true });
element.addEventListener('change', (event) => {
  if (!event.target.matches('[data-rate]') || !event.target.value) return;
  perform('rate', event.target.value, chosen());
  event.target.value = '';
});

// One cell at a time is in the order of Tab; arrows move it.
const focus = (cell, really = true) => {
  cell.parentElement.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
  const board = cell.querySelector('.board');
  board.tabIndex = 0;
  if (really) { board.focus({ preventScroll: true }); cell.scrollIntoView({ block: 'nearest' }); }
};
const columns = () => getComputedStyle(grid()).gridTemplateColumns.split(' ').length;
const stepped = (cell, steps) => {
  const cells = [...cell.parentElement.children];
  return cells[Math.min(cells.length - 1, Math.max(0, cells.indexOf(cell) + steps))];
};
const STEPS = {
  ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: columns,
  PageUp: () => -4 * columns(), PageDown: () => 4 * columns(), Home: () => -1e9, End: () => 1e9,
};

const meant = (cell) => (ticked().length ? chosen() : [cell.dataset.picture]);
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
  } else if (event.key === ' ') select(cell, !box(cell).checked, event.shiftKey);
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
  if (event.key === 'Escape' && ticked().length && !find('.sure').open) { selectNone(); done = true; }
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
