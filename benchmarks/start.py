"""How long a start takes: `python benchmarks/start.py`.

First one picture by `studio generate` in a new process: its processor time over that of `import torch` in another new
process, the median of both taken in turns, and how many modules of this project are imported for it. Then, where
Debian's chromium and the extra `test` are installed, what a person waits for: each run starts `python app.py` anew in
an empty home, so models are loaded cold.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from timing import ROOT, parser, write  # the file beside this one

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu"]
RATIO, MODULES = "processor time of a picture over import torch", "own modules imported for a picture"
GOALS = {
    RATIO: 3.5,
    MODULES: 80,
    "page answers, s": 3.0,
    "interactive in the browser, s": 5.0,
    "first picture after the click, cold, s": 10.0,
    "first preview of a running job, s": 1.5,
    "cancel takes effect, s": 0.5,
}
PICTURE = """
import runpy, sys
sys.argv = ["studio", "generate", "a red apple", "--seed", "1", *sys.argv[1:]]
try:
    runpy.run_module("studio", run_name="__main__")
except SystemExit as end:
    assert not end.code, end
print(sum(name.partition(".")[0] in ("studio", "models") for name in sys.modules))
"""
PROMPT = "#prompt textarea, #prompt input"


def processor_seconds(*arguments: str) -> tuple[float, str]:
    """Processor time of Python with these arguments, all its threads and children, and the last line that it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output.strip().rpartition("\n")[2]


def picture_start(model: str, repeats: int) -> dict[str, float]:
    """Medians after one turn that is not counted: it writes compiled modules and fills the disk's cache."""
    imports, pictures, modules = [], [], 0
    for _ in range(repeats + 1):
        imports.append(processor_seconds("-c", "import torch")[0])
        with tempfile.TemporaryDirectory() as folder:
            options = ("--model", model, "--out", folder, "--home", f"{folder}/home")
            seconds, count = processor_seconds("-c", PICTURE, *options)
        pictures.append(seconds)
        modules = int(count)
    base, taken = statistics.median(imports[1:]), statistics.median(pictures[1:])
    return {"import torch, s": base, "a picture, s": taken, RATIO: taken / base, MODULES: modules}


def page_start(model: str) -> dict[str, float]:
    """Seconds of one cold start of the page, seen by a browser that is open already."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        start = time.perf_counter()
        command = [sys.executable, "app.py", "--no-browser", "--port", "0", "--home", home, "--model", model]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
                urllib.request.urlopen(url, timeout=60).read()
                seconds = {"page answers, s": time.perf_counter() - start}
                page = browser.new_page()
                page.set_default_timeout(120_000)
                page.goto(url)
                page.wait_for_selector("#make:not([disabled])")
                page.wait_for_selector("#style input")
                seconds["interactive in the browser, s"] = time.perf_counter() - start
                return seconds | first_jobs(page)
            finally:
                process.terminate()


def first_jobs(page: Any) -> dict[str, float]:
    """The first job, cold; then, warm, a long one whose preview is awaited and which is stopped."""
    idle = "#stage .head:not(:has(.bar))"
    seconds = {}
    for prompt, name, shown in (
        ("a smiling cat", "first picture after the click, cold, s", "#stage .done"),
        ("a sleepy dog", "first preview of a running job, s", '#stage img[src^="data:image/png"]'),
    ):
        page.fill(PROMPT, prompt)
        start = time.perf_counter()
        page.click("#make")
        page.wait_for_selector(shown)
        seconds[name] = time.perf_counter() - start
        if shown == "#stage .done":
            page.wait_for_selector(idle)
    start = time.perf_counter()
    page.click("#stage [data-own=stop]")
    page.wait_for_selector(idle)
    return seconds | {"cancel takes effect, s": time.perf_counter() - start}


def main() -> None:
    options = parser(__doc__, model="embedded", repeats=3, pages=3).parse_args()
    figures = picture_start(options.model, options.repeats)
    if CHROMIUM.is_file() and options.pages:
        runs = [page_start(options.model) for _ in range(options.pages)]
        figures |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    goals = {name: f"   at most {goal:g}" for name, goal in GOALS.items()}
    lines = (f"{name:48} {value:8.2f}{goals.get(name, '')}" for name, value in figures.items())
    write({"model": options.model, **figures}, lines, options)


if __name__ == "__main__":
    main()
