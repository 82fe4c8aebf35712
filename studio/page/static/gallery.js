// The pictures: a page of cells is fetched where one is missing, and put in its place by number. What stands there
// already stays as it is, so that neither the place, the focus nor what is selected is lost when something changes.
studio.listen(element, trigger);

const AHEAD = 1500; // px below the window that are filled before one gets there
const RETRY = 3000; // ms
const find = (selector) => element.querySelector(selector);
const grid = () => find('.picks');
const shown = () => Boolean(grid()?.offsetParent);
const { say, silent } = studio.outcome(element, shown);

let wanted = '';         // the filters as a query
let news = 1;            // counts changes of the gallery; a cell that was fetched before the latest is stale
let fingerprint = '';    // the gallery's, as of which the last page was read
let bottom = 0;          // as of which news nothing follows the last cell
let anew = true;         // the cells belong to other filters
let running = false;
let fetching = new AbortController();
let newest = 0;          // the number of the newest picture that fits

const text = (name, values = {}) =>
  JSON.parse(find('.gallery-tab').dataset.texts)[name].replace(/{(\w+)}/g, (_, name) => Number(values[name]).toLocaleString());

const { fresh, hide, write } = studio;

// The first cell, from the newest on, for which `after` holds; `after` is false for some and then true for all.
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

// What is to be fetched next: pictures that come before a number, null for the newest; undefined where all is well.
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
    showSimilar();
  } catch {
    setTimeout(keepUp, RETRY);
  }
  running = false;
};

// An answer of the studio; null where the filters have changed meanwhile.
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
  if (page.fingerprint !== fingerprint) { fingerprint = page.fingerprint; since = news += 1; } // what was read before is of another gallery
  if (anew) { grid().replaceChildren(); bottom = 0; }
  anew = false;
  put(before ?? Infinity, page, since);
  surround(page);
};

// Puts a page into its place; between `before` and its last number nothing is but what it holds.
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
  tabbable(grid());
  update();
};

// One picture of a grid is in the order of Tab.
const tabbable = (cells) => {
  if (!cells.querySelector('[tabindex="0"]')) cells.querySelector('.board')?.setAttribute('tabindex', '0');
};

let similarTo = '';  // the filters and the news that the pictures below the others belong to

const showSimilar = async () => {
  const asked = wanted, key = `${news} ${wanted}`, searches = new URLSearchParams(wanted).has('words');
  if (similarTo === key || !shown() || (searches && bottom < news)) return;
  if (!similarTo.endsWith(` ${wanted}`)) putSimilar([]);
  similarTo = key;
  hide(find('.similar'), !searches);
  hide(find('.nothing'), searches); // until it is known what is near
  if (!searches) return;
  hide(find('.looking'), Boolean(find('.similar .pick')));
  const similar = await ask(`similar?${wanted}`).catch(() => ({ cells: [] }));
  if (similar && asked === wanted) putSimilar(similar.cells);
};

const putSimilar = (cells) => {
  const holder = find('.similar .picks');
  studio.fill(holder, cells);
  tabbable(holder);
  hide(find('.looking'), true);
  hide(find('.similar'), !cells.length);
  hide(find('.nothing'), cells.length);
};

// What stands round the pictures.
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
  if (select.selectedIndex < 0) select.add(new Option(value, value, true, true)); // the last picture that had it is gone
  hide(select.parentElement, select.options.length < 2);
  const list = find(`#choices-${name}`);
  if (list) list.innerHTML = html;
};

// Pictures that came while one searches further down would move all that one sees: a button says that they are there.
const lookUp = () => {
  const first = grid().firstElementChild;
  hide(find('[data-act=newer]'), !first || newest <= first.key);
};

const binned = () => find('[name=bin]').checked;

const narrow = () => {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(find('.filters'))) if (value.trim()) query.set(name, value.trim());
  write(find('.active'), String([...query.keys()].filter((name) => name !== 'words' && name !== 'bin').length || ''));
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
  const typed = (event) => { // by an input method a word is there when it is composed
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
