"""The Video tab, the player, and clips and captions on every tab: what is seen is always a frame of the file."""

import base64
import io
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_kit import DROP, PHONE, get, make, turn_to
from PIL import Image
from queue_kit import planned
from series_kit import idle_frame, spoken, told  # noqa: F401 - a fixture
from waiting import TIMEOUT

from models.data.clips import MOTIONS
from studio import media
from studio.backends.base import no_task, open_backend
from studio.backends.fake import Fake
from studio.export.apps import APPS
from studio.gallery import Filter
from studio.home import Home
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.tabs.create import CreateHandlers
from studio.page.tabs.video import VideoHandlers
from studio.planner import resolve
from studio.requests import make_request
from studio.run import GallerySink, run_jobs
from studio.studio import Studio
from studio.verify import verify

FRAMES = 7
WORDS = "#video-prompt textarea, #video-prompt input"
SLIDER = "#video-stage clip-player input"
AT = "Number(document.querySelector('#video-stage clip-player input').value)"


def clip(context: PageContext, **fields: Any) -> str:
    """A clip of the gallery, made without a worker -> its sha256."""
    jobs = context.studio.prepare("clip", **{"prompt": "a cat", "frames": FRAMES, "seed": 1, **fields}, model="fake")
    list(run_jobs(Fake(), jobs, GallerySink(context.studio.gallery)))
    return context.studio.gallery.page(Filter(kind="clip"))[0].sha256


def shown(context: PageContext, digest: str) -> list[Image.Image]:
    return media.frames(context.studio.gallery.get(digest).path.read_bytes())


# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("thing", "jumps"), [("a cat", "a cat, jumping"), ("小猫", "小猫，跳跃"), ("", "jumping")])
def test_a_motion_is_words_in_the_prompts_language_and_the_last_one_counts(
    context: PageContext, thing: str, jumps: str
) -> None:
    moved = VideoHandlers(context).moved
    for motion in MOTIONS:
        said = moved(thing, told(own="motion", motion=motion))
        assert said.startswith(thing) and len(said) > len(thing) and moved(said, told(motion=motion)) == thing
        assert moved(said, told(motion="jump")) == (jumps if motion != "jump" else thing)
    assert moved(thing, told(motion="<b>")) == thing
    with spoken("zh"):
        assert moved("", told(motion="jump")) == "跳跃"


def test_a_model_without_clips_says_which_has_them() -> None:
    plain = no_task(Fake().capabilities().model_copy(update={"title": "Plain", "tasks": ("image",)}), "clip")
    for language, says in (("en", "Plain can&#39;t make clips, only draw pictures"), ("zh", "Plain 不会生成动图")):
        with spoken(language):
            assert says in render("parts.unable", plain, []) and "house" in render("parts.unable", plain, ["house"])


# --- Frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_is_kept_as_a_picture_and_the_clip_stays(context: PageContext) -> None:
    digest, gallery = clip(context), context.studio.gallery
    frames, cards = shown(context, digest), CardHandlers(context)
    for _ in range(2):  # the same one is the same picture
        assert "picture of its own" in cards.act(told(do="frame", picture=digest, frame=3))[0]
    (taken,) = gallery.page(Filter(kind="image"))
    with Image.open(taken.path) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(frames[2]))
    assert verify(taken.path).result == "identical"
    assert (taken.prompt, taken.seed) == ("a cat", 1) and gallery.get(digest).kind == "clip"
    for frame in (0, FRAMES + 1, "x", ""):
        assert f"frames 1 to {FRAMES}" in cards.act(told(do="frame", picture=digest, frame=frame))[0]
    assert gallery.count() == 2


def test_a_clip_goes_on_with_its_settings(context: PageContext) -> None:
    digest, video = clip(context, fps=5, style="noto", loop=True), VideoHandlers(context)
    values, _ = video.handed({"use": "extend", "picture": digest}, "")
    assert (values["prompt"], values["fps"], values["style"], values["seed"]) == ("a cat", 5, "noto", "")
    on_new_page = {"negative": "", "count": 1, "last": None}
    fields = make_request("clip", **video.fields({**on_new_page, **values}))
    list(run_jobs(Fake(), context.studio.plan(fields), GallerySink(context.studio.gallery)))
    longer, before = context.studio.gallery.page(Filter(kind="clip"))
    assert longer.frames > before.frames == FRAMES
    for old, new in zip(shown(context, before.sha256), shown(context, longer.sha256), strict=False):
        assert np.array_equal(np.asarray(old), np.asarray(new))
    settings, _ = video.handed({"use": "settings", "picture": digest}, "")
    assert (settings["seed"], settings["loop"], settings["image"]) == ("1", True, None)
    _, handed, tabs = CardHandlers(context).act(told(do="again", picture=digest))
    assert (handed["tab"], handed["use"], tabs["selected"]) == ("video", "watch", "video")
    assert video.load()[0].count("<figure") == 1 and "<figure" not in CreateHandlers(context).load()[0]


# --- With a browser ---------------------------------------------------------------------------------------------------


def frame_of(page: Any, frames: list[Image.Image], number: int) -> None:
    """The canvas shows frame `number`; what is half transparent is rounded by the browser."""
    assert page.evaluate(AT) == number
    data = page.evaluate("document.querySelector('#video-stage canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as canvas:
        seen, there = (np.asarray(one.convert("RGBA")) for one in (canvas, frames[number - 1]))
    assert np.array_equal(seen[..., 3], there[..., 3])
    assert np.array_equal(seen[there[..., 3] == 255], there[there[..., 3] == 255])


def test_a_picture_is_animated_and_the_clip_is_played_gone_through_and_taken_apart(
    visit: Callable[..., Any], home: Path, url: str
) -> None:
    page = visit()
    make(page, "a face", 1)
    page.click("#stage [data-do=animate]")
    page.wait_for_selector("#video-image img")
    page.wait_for_function(f"document.querySelector('{WORDS}').value === 'a face'")
    page.focus("#motions summary")
    page.keyboard.press("Enter")
    page.click("#motions [data-motion=wave]")
    page.wait_for_function(f"document.querySelector('{WORDS}').value === 'a face, waving'")
    page.click("#motions [data-motion=jump]")
    page.wait_for_function(f"document.querySelector('{WORDS}').value === 'a face, jumping'")
    page.fill("#video-frames input[type=number]", "24")  # long enough that even a slow page sees it being made
    page.click("#video-make")
    page.wait_for_selector("#video-stage .cells img[src^='data:image/webp']")
    page.wait_for_selector("#video-stage canvas[width='128']")
    for number in (3, 5):  # it plays
        page.wait_for_function(f"{AT} === {number}")
    (kept,) = Studio(home).gallery.page(Filter(kind="clip"))
    frames = media.frames(kept.path.read_bytes())
    page.fill(SLIDER, "4")
    frame_of(page, frames, 4)
    page.focus(SLIDER)
    page.keyboard.press("ArrowRight")
    frame_of(page, frames, 5)
    page.focus("#video-stage .board")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    frame_of(page, frames, 3)
    page.click("#video-stage [data-do=frame]")
    page.wait_for_selector("dialog[open] .note.good")
    with Image.open(io.BytesIO(get(f"{url}{page.get_attribute('#card-image', 'src')}")[1])) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(frames[2]))
    page.click("dialog[open] [data-close]")
    page.click("#video-stage .board")
    page.click("dialog[open] [data-play]")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")
    assert page.locator("dialog[open] [aria-label=Play]").is_visible(), "what is exchanged round it leaves it stopped"
    page.click("dialog[open] [data-close]")
    turn_to(page, "Create")
    assert page.locator("#stage .done img[alt='a face']").is_visible(), "each stage keeps its own"
    page.evaluate(DROP, list(kept.path.read_bytes()))
    page.wait_for_selector("#video-told .note.good:has-text('settings')")
    page.click("#video-more button")
    page.wait_for_function(f"document.querySelector('#video-seed textarea, #video-seed input').value === '{kept.seed}'")


def test_on_a_phone_in_china_nothing_moves_until_it_is_played(visit: Callable[..., Any]) -> None:
    page = visit("动图", locale="zh-CN", color_scheme="dark", reduced_motion="reduce", **PHONE)
    button = page.locator("#video-make").bounding_box()
    assert button["y"] + button["height"] < PHONE["viewport"]["height"], "to be seen without scrolling"
    page.click("#video-make")
    page.wait_for_selector("#video-stage .problem:has-text('提示词')")
    page.click("#motions button:has-text('跳跃')")
    page.wait_for_function(f"document.querySelector('{WORDS}').value === '跳跃'")
    page.click("#video-make")
    page.wait_for_selector("#video-stage canvas[width='128']")
    page.wait_for_timeout(400)
    assert page.evaluate(AT) == 1
    stills = "all => all.map(image => new URL(image.currentSrc).pathname)"
    page.wait_for_selector("#video-strip .cell")
    page.wait_for_function("[...document.querySelectorAll('#video-strip img')].every(image => image.currentSrc)")
    assert all(path.endswith("/frames/1") for path in page.locator("#video-strip img").evaluate_all(stills))
    page.click("#video-stage [aria-label=播放]")
    page.wait_for_function(f"{AT} === 3")
    page.wait_for_function(f"{AT} === 8")
    page.wait_for_function(f"{AT} === 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing to scroll sideways"


MODEL = "fake:0.1"
MEDIA_FRAMES = 6
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
    clip = submit(home, "clip", prompt="a cat jumps", frames=MEDIA_FRAMES, fps=12, seed=3)
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
    assert "a cat jumps" in moving.inner_text() and f"{MEDIA_FRAMES} frames" in moving.inner_text()
    assert moving.locator("picture img").evaluate(WIDTH) == 128
    assert "a red face" in said.locator(".made .words").inner_text()
    assert "a red face" in said.locator(".about b").inner_text() and said.locator("img").count() == 0


def the_card_of_a_clip(page: Any, job: str, url: str) -> None:
    """It moves, can be downloaded in every format that moves, and nothing is offered that only pictures can have."""
    page.click(f'.job[data-job="{job}"] .made button')
    page.wait_for_selector("dialog[open] canvas[width='128']")
    links = page.locator("dialog[open] .files a")
    offered = {link.inner_text(): url + link.get_attribute("href") for link in links.all()}
    apps = [app.title for app in APPS.values() if app.moving]
    assert list(offered) == ["WEBP", "APNG", "GIF", "WEBM", "MP4", "Sprite sheet", *apps]
    made = {name: fetch(offered[name]) for name in ("WEBP", "GIF", "WEBM", "Sprite sheet", "Slack emoji")}
    types = ["image/webp", "image/gif", "video/webm", "application/zip", "image/gif"]
    assert [kind for kind, _ in made.values()] == types
    assert [moves(made[name][1]) for name in ("WEBP", "GIF", "Slack emoji")] == [MEDIA_FRAMES] * 3
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
    assert f"{MEDIA_FRAMES} frames, 0.498 s" in page.inner_text("dialog[open] .why")
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
    image = page.locator("#gallery .pick picture img").first
    image.wait_for()
    assert image.evaluate(WIDTH) == 128
    for kind_of in ("thumbnail", "file"):
        kind, data = fetch(f"{url}{image.get_attribute('src').rpartition('/')[0]}/{kind_of}")
        assert kind == "image/webp" and moves(data) == MEDIA_FRAMES
    assert "a red face" in page.locator("#gallery .pick .words").first.inner_text()
    for kind, there, gone in (("clip", "picture img", ".words"), ("text", ".words", "img")):
        page.select_option("#gallery select[name=kind]", kind)
        page.wait_for_function(f"() => !document.querySelector('#gallery .pick {gone}')")
        page.wait_for_selector(f"#gallery .pick {there}")
