"""The page: what it shows, and what a person with a browser sees on the Create tab."""

import io
import itertools
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from page_kit import HOSTILE, PHONE, PROMPT, ROOT, Server, get, make, stays_text, turn_to
from PIL import Image, ImageDraw
from queue_kit import Entry, claims, keep, named
from series_kit import spoken

from models.assets import prompt_list
from models.messages import Message, Refused, catalogue
from studio.backends.fake import Fake
from studio.events import Cancelled, Done, End, Failed, Progress, Saved, Unknown
from studio.export.apps import APPS
from studio.gallery import GalleryItem
from studio.page import layout, polling
from studio.page.html import error_text, has_text, language_of, render, text, translations
from studio.page.polling import GALLERY, QUEUE, Pace, Poll, Stage, fingerprint
from studio.page.tabs import create as edits
from studio.planner import Job, resolve
from studio.queue import QueuedJob
from studio.requests import make_request
from studio.studio import Studio

# --- Words ------------------------------------------------------------------------------------------------------------


# Codes that are put together: of a hint, of a setting's name, of what `studio doctor` finds, of a part of the model.
BUILT = re.compile(
    r"\w+_(hint|info|values|words)|(of|key|about|was|does|kind|preset)_\w+|judge|vocabulary|\w+_(file|short|rotten|gallery|database)"
)


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    files = [path for path in (ROOT / "studio").rglob("*") if path.suffix in (".py", ".html", ".js")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    pattern = re.compile(r"""["'](?:page\.)?([a-z_]+(?:\.\w+)*\.?)["']""")
    names = {name for source in sources for words in pattern.findall(source) for name in (words, *words.split("."))}
    codes = [code.removeprefix("page.") for code in catalogue("en") if code.startswith("page.")]
    unused = [code for code in codes if code not in names and code.rpartition(".")[2] not in names]
    assert [code for code in unused if not BUILT.fullmatch(code.rpartition(".")[2])] == []
    for source in (path.read_text(encoding="utf-8") for path in files if path.suffix != ".js"):
        for code in re.findall(r"""\b(?:text|label|act)\(["']([a-z_.]+)["'][,)]""", source):
            assert has_text(code), code
    with pytest.raises(KeyError):
        text("no such text")


def test_the_language_is_the_chosen_one_else_the_browsers() -> None:
    assert [language_of({"accept-language": said}) for said in ("zh-CN,zh;q=0.9", "de, zh", "")] == ["zh", "en", "en"]
    assert language_of({"accept-language": "de", "cookie": "a=b; studio_language=zh"}) == "zh"
    assert language_of({"accept-language": "zh", "cookie": "studio_language=en"}) == "en"
    assert language_of({"cookie": "studio_language=<script>"}) == language_of({"cookie": "\x00=;;="}) == "en"
    assert translations()["zh-TW"]["page_tab_create"] == "生成"


def test_an_error_is_said_in_the_readers_language() -> None:
    refusal = Refused("page.gallery.too_many", count=1000)
    assert error_text(refusal) == str(refusal)
    with spoken("zh"):
        assert error_text(refusal) == refusal.text("zh") and error_text("something else.") == "something else."
        assert error_text(Message("request.empty_prompt")).startswith("提示词是空的")


def test_the_prompt_lists_can_be_asked_for() -> None:
    sheet = prompt_list("sheet")
    assert len(sheet) == len(set(sheet)) == 64
    for line in [*sheet, *prompt_list("examples")]:
        assert make_request(prompt=line).prompt == line
    assert sum(" + " in line for line in sheet) == 8
    assert sum(bool(re.search(r"[\u4e00-\u9fff]", line)) for line in sheet) >= 8


# --- The stage --------------------------------------------------------------------------------------------------------


def stage(prompt: str = "a cat", count: int = 3, end: End | None = None, **known: Any) -> Stage:
    request = resolve(make_request(prompt=prompt, count=count, model="fake"), Fake().capabilities())
    states: dict[Any, Any] = {Done: "done", Cancelled: "cancelled", type(None): known.pop("state", "running")}
    state, message = states.get(type(end), "failed"), getattr(end, "message", Message(""))
    job = QueuedJob("a" * 64, 1, request, state, 0, message, 0, 0.0, None, None, known.pop("stop_request", ""))
    return Stage(job, **known)


def saved(index: int, cached: bool = False) -> Saved:
    return Saved(f"/x/{index:064x}.png", index, index, 0.5, 1.5, cached)


def test_the_stage_tells_how_far_it_is() -> None:
    assert "Waiting: 2 before this one" in stage(state="waiting", ahead=2).html()
    assert "Paused" in stage(state="waiting", paused=True).html()
    loading = stage(progress=Progress(0, 0)).html()
    assert "Getting ready" in loading and loading.count("<figure") == 3, "a warm model begins at once"
    known = Progress(1, 4, {0: b"png"}, (Unknown("axolotl", ("lizard", "fish")),))
    html = stage(progress=known, left=2.6).html()
    assert "Step 1 of 4 · 3 s left" in html and "width:25%" in html and "data:image/png;base64,cG5n" in html
    assert "Not drawn: axolotl; nearest: lizard, fish." in unescape(html)
    assert "Read as: a &lt;b&gt;." in stage(progress=Progress(1, 4, read_as="a <b>")).html()
    html = stage(end=Cancelled(), saved={1: saved(1)}).html()
    assert "Stopped" in html and html.count("<figure") == 1 and " download" in html


def test_the_stage_tells_what_was_wished_and_offers_what_is_left() -> None:
    html = {stop: stage(count=12, progress=Progress(1, 4), stop_request=stop).html() for stop in ("", "cancel")}
    offered = {stop: re.findall(r'data-own="(\w+)"', said) for stop, said in html.items()}
    assert offered == {"": ["stop"], "cancel": []} and "Stopping" in html["cancel"]
    with spoken("zh"):
        assert "正在停止" in stage(progress=Progress(1, 4), stop_request="cancel").html()


def test_the_time_that_is_left_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    pace, shown = Pace(1), list[float]()
    for step in range(1, 17):
        for _ in range(4):
            now[0] += 0.25 * (1.5 if step % 2 else 0.5)  # steps that take 1.5 s and 0.5 s
            shown += [left] if (left := pace.left(step, 16)) is not None else []
    assert all(after <= before + 0.5 for before, after in itertools.pairwise(shown)) and shown[-1] < 2


def test_the_stage_tells_when_it_is_done() -> None:
    for language, says in (("en", "2 made in 1.5 s"), ("zh", "2 张，用时 1.5 秒")):
        with spoken(language):
            assert says in stage(count=2, end=Done(), saved={0: saved(0), 1: saved(1)}).html()
    assert "again" in stage(end=Done(), saved={0: saved(0, cached=True)}).html()


@pytest.mark.parametrize("words", HOSTILE)
def test_words_from_outside_stay_words(words: str) -> None:
    unknown = Progress(1, 2, unknown=(Unknown(words, (words,)),))
    shown = stage(words, 1, Failed(Message(words)), progress=unknown, saved={0: saved(0)})
    file = {
        "number": 1,
        "sha256": "a" * 64,
        "path": Path(f"/x/{'a' * 64}.png"),
        "width": 1,
        "height": 1,
        "created": 0.0,
    }
    made = {"job": "", "position": 0, "seed": 0, "score": None, "prompt": words, "style": words, "model": words}
    kept = GalleryItem(**file, **made, note=words)
    pieces = [shown.html(), render("stage.nothing_yet", "create", words), render("parts.note", "good", words)]
    pieces += [render("stage.refused", words), render("stage.strip", [kept])]
    pieces += [render("card.card", kept, {"negative": words}, [APPS["slack"]], [], [])]
    assert all(stays_text(html, words) for html in pieces)


def test_an_artifact_is_shown_by_its_kind() -> None:
    def shown(file: str, kind: str, **given: Any) -> str:
        return render("parts.opener", Saved(f"/x/{file}", 0, 1, None, 0.1, kind=kind, text="a cat & a dog"), **given)

    for name, kind in (("a.png", "image"), ("a.webp", "clip")):
        assert '<img alt="a &lt;cat&gt;" src="/api/v1/gallery/a/file"' in shown(name, kind, name="a <cat>")
    assert 'src="/api/v1/gallery/a/thumbnail"' in shown("a.webp", "clip", name="", small=True)
    assert ">a cat &amp; a dog</span>" in shown("a.txt", "text", name="")


# --- What the inputs ask for ------------------------------------------------------------------------------------------


def test_what_was_painted_is_drawn_anew(tmp_path: Path) -> None:
    picture, layer, blank = tmp_path / "a.png", tmp_path / "layer.png", tmp_path / "blank.png"
    for path in (picture, layer, blank):
        Image.new("RGBA", (64, 64)).save(path)
    with Image.open(layer) as painted:
        ImageDraw.Draw(painted).rectangle((8, 8, 23, 23), fill="#ec4899")
        painted.save(layer)
    can = Fake().capabilities()
    given: dict[str, Any] = {"strength": 0.3, "expand": True}
    canvas = {"background": str(picture), "layers": [str(blank)]}
    assert edits.start_fields(given, tmp_path, can) == {}
    assert set(edits.start_fields({**given, "canvas": canvas}, tmp_path, can)) == {"image", "strength", "expand"}
    fields = edits.start_fields({**given, "canvas": {**canvas, "layers": [str(blank), str(layer)]}}, tmp_path, can)
    with Image.open(fields["mask"]["path"]) as mask:
        assert mask.size == (64, 64) and sum(value == 255 for value in mask.convert("L").getdata()) == 16 * 16
    resolve(make_request(model="fake", **fields), can)


@pytest.mark.parametrize(("between", "weights"), [(0, [1]), (1, [1]), (0.25, [0.75, 0.25])])
def test_a_blend_runs_from_one_picture_to_the_other(between: float, weights: list[float]) -> None:
    mix = edits.blend({"first": "one.png", "second": "other.png", "between": between})["mix"]
    assert [part["weight"] for part in mix] == weights
    assert edits.blend({"first": None, "second": None, "between": 0.5}) == {}
    back = edits.picture_values({"mix": mix}, Fake().capabilities())
    assert len(mix) < 2 or (back["first"], back["second"], back["between"]) == ("one.png", "other.png", between)


# --- The server -------------------------------------------------------------------------------------------------------


def test_polling_tells_what_changed(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    poll = Poll(studio)
    before = poll.news()
    assert before["stages"] == {} and before["current"] == ""
    request = resolve(make_request(prompt="a cat", model="fake"), Fake().capabilities())
    studio.queue.submit(Job(request, "a" * 64, "x"))
    poll._stale = 0
    after = poll.news(["a" * 64, "no such job"])
    assert after["queue"] != before["queue"] and after["gallery"] == before["gallery"]
    ((name, shown),) = after["stages"].items()
    assert after["current"] == name == "a" * 64 and shown["cells"].count("<figure") == 1 and not shown["ended"]


def test_words_as_long_as_those_before_are_news_too(tmp_path: Path) -> None:
    studio, data = Studio(tmp_path), io.BytesIO()
    Image.new("RGBA", (8, 8)).save(data, "PNG")
    digest = keep(studio.gallery, data.getvalue(), Entry("job", 0, 1, "a cat")).stem
    seen = [fingerprint(studio, GALLERY)]
    for said in ({"tags": ("cat",)}, {"tags": ("dog",)}, {"note": "one"}, {"note": "two"}, {"boards": ("x",)}):
        studio.gallery.mark([digest], **said)
        seen.append(fingerprint(studio, GALLERY))
    assert len(set(seen)) == len(seen)
    studio.queue.submit(named("j"))
    claims(studio.queue).claim()
    running = fingerprint(studio, QUEUE)
    studio.queue.cancel(["j"])
    assert fingerprint(studio, QUEUE) != running


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not say what a process has loaded")
def test_the_server_process_loads_no_torch(server: Server) -> None:
    assert get(server.url)[0] == 200
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libpython" in loaded or "python" in loaded
    assert "torch" not in loaded


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_a_person_makes_stickers_and_downloads_one(visit: Callable[..., Any], home: Path, tmp_path: Path) -> None:
    page = visit()
    make(page, f"an axolotl {HOSTILE[0]}")
    made = "#stage .status:has-text('made in')"
    page.wait_for_selector(f"#stage .bar:not(.busy), {made}")  # on a busy machine all may be over at the first look
    page.wait_for_selector(f'#stage img[src^="data:image/png"], {made}')
    page.wait_for_selector(made)
    assert page.locator("#stage .done").count() == 4
    assert page.inner_text("#stage .note") == "Not drawn: axolotl; nearest: lizard, fish."
    with page.expect_download() as download:
        page.click("#stage .done a[download] >> nth=0")
    path = tmp_path / "got.png"
    download.value.save_as(path)
    with Image.open(path) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (512, 512)), "in the largest size"
        assert json.loads(picture.text["studio"])["request"]["prompt"].startswith("an axolotl")
    page.wait_for_selector("#strip .cell >> nth=3")
    assert page.locator("#stage img[onerror], #strip img[onerror]").count() == 0
    page.reload()  # as Gradio does when the studio was started again
    page.wait_for_selector(made)
    assert page.locator("#stage .done").count() == 4, "what was on show is on show again"


def test_a_refusal_is_shown_and_the_page_goes_on(visit: Callable[..., Any]) -> None:
    page = visit()
    make(page, "")
    page.wait_for_selector("#stage .problem:has-text('the prompt is empty')")
    page.click("#examples button >> nth=0")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value.length > 5")
    page.press(PROMPT, "Control+Enter")
    page.wait_for_selector("#stage .done")


def test_each_picture_has_words_of_its_own(visit: Callable[..., Any]) -> None:
    page = visit()
    make(page, "a {red|blue|green} balloon", count=6)
    page.wait_for_selector("#stage .status:has-text('6 made in')")
    assert page.locator("#stage .done").count() == 6, "those of all its jobs"
    titles = page.inner_text("#stage h2").split(" · ")
    assert len(titles) == len(set(titles)) > 1 and all(
        re.fullmatch("a (red|blue|green) balloon", one) for one in titles
    )
    page.reload()
    page.wait_for_selector("#stage .done >> nth=5")
    make(page, "a {slow|lame} {face|foot} to stop", count=12)
    page.click("#stage [data-own=stop]")
    page.wait_for_selector("#stage .status:has-text('Stopped')")


def test_a_list_that_is_missing_is_made_where_its_lack_is_said(visit: Callable[..., Any], home: Path) -> None:
    page = visit()
    make(page, "a __fruits__ with __../x__")
    page.wait_for_selector("#stage .problem:has-text('there is no wildcard __fruits__')")
    assert "banana" in page.input_value("#stage .list textarea").splitlines(), "things of its kind"
    page.fill("#stage .list textarea", "{a|")
    page.click("#stage .list [type=submit]")
    page.wait_for_selector("#stage .fetching:has-text('is never closed')")
    page.fill("#stage .list textarea", "mango\nmango")
    page.press("#stage .list textarea", "Control+Enter")
    page.wait_for_selector("#stage .problem:has-text('there is no wildcard __../x__')")
    assert (home / "wildcards" / "fruits.txt").read_text() == "mango\nmango"
    assert not page.locator("#stage .list").count(), "no list can be named so"
    make(page, "a __fruits__")
    page.wait_for_selector("#stage h2:has-text('a mango')")
    page.reload()
    page.click("#help summary")
    page.click("#help [data-edit-list=fruits]")
    page.fill("#help .list textarea", "fig")
    page.click("#help .list [type=submit]")
    page.wait_for_selector("#help .fetching:has-text('Saved')")
    assert (home / "wildcards" / "fruits.txt").read_text() == "fig"


def test_stop_stops_and_a_closed_tab_does_not(visit: Callable[..., Any]) -> None:
    page = visit()
    make(page, "a slow face to stop", count=12)
    page.wait_for_selector("#stage .bar:not(.busy)")
    page.hover("#stage [data-own=stop]")
    page.mouse.down()
    page.wait_for_timeout(500)  # a slow hand: there is news of the job meanwhile
    page.mouse.up()
    page.wait_for_selector("#stage .status:has-text('Stopped')")
    make(page, "a face that goes on")
    page.wait_for_selector("#stage .bar:not(.busy)")
    page.close()
    again = visit()
    again.wait_for_selector("#stage .done, #strip .cell >> nth=0")
    again.wait_for_selector("[alt='a face that goes on'] >> nth=0")


def test_a_picture_is_opened_marked_and_used(visit: Callable[..., Any], home: Path) -> None:
    page = visit()
    make(page, "a face to like")
    page.wait_for_selector("#stage .status:has-text('made in')")
    page.click("#stage .done .board >> nth=0")
    page.wait_for_selector("dialog[open]")
    page.click("dialog .star")
    page.wait_for_selector("dialog .star[aria-pressed=true]")
    assert page.evaluate("document.activeElement.className") == "star", "the focus stays where it was"
    page.check("dialog [name=rating][value='4']")
    page.wait_for_selector("dialog .rating .lit >> nth=3")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    page.click("#stage .done .board >> nth=0")
    job = page.get_attribute("#stage .stage", "data-job")
    page.click("dialog [data-do=vary]")
    page.wait_for_selector(f"#stage .stage:not([data-job='{job}'])[data-ended]")
    assert page.locator("#stage .done").count() == 4
    assert [kept.rating for kept in Studio(home).gallery.page() if kept.star] == [4]
    assert page.inner_text("#stage .asked") == "a face to like"
    page.fill(PROMPT, "something else")
    page.click("#stage .done .board >> nth=1")
    page.click("dialog [data-do=start]")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === 'a face to like'")


def test_the_server_is_killed_and_the_page_goes_on(visit: Callable[..., Any], tmp_path: Path) -> None:
    server = Server(tmp_path / "home")
    page, made = visit(address=server.url), "#stage .status:has-text('made in')"
    make(page, "a face that outlives the server", count=12)
    page.wait_for_selector(f"#stage .bar:not(.busy), {made}")  # on a busy machine all may be over at the first look
    server.kill()
    page.wait_for_selector("#stage .stage.silent")
    again = Server(tmp_path / "home", port=server.port)
    page.wait_for_selector("#stage .stage:not(.silent):has(.status:has-text('made in')) .done >> nth=11")
    page.close()
    again.close()


def test_a_phone_in_the_dark_in_china(visit: Callable[..., Any]) -> None:
    page = visit(locale="zh-CN", color_scheme="dark", **PHONE)
    assert page.inner_text("#make") == "生成贴纸"
    assert all(re.search(r"[\u4e00-\u9fff]", said) for said in page.locator("#examples button").all_inner_texts())
    make(page, "")
    page.wait_for_selector("#stage .problem:has-text('提示词是空的')")
    make(page, "美西螈")
    page.wait_for_selector("#stage .note:has-text('没有画出：美西螈；最接近的是：蜥蜴、鱼。')")
    page.wait_for_selector("#stage .status:has-text('用时')")
    for name in (*layout.tab_names(), "create"):
        with spoken("zh"):
            turn_to(page, text(f"tab.{name}"))
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name}: nothing to scroll sideways"
    page.click("[data-language]")
    page.wait_for_selector("#make:has-text('Make stickers')")
    assert page.evaluate("document.documentElement.lang") == "en"
