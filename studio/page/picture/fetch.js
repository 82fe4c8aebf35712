// A file that is made ready takes a moment: what is done meanwhile is said, and why there is none. One after the other.
let turn = Promise.resolve();
const tell = (words) => { const status = element.querySelector('.fetching'); if (status) status.textContent = words; };
const named = (answer) => decodeURIComponent((answer.headers.get('content-disposition') || '').split("''")[1] || '');
const made = async (link, address, name) => {
  const still = () => link.isConnected && link.href === address; // else it is the card of another picture
  if (still()) tell(link.dataset.fetch);
  try {
    const answer = await studio.ask(address);
    studio.save(await answer.blob(), named(answer) || name);
    if (still()) tell('');
  } catch (problem) {
    if (still()) tell(studio.why(problem));
  }
};
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-fetch]');
  if (!link) return;
  event.preventDefault();
  const { href, download } = link;
  tell(link.dataset.fetch);
  turn = turn.then(() => made(link, href, download));
});
