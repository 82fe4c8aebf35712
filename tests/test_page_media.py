"""Clips and captions on the page: they are seen, listed, opened, downloaded and asked for as pictures are."""

import io
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import PROMPT, get, make, turn_to
from patience import PATIENCE
from PIL import Image
from queue_kit import ask, keep, made, planned
from series_kit import CHINESE, ENGLISH, told

from studio.backends.fake import Fake
from studio.backends.registry import open_backend
from studio.gallery import Entry
from studio.home import Home
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.planner import resolve
from studio.requests import make_request
from studio.studio import Studio

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
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return answer.headers.get_content_type(), answer.read()


def moves(data: bytes) -> int:
    """How many frames a picture file has."""
    with Image.open(io.BytesIO(data)) as picture:
        return int(getattr(picture, "n_frames", 1))


@pytest.fixture(scope="module")
def jobs(home: Path, url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A clip and a caption -> their jobs."""
    red = tmp_path_factory.mktemp("given") / "red.png"
    Image.new("RGBA", (128, 128), "red").save(red)
    clip = submit(home, "clip", prompt="a cat jumps", frames=FRAMES, fps=12, seed=3)
    return {"clip": clip, "caption": submit(home, "caption", image={"path": str(red)})}


@pytest.fixture
def page(visit: Callable[..., Any], jobs: dict[str, str]) -> Any:
    """A page on which both are done, on its Queue tab; nothing may be wrong in its console."""
    page, wrong = visit("Queue"), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    for job in jobs.values():
        page.wait_for_selector(f'.job.done[data-job="{job}"] .made button')
    yield page
    assert wrong == []


def test_the_queue_lists_both(page: Any, jobs: dict[str, str]) -> None:
    clip, caption = (page.locator(f'.job[data-job="{jobs[task]}"]') for task in ("clip", "caption"))
    assert "a cat jumps" in clip.inner_text() and f"{FRAMES} frames" in clip.inner_text()
    assert clip.locator("img[src$='.webp']").evaluate(WIDTH) == 128
    assert "a red face" in caption.locator(".made .words").inner_text()
    assert "a red face" in caption.locator(".about b").inner_text() and caption.locator("img").count() == 0


def test_the_gallery_shows_both_and_a_filter_by_kind(page: Any, url: str) -> None:
    turn_to(page, "Gallery")
    image = page.locator("#gallery .pick img[src$='.webp']").first
    image.wait_for()
    assert image.evaluate(WIDTH) == 128
    for folder in ("thumbnails", "pictures"):
        kind, data = fetch(f"{url}/{folder}/{image.get_attribute('src').rpartition('/')[2]}")
        assert kind == "image/webp" and moves(data) == FRAMES
    words = page.locator("#gallery .pick .words").first
    assert "a red face" in words.inner_text()
    page.click("#gallery .filters summary")
    for kind, there, gone in (("clip", "img[src$='.webp']", ".words"), ("text", ".words", "img")):
        page.select_option("#gallery select[name=kind]", kind)
        page.wait_for_function(f"() => !document.querySelector('#gallery .pick {gone}')")
        page.wait_for_selector(f"#gallery .pick {there}")


def test_the_card_of_a_clip_offers_what_a_clip_can_have(page: Any, jobs: dict[str, str], url: str) -> None:
    page.click(f'.job[data-job="{jobs["clip"]}"] .made button')
    page.wait_for_selector("dialog[open] #card-image")
    assert page.locator("dialog[open] #card-image").evaluate(WIDTH) == 128
    links = page.locator("dialog[open] .files a")
    assert [link.inner_text() for link in links.all()] == ["WEBP"]
    kind, data = fetch(url + links.first.get_attribute("href"))
    assert kind == "image/webp" and moves(data) == FRAMES
    assert page.locator("dialog[open] :is([data-copy], [data-outline])").count() == 0
    assert page.locator("dialog[open] .uses [data-do]").evaluate_all("all => all.map(one => one.dataset.do)") == [
        "again",
        "delete",
    ]
    page.click("dialog[open] .why summary")
    assert f"{FRAMES} frames, 0.498 s" in page.inner_text("dialog[open] .why")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")
    page.click("dialog[open] [data-do=again]")
    page.wait_for_selector("#stage .done img[src$='.webp']")


def test_the_card_of_a_caption_shows_its_words(page: Any, jobs: dict[str, str], url: str) -> None:
    page.click(f'.job[data-job="{jobs["caption"]}"] .made button')
    page.wait_for_selector("dialog[open] .words")
    said = page.inner_text("dialog[open] .words")
    assert said.startswith("a red face") and page.inner_text("dialog[open] h2") == said
    links = page.locator("dialog[open] .files a")
    assert [link.inner_text() for link in links.all()] == ["TXT"]
    assert fetch(url + links.first.get_attribute("href")) == ("text/plain", said.encode())
    assert page.locator("dialog[open] :is(img, [data-copy], [data-outline])").count() == 0
    page.fill("dialog[open] [data-do=note]", "well said")
    page.press("dialog[open] [data-do=note]", "Tab")
    page.wait_for_selector("dialog[open] [data-do=note][value='well said']")
    page.click("dialog[open] .why summary")
    assert "×" not in page.inner_text("dialog[open] .why")


def test_a_clip_is_asked_for_and_a_picture_is_described(page: Any) -> None:
    turn_to(page, "Create")
    page.fill(PROMPT, "a dog jumps")
    page.fill("#count input[type=number]", "1")
    page.check("#clip input")
    page.click("#make")
    page.wait_for_selector("#stage .done img[alt='a dog jumps'][src$='.webp']")
    assert page.locator("#stage [data-do=like]").count() == 0, "a clip can't be likened"
    page.uncheck("#clip input")
    make(page, "a face to describe")
    page.wait_for_selector("#stage .done img[alt='a face to describe'][src$='.png']")
    page.click("#stage .done .board >> nth=0")
    page.click("dialog[open] [data-do=describe]")
    page.wait_for_selector("#stage .done .words:has-text('face, ')")


def test_what_only_pictures_have_is_not_made_of_others(jobs: dict[str, str], page: Any, home: Path, url: str) -> None:
    for kept in Home(home).gallery.page():
        if kept.kind != "image":
            for use in ("png", "svg", "slack"):
                assert get(f"{url}/downloads/{kept.sha256}/{use}")[0] == 404


def test_captions_are_offered_where_the_model_writes_them(tmp_path: Path) -> None:
    (artifact,) = made(Fake(), ask())
    studio = Studio(tmp_path)
    digest = keep(studio.gallery, artifact.data, Entry("job", 0, 1, "a cat", model="fake")).stem
    offered = {
        model: 'data-do="describe"' in CardHandlers(PageContext(studio, model)).show(digest, "en")
        for model in ("fake", "embedded")
    }
    assert offered == {"fake": True, "embedded": False}


@pytest.mark.parametrize(("request_", "language"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_a_description_is_in_the_readers_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: Any, language: str
) -> None:
    (artifact,) = made(Fake(), ask())
    studio = Studio(tmp_path)
    monkeypatch.setattr(studio._supervisor, "wake", lambda model="": None)
    digest = keep(studio.gallery, artifact.data, Entry("job", 0, 1, "a cat", model="fake")).stem
    CardHandlers(PageContext(studio, "fake")).act(told(do="describe", picture=digest), request_)
    (job,) = studio.queue.jobs()
    assert (job.request.task, job.request.language) == ("caption", language)
