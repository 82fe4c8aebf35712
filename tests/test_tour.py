"""The pictures of the tour in docs/: the real page, driven by a real browser, in the state that a reader should see.

    pytest -m slow tests/test_tour.py

draws them anew with the studio's own model into `docs/images`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from page_kit import PHONE, ROOT, Server, make
from PIL import Image

from models.messages import Refused
from studio.backends.embedded import Embedded
from studio.page import layout
from studio.page.html import text

pytestmark = pytest.mark.slow

IMAGES = ROOT / "docs" / "images"
BYTES = 150_000
WIDE = {"viewport": {"width": 1280, "height": 860}, "device_scale_factor": 1}
PROMPTS = ("a smiling cat with heart eyes", "a blue dragon", "戴帽子的小狗", "a happy strawberry holding a star")
MOVING = "a happy dog jumps"
SLOW = "two green apples and a yellow star"
FOUND = "#stage .status:has-text('made in'), #stage .status:has-text('用时')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        Embedded().digest()
    except Refused as refused:
        pytest.skip(str(refused))
    server = Server(tmp_path_factory.mktemp("tour") / "home", "embedded")
    yield server
    server.close()


def keep(png: bytes, path: Path) -> None:
    """A screenshot as a WebP file of at most BYTES."""
    shot = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (85, 75, 60):
        shot.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size < BYTES:
            return
    pytest.fail(f"{path.name} has {path.stat().st_size} bytes")


def create(page: Any) -> None:
    """Stickers that were just made, and the ones before."""
    for prompt in PROMPTS:
        make(page, prompt)
        page.wait_for_selector(f"#strip [alt='{prompt}'] >> nth=3")
    page.wait_for_selector(FOUND)


def card(page: Any) -> None:
    """One picture, opened."""
    page.click("#strip .cell >> nth=0")
    page.wait_for_selector("dialog[open] img")
    page.click("dialog .why summary")


def video(page: Any) -> None:
    """A clip, stopped in its middle."""
    page.fill("#video-prompt textarea, #video-prompt input", MOVING)
    page.click("#video-make")
    page.wait_for_selector("#video-stage canvas[width='128']")
    page.focus("#video-stage clip-player input")
    page.keyboard.press("ArrowRight")


def sets(page: Any) -> None:
    page.fill("#set-subject textarea, #set-subject input", "cat")
    page.click("#set-make")
    page.wait_for_selector("#set-show [data-fetch]")


def compare(page: Any) -> None:
    page.fill("#compare-prompt textarea, #compare-prompt input", PROMPTS[0])
    page.wait_for_selector("#compare-count .sum")
    page.click("#compare-make")
    page.wait_for_selector("#compare-show .grid [data-do=open] >> nth=15")


def gallery(page: Any) -> None:
    page.wait_for_selector("#gallery .cell >> nth=7")


def search(page: Any) -> None:
    page.fill("#search-words :is(input, textarea)", PROMPTS[0])
    page.click("#search-find")
    page.wait_for_selector("#search-hits .hits figure >> nth=7")


def queue(page: Any) -> None:
    """A job at work and several that wait."""
    for prompt in (SLOW, *PROMPTS):
        httpx.post(f"{page.url}api/v1/jobs", json={"prompt": prompt, "count": 12}).raise_for_status()
    page.wait_for_selector("#queue li >> nth=2")


def batch(page: Any) -> None:
    """The example with its bad line."""
    page.click("#batch-plan [data-own=example]")
    page.wait_for_selector("#batch-plan tbody tr")


# By the tab's folder: what is done there before the picture is taken. Another tab is shown as it opens.
SCENES: dict[str, Callable[[Any], None]] = {
    "video": video,
    "sets": sets,
    "compare": compare,
    "search": search,
    "gallery": gallery,
    "line": queue,
    "batch": batch,
}
NAMES = {"line": "queue"}


def shoot(page: Any, path: Path) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)  # pictures that are still coming in
    keep(page.screenshot(), path)


def test_the_tour(visit: Callable[..., Any], server: Server) -> None:
    page = visit(address=server.url, **WIDE)
    create(page)
    shoot(page, IMAGES / "create.webp")
    card(page)
    shoot(page, IMAGES / "card.webp")
    page.keyboard.press("Escape")
    for tab in (tab for tab in layout.tab_names() if tab != "create"):
        label = text(f"tab.{tab}")
        page.click(f'#tabs button[role=tab]:has-text("{label}")')
        SCENES.get(tab, lambda _: None)(page)
        shoot(page, IMAGES / f"{NAMES.get(tab, tab)}.webp")


def test_the_tour_on_a_phone_in_chinese(visit: Callable[..., Any], server: Server) -> None:
    page = visit(address=server.url, locale="zh-CN", **PHONE)
    make(page, PROMPTS[2])
    page.wait_for_selector(f"{FOUND}, #stage .status:has-text('做过')")
    shoot(page, IMAGES / "phone.webp")
