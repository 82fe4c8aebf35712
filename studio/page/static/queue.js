// Fetches the rows when the queue changes, and periodically while a job is running. Rows are keyed by job; unchanged rows
// are not touched, so that nothing flickers and the focus stays.
studio.listen(element, trigger);

const OFTEN = 700; // ms, while a job is running
const { hide } = studio;
const find = (selector) => element.querySelector(selector);
const shown = () => Boolean(find('.jobs')?.offsetParent);
const outcome = studio.outcome(element, shown);

let busy = false, drawing = false, again = false;
let fingerprint = ''; // of the queue at the last fetch

const draw = async () => {
  if (!shown()) return;
  if (drawing) { again = true; return; }
  drawing = true;
  try {
    put(await studio.fetchJson('/jobs'));
  } catch { /* page.js says that nobody answers */ }
  drawing = false;
  if (again) { again = false; draw(); }
};

const put = (answer) => {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const job = active?.closest('.job')?.dataset.job;
  studio.exchange(find('.jobs-head'), answer.head);
  studio.exchange(find('.nothing'), answer.nothing);
  for (const list of element.querySelectorAll('[data-list]')) {
    studio.fill(list, answer[list.dataset.list]);
    hide(list.parentElement, !list.firstElementChild);
  }
  [busy, fingerprint] = [answer.busy, answer.fingerprint];
  if (active && document.activeElement !== active) refocus(active, job);
};

// Restores the focus after its row has moved or its button has gone.
const refocus = (active, job) => {
  const act = active.dataset.act;
  const row = job && find(`.job[data-job="${job}"]`);
  const again = active.isConnected ? active : row?.querySelector(`[data-act="${act}"]`) || row?.querySelector('button');
  (again || find('section:not([hidden]) > h2') || find('.jobs-head button'))?.focus({ preventScroll: true });
};

let undone = [];
const say = (sentence, kind = '', undo = []) => {
  undone = undo;
  outcome.say(sentence, kind, undo.length > 0);
};

const perform = async (act, jobs = []) => {
  try {
    const { sentence, undo } = await studio.fetchJson('/jobs/act', studio.asJson({ do: act, jobs }));
    say(sentence, '', undo);
  } catch (problem) {
    say(studio.why(problem), 'problem');
  }
  await draw();
  find('.jobs > .unseen').textContent = jobs.length === 1 && find(`.job[data-job="${jobs[0]}"] .place`)?.title || '';
  studio.pollNow();
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (!button || button.getAttribute('aria-disabled') === 'true') return;
  const act = button.dataset.act, job = button.closest('.job')?.dataset.job;
  if (act === 'dismiss') say('');
  else if (act === 'undo') perform('retry', undone);
  else perform(act, job ? [job] : []);
});

setInterval(() => { if (busy) draw(); }, OFTEN);
studio.follow({ news: (fresh) => { if (fresh.queue !== fingerprint) draw(); }, silent: outcome.silent });
studio.whenShown(watch, () => find('.jobs'), draw);
