// A file that is made ready takes a moment: what is done meanwhile is said, and why there is none.
const tell = (words) => { const status = element.querySelector('.fetching'); if (status) status.textContent = words; };
const named = (answer) => decodeURIComponent((answer.headers.get('content-disposition') || '').split("''")[1] || '');
element.addEventListener('click', async (event) => {
  const link = event.target.closest('a[data-fetch]');
  if (!link) return;
  event.preventDefault();
  if (element.dataset.fetching) return;
  element.dataset.fetching = 'true';
  tell(link.dataset.fetch);
  try {
    const answer = await studio.ask(link.href);
    studio.save(await answer.blob(), named(answer) || link.download);
    tell('');
  } catch (problem) {
    tell(studio.why(problem));
  }
  delete element.dataset.fetching;
});
