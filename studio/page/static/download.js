// Files that take a moment to make: the `fetching` element says that one is being made, or why it can't. One at a time.
let turn = Promise.resolve();
const say = (words) => { const status = element.querySelector('.fetching'); if (status) status.textContent = words; };
const fileName = (answer) => decodeURIComponent((answer.headers.get('content-disposition') || '').split("''")[1] || '');
const made = async (link, address, name) => {
  const still = () => link.isConnected && link.href === address; // else it is the card of another picture
  if (still()) say(link.dataset.fetch);
  try {
    const answer = await studio.ask(address);
    studio.save(await answer.blob(), fileName(answer) || name);
    if (still()) say('');
  } catch (problem) {
    if (still()) say(studio.why(problem));
  }
};
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-fetch]');
  if (!link) return;
  event.preventDefault();
  const { href, download } = link;
  say(link.dataset.fetch);
  turn = turn.then(() => made(link, href, download));
});
