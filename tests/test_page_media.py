"""Clips and captions on the page: they are seen, listed, opened, downloaded and asked for as pictures are."""

import io
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page_kit import get, turn_to
from PIL import Image
from queue_kit import planned
from waiting import TIMEOUT

from studio.backends.base import open_backend
from studio.export.apps import APPS
from studio.home import Home
from studio.planner import resolve
from studio.requests import make_request

MODEL = "fake:0.1"
FRAMES = 6
WIDTH = "image => image.decode().then(() => image.naturalWidth)"  # once it is loaded


def submit(home: Path, task: str, **fields: Any) -> str:
    """A job in line of the page's home -> its id."""
    request = resolve(make_request(task, model=MODEL, **fields), open_backend(MODEL).capabilities())
    job = planned(request)
    Home(home).queue.submit(job)
    return job.id


def fetch(address: str) -> tuple[str, bytes]:
    """(media type, content) of an address."""
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
        return answer.headers.get_content_type(), answer.read()


def moves(data: bytes) -> int:
    """How many frames a picture file has."""
    with Image.open(io.BytesIO(data)) as picture:
        return int(getattr(picture, "n_frames", 1))


def watched(page: Any) -> list[str]:
    """What goes wrong in the page's console from now on."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    return wrong


def test_a_clip_and_a_caption_are_seen_on_every_tab(
    visit: Callable[..., Any], home: Path, url: str, tmp_path: Path
) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    clip = submit(home, "clip", prompt="a cat jumps", frames=FRAMES, fps=12, seed=3)
    caption = submit(home, "caption", image={"path": str(tmp_path / "red.png")})
    page = visit("Queue")
    wrong = watched(page)
    for job in (clip, caption):
        page.wait_for_selector(f'.job.done[data-job="{job}"] .made button')
    in_the_queue(page, clip, caption)
    the_card_of_a_clip(page, clip, url)
    the_card_of_a_caption(page, caption, url)
    in_the_gallery(page, url)
    for kept in (one for one in Home(home).gallery.page() if one.kind != "image"):
        expected = (
            {"png": 200, "svg": 422, "slack": 200, "avi": 404} if kept.kind == "clip" else {"png": 404, "slack": 404}
        )
        for use, status in expected.items():
            assert get(f"{url}/downloads/{kept.sha256}/{use}")[0] == status
    assert wrong == []


def in_the_queue(page: Any, clip: str, caption: str) -> None:
    """Both jobs, one with the moving picture and one with its words."""
    moving, said = (page.locator(f'.job[data-job="{job}"]') for job in (clip, caption))
    assert "a cat jumps" in moving.inner_text() and f"{FRAMES} frames" in moving.inner_text()
    assert moving.locator("img[src$='.webp']").evaluate(WIDTH) == 128
    assert "a red face" in said.locator(".made .words").inner_text()
    assert "a red face" in said.locator(".about b").inner_text() and said.locator("img").count() == 0


def the_card_of_a_clip(page: Any, job: str, url: str) -> None:
    """It moves, can be downloaded in every format that moves, and nothing is offered that only pictures can have."""
    page.click(f'.job[data-job="{job}"] .made button')
    page.wait_for_selector("dialog[open] canvas[width='128']")
    links = page.locator("dialog[open] .files a")
    offered = {link.inner_text(): url + link.get_attribute("href") for link in links.all()}
    apps = [app.title for app in APPS.values() if app.moving]
    assert list(offered) == ["WEBP", "APNG", "AVIF", "GIF", "WEBM", "MP4", "Sprite sheet", *apps]
    made = {name: fetch(offered[name]) for name in ("WEBP", "GIF", "WEBM", "Sprite sheet", "Slack emoji")}
    types = ["image/webp", "image/gif", "video/webm", "application/zip", "image/gif"]
    assert [kind for kind, _ in made.values()] == types
    assert [moves(made[name][1]) for name in ("WEBP", "GIF", "Slack emoji")] == [FRAMES] * 3
    with page.expect_download() as download:
        page.click("dialog[open] .files a >> text=WEBM")
    assert download.value.suggested_filename.endswith(".webm")
    assert download.value.path().read_bytes() == made["WEBM"][1]
    page.check("dialog[open] [data-outline]")
    assert all(link.get_attribute("href").endswith("?outline=1") for link in links.all())
    page.uncheck("dialog[open] [data-outline]")
    assert page.locator("dialog[open] [data-copy]").count() == 0
    does = "all => all.map(one => one.dataset.do)"
    assert page.locator("dialog[open] .uses [data-do]").evaluate_all(does) == [
        "again",
        "extend",
        "find",
        "delete",
    ]
    page.click("dialog[open] .why summary")
    assert f"{FRAMES} frames, 0.498 s" in page.inner_text("dialog[open] .why")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")
    page.click("dialog[open] [data-close]")
    page.wait_for_selector("dialog[open]", state="detached")


def the_card_of_a_caption(page: Any, job: str, url: str) -> None:
    """Its words, and the file that holds them."""
    page.click(f'.job[data-job="{job}"] .made button')
    page.wait_for_selector("dialog[open] .words")
    said = page.inner_text("dialog[open] .words")
    assert said.startswith("a red face") and page.inner_text("dialog[open] h2") == said
    links = page.locator("dialog[open] .files a")
    assert [link.inner_text() for link in links.all()] == ["TXT"]
    kind, data = fetch(url + links.first.get_attribute("href"))
    assert kind == "text/plain" and data.decode().startswith(f"{said}\n"), "its metadata follow"
    assert page.locator("dialog[open] :is(img, [data-copy], [data-outline])").count() == 0
    page.click("dialog[open] .why summary")
    assert "×" not in page.inner_text("dialog[open] .why")
    page.click("dialog[open] [data-close]")
    page.wait_for_selector("dialog[open]", state="detached")


def in_the_gallery(page: Any, url: str) -> None:
    """The moving picture and the words, and a filter that tells them apart."""
    turn_to(page, "Gallery")
    image = page.locator("#gallery .pick img[src$='.webp']").first
    image.wait_for()
    assert image.evaluate(WIDTH) == 128
    for folder in ("thumbnails", "pictures"):
        kind, data = fetch(f"{url}/{folder}/{image.get_attribute('src').rpartition('/')[2]}")
        assert kind == "image/webp" and moves(data) == FRAMES
    assert "a red face" in page.locator("#gallery .pick .words").first.inner_text()
    for kind, there, gone in (("clip", "img[src$='.webp']", ".words"), ("text", ".words", "img")):
        page.select_option("#gallery select[name=kind]", kind)
        page.wait_for_function(f"() => !document.querySelector('#gallery .pick {gone}')")
        page.wait_for_selector(f"#gallery .pick {there}")
