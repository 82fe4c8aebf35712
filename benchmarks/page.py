"""How long a person waits: for the page, for the first picture, for the first preview, for Stop.

`python benchmarks/page.py`. Needs Debian's chromium and the extra `test`. Each run starts `python app.py` anew in an
empty home, so models are loaded cold; the medians are printed with the goals beside them. A bare loop of torch products
is timed in the same run, so that figures of two machines can be set side by side.
"""

import statistics
import tempfile
import time
import urllib.request
from typing import Any

from timing import page as serving  # the file beside this one
from timing import parser, write

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu"]
GOALS = {
    "page answers": 3.0,
    "interactive in the browser": 5.0,
    "first picture after the click, cold": 10.0,
    "first preview of a running job": 1.5,
    "cancel takes effect": 0.5,
}
PROMPT = "#prompt textarea, #prompt input"


def main() -> None:
    options = parser(__doc__ or "", model="embedded", repeats=3).parse_args()
    runs = [_run(options.model) for _ in range(options.repeats)]
    medians = {name: statistics.median(run[name] for run in runs) for name in GOALS}
    products = _products()
    lines = [f"{name:40} {medians[name]:6.2f} s   goal {goal:g} s" for name, goal in GOALS.items()]
    document = {"model": options.model, "runs": options.repeats, **medians, "products": products}
    write(document, [*lines, f"products {products:.2f} s"], options)


def _run(model: str) -> dict[str, float]:
    """One cold start, looked at by a browser that is open already."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        began = time.perf_counter()
        with serving(home, model) as url:
            urllib.request.urlopen(url, timeout=60).read()
            took = {"page answers": time.perf_counter() - began}
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(url)
            page.wait_for_selector("#make:not([disabled])")
            page.wait_for_selector("#style input")
            took["interactive in the browser"] = time.perf_counter() - began
            return took | _used(page)


def _used(page: Any) -> dict[str, float]:
    """The first job, cold; then, warm, a long one whose preview is awaited and which is stopped."""
    took = {}
    page.fill(PROMPT, "a smiling cat")
    clicked = time.perf_counter()
    page.click("#make")
    page.wait_for_selector("#stage .done")
    took["first picture after the click, cold"] = time.perf_counter() - clicked
    page.wait_for_selector("#stage .head:not(:has(.bar))")
    page.fill(PROMPT, "a sleepy dog")
    clicked = time.perf_counter()
    page.click("#make")
    page.wait_for_selector('#stage img[src^="data:image/png"]')
    took["first preview of a running job"] = time.perf_counter() - clicked
    clicked = time.perf_counter()
    page.click("#stage [data-own=stop]")
    page.wait_for_selector("#stage .head:not(:has(.bar))")
    took["cancel takes effect"] = time.perf_counter() - clicked
    return took


def _products() -> float:
    """Seconds for 200 products of 1,024 x 1,024 in fp32: how fast this machine is at the moment."""
    import torch

    left, right = torch.randn(2, 1024, 1024)
    began = time.perf_counter()
    for _ in range(200):
        left @ right
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
