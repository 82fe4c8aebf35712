// The job on show. page.js polls the studio for news of it; only what changed is exchanged, so that pictures don't
// flicker and the focus stays where it is.
studio.listen(element, trigger);

const stage = () => element.querySelector('.stage');
const idle = () => !stage()?.dataset.job || Boolean(stage().dataset.ended && stage().dataset.mine === undefined);
// A job that was begun elsewhere comes on the stage, if it belongs here and the stage is still free when it comes.
const adopt = async (job) => {
  const { html, tab } = await studio.fetchJson(`/stage/${job}`);
  if (html && tab === stage()?.dataset.tab && idle()) props.value = html;
};
studio.follow({
  job: () => stage()?.dataset.job || '',
  busy: () => Boolean(stage()?.dataset.job) && !stage().dataset.ended,
  idle,
  adopt,
  stage: (news) => {
    const cells = stage().querySelector('.cells');
    studio.exchange(stage().querySelector('.head'), news.head); // a button that is held stays the one that is let go
    cells.className = `cells ${news.size}`;
    studio.exchange(cells, news.cells);
    studio.replay(cells);
    if (news.ended) {
      stage().dataset.ended = 'true';
      tell(stage().querySelector('.said'));
    }
  },
  silent: (silent) => stage()?.classList.toggle('silent', silent),
  gallery: () => trigger('change'),
});
// What was understood of its prompt, once it is drawn.
const tell = async (said) => {
  if (!said || said.dataset.told) return;
  said.dataset.told = 'true';
  const { text, negative } = said.dataset;
  said.innerHTML = (await studio.fetchJson(`/read?${new URLSearchParams({ fixed: true, text, negative })}`)).html;
};
const begin = () => {
  studio.showBackground();
  studio.replay(element);
  for (const part of element.querySelectorAll('.head, .cells')) part.html = null; // it is another job's now
  if (stage()?.dataset.mine !== undefined) studio.scrollTo(stage()); // on a phone it is below the settings
  studio.pollNow();
  // What is on show outlives the page, as what is typed does: its job may end before the page is there again.
  const { job, tab } = stage()?.dataset ?? {}, key = `studio_stage_${tab}`;
  if (job) studio.session.set(key, job);
  else if (stage()?.querySelector('.empty') && studio.session.get(key)) adopt(studio.session.get(key));
};
watch('value', begin);
queueMicrotask(begin); // a tab is made when it is opened first, and may have been handed a job by then
