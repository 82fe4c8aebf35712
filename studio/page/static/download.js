// Files that take a moment to make: the `fetching` element says that one is being made, or why it can't. One at a time.
let turn = Promise.resolve();
const say = (words) => { const status = element.querySelector('.fetching'); if (status) status.textContent = words; };
const made = async (link, address, name) => {
  const still = () => link.isConnected && link.href === address; // else it is the card of another picture
  if (still()) say(link.dataset.fetch);
  try {
    await studio.save(await studio.ask(address), name);
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
