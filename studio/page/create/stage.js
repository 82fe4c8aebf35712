// The job on show. page.js asks the studio for news of it and says here what is new; only what changed is exchanged, so
// that pictures don't flicker and the focus stays where it is.
studio.listen(element, trigger);

const stage = () => element.querySelector('.stage');
const exchange = (holder, pieces) => {
  pieces.forEach((html, index) => {
    const old = holder.children[index];
    if (old && old.dataset.was === html) return;
    const made = document.createRange().createContextualFragment(html).firstElementChild;
    made.dataset.was = html;
    old ? old.replaceWith(made) : holder.append(made);
  });
  while (holder.children.length > pieces.length) holder.lastElementChild.remove();
};

studio.follow({
  job: () => stage()?.dataset.job || '',
  busy: () => Boolean(stage()?.dataset.job) && !stage().dataset.ended,
  idle: () => !stage()?.dataset.job || Boolean(stage().dataset.ended && stage().dataset.mine === undefined),
  adopt: (job) => trigger('input', { job }),
  stage: (news) => {
    const cells = stage().querySelector('.cells');
    studio.exchange(stage().querySelector('.head'), news.head); // a button that is held stays the one that is let go
    cells.className = `cells ${news.size}`;
    exchange(cells, news.cells);
    if (news.ended) stage().dataset.ended = 'true';
  },
  silent: (silent) => stage()?.classList.toggle('silent', silent),
  gallery: () => trigger('change'),
});
// On a phone the stage is below the settings.
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
watch('value', () => {
  studio.boards();
  const head = stage()?.querySelector('.head');
  if (head) head.html = null; // it is another job's now
  if (stage()?.dataset.mine !== undefined && stage().getBoundingClientRect().top > innerHeight * 0.6)
    stage().scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
  studio.hurry();
});
