// Fetches pages of cells as one scrolls, and those on show again after each change. Equal cells stay, so that scroll
// position, focus and selection survive.
studio.listen(element, trigger);

const AHEAD = 1500; // px below the window that are filled in advance
const RETRY = 3000; // ms
const { hide, write } = studio;
const find = (selector) => element.querySelector(selector);
const grid = () => find('.picks');
const cells = () => [...grid().children];
const shown = () => Boolean(grid()?.offsetParent);
const { say, silent } = studio.outcome(element, shown);

let wanted = '';      // the filters as a query
let fingerprint = ''; // of the gallery at the last fetch
let rows = [];        // (number, HTML) of each cell, newest first
let low = null;       // pictures below this number were not fetched yet; null if there are none
let old = Infinity;   // cells from this number on are older than the gallery
let stale = true;     // the cells are older than the gallery
let anew = true;      // the cells belong to other filters
let fetching = new AbortController();

const text = (name, values = {}) =>
  JSON.parse(find('.gallery-tab').dataset.texts)[name].replace(/{(\w+)}/g, (_, name) => Number(values[name]).toLocaleString());

const fetchPage = (before) => {
  const query = new URLSearchParams(wanted);
  if (before) query.set('before', before);
  return studio.fetchJson(`/gallery/page?${query}`, { signal: fetching.signal });
};

// From the first cell in sight to the last one that is filled in advance, and all that are selected; cells above are
// fetched when they come into sight. New pictures would move the cells in view: they come only where the beginning is in
// view, else a button shows that there are some.
const inSight = (cell, ahead = 0) => {
  const { top, bottom } = cell.getBoundingClientRect();
  return bottom > 0 && top < innerHeight + ahead;
};
const refresh = async () => {
  const all = anew ? [] : cells(), matters = (cell) => inSight(cell, AHEAD) || box(cell).checked;
  const first = all.find(matters), last = all.findLast(matters)?.key ?? Infinity;
  old = first && first !== all[0] ? first.key + 1 : Infinity;
  stale = false;
  const fresh = [];
  let page = { low: old < Infinity ? old : undefined };
  do {
    page = await fetchPage(page.low);
    fresh.push(...page.cells);
  } while (page.low !== null && page.low > last);
  anew = false;
  rows = [...rows.filter(([number]) => number >= old), ...fresh];
  put(page);
};

const more = async () => {
  const page = await fetchPage(low);
  rows.push(...page.cells);
  stale ||= page.fingerprint !== fingerprint;
  put(page);
};

// Shows the cells, counts, choices of filters and notices.
const put = (page) => {
  ({ low, fingerprint } = page);
  studio.fill(grid(), rows);
  if (!find('.picks [tabindex="0"]')) find('.picks .board')?.setAttribute('tabindex', '0'); // one cell is in the tab order
  update();
  studio.exchange(find('.counted'), page.counted);
  write(find('.binned'), page.bin ? page.bin.toLocaleString() : '');
  hide(find('[data-act=sure]'), !binned() || !page.bin);
  write(find('[data-act=empty]'), text('sure_yes', { count: page.bin }));
  studio.exchange(find('.nothing'), page.nothing);
  for (const [name, html] of Object.entries(page.choices)) choices(name, html);
  hide(find('[data-act=newer]'), !rows.length || page.newest <= rows[0][0]);
};

const choices = (name, html) => {
  const select = find(`select[name=${name}]`), list = find(`#choices-${name}`), { value } = select;
  if (select.html === html) return;
  select.innerHTML = select.html = html;
  select.value = value;
  if (select.selectedIndex < 0) select.add(new Option(value, value, true, true)); // no picture has this value any more
  hide(select.parentElement, select.options.length < 2);
  if (list) list.innerHTML = html;
};

let running = null;
const run = async () => {
  const missing = () => low !== null && grid().getBoundingClientRect().bottom < innerHeight + AHEAD;
  stale ||= cells().some((cell) => cell.key >= old && inSight(cell));
  while (shown() && (stale || missing())) {
    try {
      await (stale ? refresh() : more());
    } catch (error) {
      stale = true;
      if (error.name === 'AbortError') continue; // other filters
      setTimeout(keepUp, RETRY);
      return;
    }
  }
};
const keepUp = () => (running ||= run().finally(() => { running = null; }));

// --- Filters -----------------------------------------------------------------------------------------------------------

const binned = () => find('[name=bin]').checked;

const restart = () => {
  stale = anew = true;
  undone.length = 0;
  selectNone();
  say('');
  fetching.abort();
  fetching = new AbortController();
  return keepUp();
};

const narrow = () => {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(find('.filters'))) if (value.trim()) query.set(name, value.trim());
  write(find('.filter-count'), String([...query.keys()].filter((name) => name !== 'words' && name !== 'bin').length || ''));
  if (query.toString() === wanted) return;
  wanted = query.toString();
  restart();
};

const clear = () => {
  const bin = binned();
  find('.filters').reset();
  find('[name=bin]').checked = bin;
  narrow();
};

let typing = 0;
const begin = () => {
  const filters = find('.filters');
  filters.addEventListener('submit', (event) => { event.preventDefault(); narrow(); });
  filters.addEventListener('change', narrow);
  const typed = (event) => { // with an input method, wait until the word is composed
    clearTimeout(typing);
    if (event.target.name === 'words' && !event.isComposing) typing = setTimeout(narrow, 200);
  };
  for (const name of ['input', 'compositionend']) filters.addEventListener(name, typed);
  find('.filters details').open = innerWidth > 720;
  stale = true;
};

let due = 0;
const soon = () => { due ||= requestAnimationFrame(() => { due = 0; keepUp(); }); };
addEventListener('scroll', soon, { passive: true, capture: true });
addEventListener('resize', soon, { passive: true });
studio.follow({ news: ({ gallery }) => { if (gallery !== fingerprint) { stale = true; keepUp(); } }, silent });
studio.whenShown(watch, () => find('.gallery-tab'), keepUp, begin);

// --- Selection and actions ---------------------------------------------------------------------------------------------

const OPPOSITE = { delete: 'restore', restore: 'delete' };
let from = null;   // start of a range
const undone = []; // stack of undo actions

const cellOf = (node) => node?.closest?.('.pick');
const box = (cell) => cell.querySelector('.tick input');
const ticked = () => [...element.querySelectorAll('.pick:has(.tick :checked)')];
const chosen = () => ticked().map((cell) => cell.dataset.picture);
const update = () => {
  const count = ticked().length;
  hide(find('.chosen'), !count);
  write(find('.chosen b'), text('chosen', { count }));
};
const tick = (all, on) => {
  for (const cell of all) box(cell).checked = on;
  update();
};
const range = (one, other) => {
  const all = cells(), [first, last] = [all.indexOf(one), all.indexOf(other)].sort((a, b) => a - b);
  return all.slice(first, last + 1);
};
const select = (cell, on, whole) => {
  tick(whole && from?.isConnected ? range(from, cell) : [cell], on);
  from = cell;
};
const selectNone = () => tick(ticked(), false);

// Shows an error in the outcome bar.
const tried = (what) => what().catch((problem) => say(studio.why(problem), 'problem'));

// Changes run one after another, so that undo reverts the last one pressed.
let turn = Promise.resolve();
const inTurn = (what) => (turn = turn.then(() => tried(what)));

const change = async (act, value, pictures, undoing = false) => {
  if (!pictures.length) return;
  const cell = cellOf(document.activeElement), rest = cells().filter((one) => !pictures.includes(one.dataset.picture));
  const next = cell && (rest.find((one) => one.key < cell.key) || rest.at(-1));
  const { done, problem } = await studio.fetchJson('/gallery/act', studio.asJson({ do: act, value, pictures }));
  const opposite = done.length ? OPPOSITE[act] : '';
  if (opposite && !undoing) undone.push({ act: opposite, pictures: done });
  if (problem) say(problem, 'problem');
  else say(text(`was_${act}`, { count: done.length }), '', Boolean(opposite && undone.length));
  stale = true;
  studio.pollNow();
  await keepUp();
  if (!cell || cell.isConnected) return; // its focus goes to the next one, or to the button, so that Ctrl+Z still works
  if (next) focus(next);
  else find('[data-act=undo]').focus();
};
const perform = (act, value, pictures) => inTurn(() => change(act, value, pictures));

const undo = () => inTurn(async () => {
  const last = undone.pop();
  if (last) await change(last.act, '', last.pictures, true);
});

const zip = (pictures) => tried(async () => {
  const most = Number(find('.gallery-tab').dataset.zipMost);
  if (pictures.length > most) return say(text('too_many', { count: most }), 'problem');
  say(text('at_work'));
  await studio.save(await studio.ask('/gallery/zip', studio.asJson({ pictures })), 'studio.zip');
  return say(text('was_zip', { count: pictures.length }));
});

const emptyBin = () => tried(async () => {
  find('.sure').close();
  const { done } = await studio.fetchJson('/gallery/empty', studio.asJson({}));
  await restart();
  say(text('was_empty', { count: done }));
});

const label = (act) => {
  const field = find(`.labels input[name=${act.replace('un', '')}]`);
  if (!field.value.trim()) { say(text('no_label'), 'problem'); field.focus(); return; }
  perform(act, field.value.trim(), chosen());
};

const ACTS = {
  newer: () => { scrollTo({ top: 0 }); stale = true; keepUp(); },
  all: () => tick(cells(), true),
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

// In the capture phase, before `data-do`: with Ctrl or Shift a click selects.
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

// --- Keys: one cell is in the tab order; arrows move it --------------------------------------------------------------

const focus = (cell, really = true) => {
  find('.picks [tabindex="0"]')?.setAttribute('tabindex', '-1');
  const board = cell.querySelector('.board');
  board.tabIndex = 0;
  if (really) { board.focus({ preventScroll: true }); cell.scrollIntoView({ block: 'nearest' }); }
};
const columns = () => getComputedStyle(grid()).gridTemplateColumns.split(' ').length;
const stepped = (cell, steps) => {
  const all = cells();
  return all[Math.min(all.length - 1, Math.max(0, all.indexOf(cell) + steps))];
};
const STEPS = {
  ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: columns,
  PageUp: () => -4 * columns(), PageDown: () => 4 * columns(), Home: () => -1e9, End: () => 1e9,
};

const onCell = (event, cell) => {
  const move = STEPS[event.key], meant = ticked().length ? ticked() : [cell], pictures = meant.map((one) => one.dataset.picture);
  if (move) {
    const to = stepped(cell, move());
    if (event.shiftKey) { from?.isConnected || (from = cell); tick(range(from, to), true); }
    focus(to);
  } else if (event.key === ' ') select(cell, !box(cell).checked, event.shiftKey);
  else if (binned()) return false;
  else if (event.key === 'Delete') perform('delete', '', pictures);
  else if (event.key.toLowerCase() === 's') perform(meant.every((one) => one.dataset.star === '1') ? 'unstar' : 'star', '', pictures);
  else if (/^[0-5]$/.test(event.key)) perform('rate', event.key, pictures);
  else return false;
  return true;
};

element.addEventListener('keydown', (event) => {
  const cell = cellOf(event.target), held = event.ctrlKey || event.metaKey;
  const typing = event.target.matches('input:not([type=checkbox]), select, textarea');
  let done = true;
  if (event.key === 'Escape' && ticked().length && !find('.sure').open) selectNone();
  else if (held && event.key === 'z' && !typing) undo();
  else if (held && event.key === 'a' && cell) ACTS.all();
  else if (event.key === 'Enter' && !event.isComposing && event.target.matches('.labels input')) label(event.target.name);
  else done = cell && !held && !event.altKey && onCell(event, cell);
  if (done) event.preventDefault();
});
// Space selects a cell: keyup would press its button, too.
element.addEventListener('keyup', (event) => { if (event.key === ' ' && cellOf(event.target)) event.preventDefault(); });
element.addEventListener('focusin', (event) => {
  const cell = cellOf(event.target);
  if (cell && event.target.matches('.board')) focus(cell, false);
});
