// Fetches pages of cells where they are missing or stale, and inserts them by number. Existing cells stay, so that scroll
// position, focus and selection survive changes.
studio.listen(element, trigger);

const AHEAD = 1500; // px below the window that are filled in advance
const RETRY = 3000; // ms
const find = (selector) => element.querySelector(selector);
const grid = () => find('.picks');
const shown = () => Boolean(grid()?.offsetParent);
const { say, silent } = studio.outcome(element, shown);

let wanted = '';         // the filters as a query
let news = 1;            // counts changes of the gallery; cells fetched before the latest change are stale
let fingerprint = '';    // of the gallery at the last fetch
let bottom = 0;          // the value of `news` when the last page had no successor
let anew = true;         // the cells belong to other filters
let running = false;
let fetching = new AbortController();
let newest = 0;          // the number of the newest matching picture

const text = (name, values = {}) =>
  JSON.parse(find('.gallery-tab').dataset.texts)[name].replace(/{(\w+)}/g, (_, name) => Number(values[name]).toLocaleString());

const { fresh, hide, write } = studio;

// Binary search for the first cell for which `after` holds; it must be monotonic.
const firstCell = (after) => {
  const cells = grid().children;
  let low = 0, high = cells.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    after(cells[middle]) ? (high = middle) : (low = middle + 1);
  }
  return cells[low];
};

const inSight = () => {
  const cells = [];
  let cell = firstCell((one) => one.getBoundingClientRect().bottom > 0);
  for (; cell && cell.getBoundingClientRect().top < innerHeight; cell = cell.nextElementSibling) cells.push(cell);
  return cells;
};

// The page to fetch next: pictures below a number, null for the newest; undefined if none is missing.
const missing = () => {
  if (anew) return null;
  const stale = inSight().find((cell) => cell.news < news);
  if (stale) return stale.previousElementSibling?.key ?? null;
  const end = grid().getBoundingClientRect().bottom < innerHeight + AHEAD;
  if (end && bottom < news) return grid().lastElementChild?.key ?? null;
  return undefined;
};

const keepUp = async () => {
  if (running || !shown()) return;
  running = true;
  try {
    for (let before; shown() && (before = missing()) !== undefined;) await load(before);
  } catch {
    setTimeout(keepUp, RETRY);
  }
  running = false;
};

// Fetches from the studio; null if the filters have changed meanwhile.
const ask = async (what) => {
  try {
    return await studio.fetchJson(`/gallery/${what}`, { signal: fetching.signal });
  } catch (error) {
    if (error.name === 'AbortError') return null;
    throw error;
  }
};

const load = async (before) => {
  const query = new URLSearchParams(wanted), asked = wanted;
  let since = news;
  if (before !== null) query.set('before', before);
  const page = await ask(`page?${query}`);
  if (!page || asked !== wanted) return;
  if (page.fingerprint !== fingerprint) { fingerprint = page.fingerprint; since = news += 1; } // the gallery has changed since the last page
  if (anew) { grid().replaceChildren(); bottom = 0; }
  anew = false;
  put(before ?? Infinity, page, since);
  surround(page);
};

// Inserts a page; cells between `before` and its last number that are not in it are removed.
const put = (before, page, since) => {
  const low = page.low ?? -Infinity;
  let at = firstCell((cell) => cell.key < before);
  const remove = () => { const gone = at; at = at.nextElementSibling; gone.remove(); };
  for (const [number, html] of page.cells) {
    while (at && at.key > number) remove();
    let cell = at;
    if (at?.key === number) {
      if (at.html !== html) studio.morph(at, fresh(html));
      at = at.nextElementSibling;
    } else cell = grid().insertBefore(fresh(html), at ?? null);
    Object.assign(cell, { key: number, html, news: since });
  }
  while (at && at.key >= low) remove();
  if (page.low === null) bottom = since;
  if (!grid().querySelector('[tabindex="0"]')) grid().querySelector('.board')?.setAttribute('tabindex', '0'); // one cell is in the tab order
  update();
};

// Updates counts, choices of filters and notices.
const surround = (page) => {
  newest = page.newest;
  studio.exchange(find('.counted'), page.counted);
  write(find('.binned'), page.bin ? page.bin.toLocaleString() : '');
  hide(find('[data-act=sure]'), !binned() || !page.bin);
  write(find('[data-act=empty]'), text('sure_yes', { count: page.bin }));
  const nothing = find('.nothing');
  if (nothing.html !== page.nothing) nothing.innerHTML = nothing.html = page.nothing;
  for (const [name, html] of Object.entries(page.choices)) choices(name, html);
  lookUp();
};

const choices = (name, html) => {
  const select = find(`select[name=${name}]`);
  if (select.html === html) return;
  const value = select.value;
  select.innerHTML = select.html = html;
  select.value = value;
  if (select.selectedIndex < 0) select.add(new Option(value, value, true, true)); // no picture has this value any more
  hide(select.parentElement, select.options.length < 2);
  const list = find(`#choices-${name}`);
  if (list) list.innerHTML = html;
};

// New pictures would move the cells in view: a button shows that there are some.
const lookUp = () => {
  const first = grid().firstElementChild;
  hide(find('[data-act=newer]'), !first || newest <= first.key);
};

const binned = () => find('[name=bin]').checked;

const narrow = () => {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(find('.filters'))) if (value.trim()) query.set(name, value.trim());
  write(find('.filter-count'), String([...query.keys()].filter((name) => name !== 'words' && name !== 'bin').length || ''));
  if (query.toString() === wanted) return;
  wanted = query.toString();
  anew = true;
  undone.length = 0;
  selectNone();
  say('');
  fetching.abort();
  fetching = new AbortController();
  keepUp();
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
  news += 1;
};

let due = 0;
const soon = () => { due ||= requestAnimationFrame(() => { due = 0; keepUp(); }); };
addEventListener('scroll', soon, { passive: true, capture: true });
addEventListener('resize', soon, { passive: true });
studio.follow({
  news: (fresh) => { if (fresh.gallery !== fingerprint) { news += 1; keepUp(); } },
  silent,
});
studio.whenShown(watch, () => find('.gallery-tab'), keepUp, begin);
// --- Selection and actions ---------------------------------------------------------------------------------------------

const SLICE = 50; // pictures of one request: short requests show progress
let from = null;          // start of a range
const undone = [];        // stack of undo actions

const cellOf = (node) => node?.closest?.('.pick');
const cellWith = (digest) => element.querySelector(`.pick[data-picture="${digest}"]`);

const box = (cell) => cell.querySelector('.tick input');
const ticked = () => [...element.querySelectorAll('.pick:has(.tick :checked)')];
const chosen = () => ticked().map((cell) => cell.dataset.picture);
const tick = (cell, on) => { box(cell).checked = on; };
const range = (a, b, on) => {
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

// Applies an action to pictures in slices -> the changed pictures.
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

// Shows an error in the outcome bar.
const tried = (what) => what().catch((problem) => say(studio.why(problem), 'problem'));

// Changes run one after another, so that undo reverts the last one pressed.
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

// Removes a cell; the next one takes its focus.
const away = (digest) => {
  const cell = cellWith(digest);
  if (!cell) return;
  const focused = cell.contains(document.activeElement), tabbed = cell.querySelector('[tabindex="0"]');
  const next = cell.nextElementSibling || cell.previousElementSibling;
  cell.remove();
  if (next && (focused || tabbed)) focus(next, focused);
  else if (focused) find('[data-act=undo]').focus(); // so that Ctrl+Z still works
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

// Roving tabindex: one cell is in the tab order; arrows move it.
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
// Space selects a cell: keyup would press its button, too.
element.addEventListener('keyup', (event) => { if (event.key === ' ' && cellOf(event.target)) event.preventDefault(); });
element.addEventListener('focusin', (event) => {
  const cell = cellOf(event.target);
  if (cell && event.target.matches('.board')) focus(cell, false);
});
