"""How fast the gallery of the page is in a browser: `python benchmarks/page_gallery.py`.

A home with 10,000 pictures of usual size is made, the studio is started on it as people start it, and Debian's
Chromium opens it. Each time goes from the press of a key or button to the moment when all cells in sight have their
pictures: opening the tab, scrolling on to the next page, narrowing by a filter, searching for words; with --deep also
scrolling through all of it. Medians and the worst of several, in milliseconds; nothing is warmed up.
"""

import hashlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from gallery import WORDS  # the file beside this one
from playwright.sync_api import Page, sync_playwright
from timing import parser, write_json  # the file beside this one

from studio.backends.base import run
from studio.backends.fake import Fake
from studio.gallery import spaced
from studio.home import Home
from studio.media import Artifact
from studio.planner import resolve
from studio.requests import make_request

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser")
STYLES = ("noto", "outline", "black glyph")
FACES = 48  # different pictures; the files differ all the same
GOAL = 1000.0
SETTLED = """
async (act) => {
  const cells = () => [...document.querySelectorAll('.pick')].filter((cell) => {
    const { top, bottom } = cell.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  });
  const whole = () => cells().length && cells().every((cell) => cell.querySelector('img').naturalWidth);
  const start = performance.now();
  const done = await new Function('return (' + act + ')()')();
  while (!(done() && whole())) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}
"""
OPEN = """() => {
  [...document.querySelectorAll('#tabs button[role=tab]')].find((tab) => tab.textContent.includes('Gallery')).click();
  return () => document.querySelector('.pick');
}"""
NEXT = """() => {
  const count = document.querySelectorAll('.pick').length;
  scrollTo(0, document.documentElement.scrollHeight);
  return () => document.querySelectorAll('.pick').length > count;
}"""
FILTER = """() => {
  const [select, counted] = [document.querySelector('select[name=style]'), document.querySelector('.counted')];
  const before = counted.textContent;
  select.selectedIndex = (select.selectedIndex + 1) %% select.options.length;
  select.dispatchEvent(new Event('change', { bubbles: true }));
  return () => counted.textContent !== before;
}""".replace("%%", "%")
SEARCH = """() => {
  const [input, counted] = [document.querySelector('.filters [name=words]'), document.querySelector('.counted')];
  const before = counted.textContent;
  input.value = WORDS;
  input.dispatchEvent(new Event('input', { bubbles: true }));
  return () => counted.textContent !== before;
}"""
JUMP = """() => {
  scrollTo(0, Math.random() * (document.documentElement.scrollHeight - innerHeight));
  return () => true;
}"""


def fill(home: Path, count: int) -> None:
    """Pictures with their rows and files, all at once: put in one by one they would take minutes."""
    house, chance, can = Home(home), random.Random(1), Fake().capabilities()
    faces = [_face(make_request(prompt=f"face {n}", model="fake", style=STYLES[n % 3]), can) for n in range(FACES)]
    with house.database.writing() as connection:
        for n in range(count):
            data = _with_number(faces[n % FACES], n)
            digest, prompt = hashlib.sha256(data).hexdigest(), " ".join(chance.sample(WORDS, 4))
            path = house.gallery.file(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            file, star, rating = path.relative_to(home).as_posix(), chance.random() < 0.05, chance.randrange(6)
            row = (digest, file, len(data), 128, 128, float(n), f"j{n}", 0, n, 0.5, prompt, STYLES[n % 3], star, rating)
            connection.execute(
                "INSERT INTO pictures (sha256, file, bytes, width, height, made, job, position, seed, score, prompt,"
                " style, model, digest, star, rating) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'fake', 'd', ?, ?)",
                row,
            )
            words = (n + 1, spaced(prompt))
            connection.execute("INSERT INTO words (rowid, prompt, note, tags) VALUES (?, ?, '', '')", words)


def _face(request: Any, can: Any) -> bytes:
    events = run(Fake(), resolve(request.model_copy(update={"steps": 1}), can))
    return next(event.data for event in events if isinstance(event, Artifact))


def _with_number(png: bytes, number: int) -> bytes:
    """The same picture as another file: a text chunk before its end."""
    chunk = b"tEXtnumber\0%d" % number
    framed = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return png[:-12] + framed + png[-12:]


def measure(url: str, turns: int, deep: bool) -> dict[str, list[float]]:
    """Milliseconds of each turn."""
    took: dict[str, list[float]] = {name: [] for name in ("open", "next page", "filter", "search", "jump")}
    with sync_playwright() as driver:
        path = next(path for path in CHROMIUM if Path(path).exists())
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(turns):
            context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector("#stage .empty, #stage .cells")
            page.wait_for_timeout(500)
            took["open"].append(page.evaluate(SETTLED, OPEN))
            took["next page"] += [page.evaluate(SETTLED, NEXT) for _ in range(3)]
            took["filter"] += [page.evaluate(SETTLED, FILTER) for _ in range(3)]
            page.click("[data-act=clear]")
            took["search"] += [
                page.evaluate(SETTLED, SEARCH.replace("WORDS", repr(words))) for words in ("red ca", "猫")
            ]
            context.close()
        if deep:
            _all_of_it(browser.new_page(viewport={"width": 1280, "height": 900}), url, took)
        browser.close()
    return took


def _all_of_it(page: Page, url: str, took: dict[str, list[float]]) -> None:
    """Scroll to the very end, then here and there."""
    page.goto(url)
    page.wait_for_selector("#stage .empty, #stage .cells")
    page.evaluate(SETTLED, OPEN)
    took["next page, to the end"], last = [], -1
    while last != (last := page.locator(".pick").count()):
        if last < int(re.sub(r"\D", "", page.inner_text(".counted"))):
            took["next page, to the end"].append(page.evaluate(SETTLED, NEXT))
    took["jump"] = [page.evaluate(SETTLED, JUMP) for _ in range(20)]


def main() -> None:
    """Print the table."""
    made = parser(__doc__, pictures=10_000, turns=5)
    made.add_argument("--deep", action="store_true", help="also scroll through all of it")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fill(Path(folder), options.pictures)
        sys.stderr.write(f"{options.pictures:,} pictures made in {time.perf_counter() - started:.0f} s\n")
        command = [sys.executable, "app.py", "--no-browser", "--port", "0", "--home", folder, "--model", "fake"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                url = re.search(r"http://\S+", process.stdout.readline())
                assert url, "app.py did not start"
                took = measure(url[0], options.turns, options.deep)
            finally:
                process.send_signal(signal.SIGINT)
    if options.json:
        write_json(took)
        return
    for name, times in took.items():
        if times:
            middle, worst = statistics.median(times), max(times)
            print(f"{name:<24} median {middle:7.0f}   worst {worst:7.0f}   of {len(times):3}   at most {GOAL:g}")


if __name__ == "__main__":
    main()
