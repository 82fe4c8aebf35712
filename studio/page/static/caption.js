// Copies the words of a text as they stand in its box.
const SAID = 2000; // ms that it says so
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy-text]');
  if (!button) return;
  const words = button.textContent, box = button.closest('.caption').querySelector('textarea');
  try { // a page that came over plain HTTP from another computer has no clipboard
    await navigator.clipboard.writeText(box.value || box.placeholder);
    button.textContent = button.dataset.done;
  } catch {
    button.textContent = button.dataset.failed;
  }
  setTimeout(() => { button.textContent = words; }, SAID);
});
