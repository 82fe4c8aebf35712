// The job on show. page.js polls its state; only changed pieces are replaced, so that pictures don't flicker and the focus
// stays.
studio.listen(element, trigger);

const stage = () => element.querySelector('.stage');
const idle = () => !stage()?.dataset.job || Boolean(stage().dataset.ended && stage().dataset.mine === undefined);
// Shows a job that another page began, if it belongs to this tab and the stage is still free when the answer arrives.
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
    studio.exchange(stage().querySelector('.head'), news.head); // a button stays the same element while it is held
    cells.className = `cells ${news.size}`;
    studio.exchange(cells, news.cells);
    studio.replay(cells);
    if (news.ended) {
      stage().dataset.ended = 'true';
      tell(stage().querySelector('.prompt-chips'));
    }
  },
  silent: (silent) => stage()?.classList.toggle('silent', silent),
  gallery: () => trigger('change'),
});
// The chips of its prompt, once the job has ended.
const tell = async (chips) => {
  if (!chips || chips.dataset.told) return;
  chips.dataset.told = 'true';
  const { text, negative } = chips.dataset;
  chips.innerHTML = (await studio.fetchJson(`/read?${new URLSearchParams({ fixed: true, text, negative })}`)).html;
};
const begin = () => {
  studio.showBackground();
  studio.replay(element);
  for (const part of element.querySelectorAll('.head, .cells')) part.html = null; // another job
  if (stage()?.dataset.mine !== undefined) studio.scrollTo(stage()); // on a phone it is below the settings
  studio.pollNow();
  // The job on show is restored after a reload, even if it has ended meanwhile.
  const { job, tab } = stage()?.dataset ?? {}, key = `studio_stage_${tab}`;
  if (job) studio.session.set(key, job);
  else if (stage()?.querySelector('.empty') && studio.session.get(key)) adopt(studio.session.get(key));
};
watch('value', begin);
queueMicrotask(begin); // a tab is built when it is first opened, and may have a job by then
