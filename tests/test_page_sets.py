"""The Sets and Compare tabs: what is asked for, shown place by place, and what can be fetched of it."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import HOSTILE, PHONE, Elements, get, stays_text
from PIL import Image
from queue_kit import claims
from series_kit import idle_frame, keep, spoken, told  # noqa: F401 - a fixture
from waiting import until

from models.messages import Refused
from studio.export.apps import APPS
from studio.export.clips import Clip
from studio.export.pack import Sticker, pack
from studio.grid import KEYWORD, Axis, Grid
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.layout import build
from studio.page.series import WATCHED, Counts, Series, SeriesStore
from studio.page.series_tab import Cell
from studio.page.tabs.compare import CompareHandlers, members
from studio.page.tabs.sets import SetsHandlers, packed_for
from studio.requests import make_request
from studio.sets import EMOTIONS, make_set


def made(handlers: SetsHandlers, kind: str = "emotions", first: str = "cat", words: str = "", **more: str) -> Series:
    """A set, asked for as the page asks."""
    return handlers.begin(kind, first, words, more.get("style", ""), "7")


def finish(context: PageContext, handlers: SetsHandlers | CompareHandlers, series: Series) -> None:
    """Every picture of it is there, each of another colour."""
    for number, member in enumerate(handlers.series.members(series)):
        keep(context, member, red=20 * number % 256)


def doubled(path: Path) -> Image.Image:
    """A larger version of a picture, unlike what a filter makes."""
    with Image.open(path) as picture:
        return picture.convert("RGBA").resize((64, 64), Image.Resampling.NEAREST)


def wait_in_line(handlers: SetsHandlers | CompareHandlers, series: Series) -> None:
    until(lambda: not handlers.series.counts(series).queueing)


def grid_in(path: Path) -> Grid:
    with Image.open(path) as picture:
        return Grid.from_record(picture.info[KEYWORD])


# --- Sets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "first", "words", "listed", "style"),
    [
        ("emotions", "cat", "", [], "noto"),
        ("emotions", "小狗", "happy，生气、sleepy", ["happy", "生气", "sleepy"], ""),
        ("subjects", "happy", "cat, dog\nfrog", ["cat", "dog", "frog"], ""),
        ("style", "", "cat; dog；pizza,", ["cat", "dog", "pizza"], "outline"),
    ],
)
def test_a_set_is_what_the_command_makes_in_line_once_and_of_one_seed(
    kind: str, first: str, words: str, listed: list[str], style: str, context: PageContext
) -> None:
    handlers = SetsHandlers(context)
    series = made(handlers, kind, first, words, style=style)
    asked = make_set(kind, style if kind == "style" else first, listed, style=style, seed=7)
    found = handlers.series.members(series)
    assert [(one.label, one.request.prompt) for one in found] == [(one.label, one.request.prompt) for one in asked]
    assert {(one.request.seed, one.request.style, one.request.shape) for one in found} == {(7, style, 8)}
    wait_in_line(handlers, series)
    jobs = context.studio.queue.jobs(limit=-1)
    assert [job.id for job in jobs] == [one.id for one in found] and {job.priority for job in jobs} == {WATCHED}


def test_what_cannot_be_a_set_is_said_and_nothing_is_kept(context: PageContext) -> None:
    handlers = SetsHandlers(context)
    for kind, first, words, style, seed in (
        ("emotions", " ", "", "", ""),
        ("style", "", "cat", "", ""),
        ("style", "", ",,", "noto", ""),
        ("emotions", "cat", ",".join(map(str, range(99))), "", ""),
        ("emotions", "cat", "", "no such style", ""),
        ("emotions", "cat", "", "", "x"),
        ("__class__", "cat", "", "", ""),
    ):
        shown, panel, _ = handlers.begun("", kind, first, words, style, seed)
        assert shown == "" and 'class="note problem"' in panel
    assert handlers.series.latest("set", 9) == [] and context.studio.queue.counts() == {}


def test_name_cover_and_outline_are_kept_and_go_into_the_pack(context: PageContext) -> None:
    handlers = SetsHandlers(context)
    series = made(handlers)
    finish(context, handlers, series)
    for data in ({"own": "name", "value": " Six cats "}, {"own": "cover", "index": "2"}):
        handlers.pressed(series.id, told(series=series.id, **data))
    for data in ({"own": "name", "value": " "}, {"own": "cover", "index": "99"}, {"own": "cover", "index": "-1"}):
        handlers.pressed(series.id, told(series=series.id, **data))  # what won't do changes nothing
    later = SeriesStore(context.studio).get(series.id)
    assert (later.title, later.about["cover"]) == ("Six cats", 2) and handlers.series.members(later)[
        5
    ].label == "sleepy"
    kept = {one.job: one for one in handlers.series.pictures(later)}
    pictures = [Image.open(kept[one.id].path).convert("RGBA") for one in handlers.series.members(later)]
    larger = [doubled(kept[one.id].path) for one in handlers.series.members(later)]
    clips = [Clip((shown,), larger=(more,)) for shown, more in zip(pictures, larger, strict=True)]
    stickers = list(map(Sticker, clips, EMOTIONS))
    plain = packed_for(handlers.series, later, "telegram", doubled)
    assert plain == pack(stickers, "Six cats", APPS["telegram"], stickers[2])
    handlers.pressed(series.id, told(own="outline", series=series.id))
    rimmed = packed_for(handlers.series, SeriesStore(context.studio).get(series.id), "telegram", doubled)
    with zipfile.ZipFile(io.BytesIO(plain)) as a, zipfile.ZipFile(io.BytesIO(rimmed)) as b:
        assert a.namelist() == b.namelist() and a.read("01.png") != b.read("01.png")


def test_a_pack_waits_for_all_pictures_and_names_what_an_app_wants(context: PageContext) -> None:
    handlers = SetsHandlers(context)
    series = made(handlers)
    with pytest.raises(Refused, match="not all pictures"):
        packed_for(handlers.series, series, "slack", doubled)
    assert "data-fetch" not in handlers.show(series.id)[1]
    finish(context, handlers, series)
    panel = handlers.show(series.id)[1]
    for app in APPS.values():
        can = 6 in (app.counts or range(app.least, app.most + 1))
        assert (f"/pack/{app.name}.zip" in panel) is can and (app.title in panel)
    handlers.series.pictures(series)[0].path.unlink()
    with pytest.raises(Refused, match="gone or damaged"):
        packed_for(handlers.series, series, "telegram", doubled)


def test_every_place_says_what_became_of_it(context: PageContext) -> None:
    handlers, queue = SetsHandlers(context), context.studio.queue
    series = made(handlers)
    wait_in_line(handlers, series)
    found = handlers.series.members(series)
    queue.cancel([found[0].id])
    claims(queue).claim()
    keep(context, found[2], red=2)
    keep(context, found[3], red=3)
    database = context.studio.store.database
    with database.writing() as connection:
        done = "UPDATE jobs SET state = 'done' WHERE id IN (?, ?)"
        connection.execute(done, (found[2].id, found[3].id))
        connection.execute("UPDATE jobs SET state = 'failed', message = 'too <b>.' WHERE id = ?", (found[1].id,))
    context.studio.gallery.delete([handlers.series.first_pictures(series)[found[3].id].sha256])
    cells = {cell.label: render("series.place", cell) for cell in handlers.cells(series)}
    said = ["stopped", "✗ too &lt;b&gt;.", "data-do", "deleted", "being drawn", "being drawn"]
    assert [words in cells[one.label] for one, words in zip(found, said, strict=True)] == [True] * 6
    small = handlers.show(series.id)[1]
    assert small.count('width="32"') == small.count('width="16"') == 2, "on light and on dark"


def test_words_of_sets_and_comparisons_stay_words(context: PageContext) -> None:
    handlers, comparing = SetsHandlers(context), CompareHandlers(context)
    for words in HOSTILE[:2]:
        series = made(handlers, "emotions", words, "")
        panel = "".join(handlers.pressed(series.id, told(own="name", series=series.id, value=words))[1:])
        assert stays_text(panel, words)
        counts = Counts(open=1, problem=words)
        cells = [Cell(words, None, "failed", words)]
        assert stays_text(render("sets.panel", series, counts, cells, APPS.values()), words)
        grid = Grid(make_request(prompt=words), Axis("prompt", (words, f"{words}x")))
        both = [*cells, *cells]
        assert stays_text(render("compare.panel", series, counts, grid, both), words)
        refused = Elements(comparing.preview(words, "style", words, "", "", "", ""))
        assert refused.text and not any({"onerror", "src"} & set(attributes) for _, attributes in refused.elements)


# --- Compare ----------------------------------------------------------------------------------------------------------


CAT = ("a smiling cat", "style", "noto, outline, black glyph", "steps", "2-6 (+2)", "", "5")


def test_a_comparison_is_the_commands_grid_and_is_found_again(context: PageContext) -> None:
    handlers = CompareHandlers(context)
    assert "3 × 3 = 9" in handlers.preview(*CAT) and handlers.series.latest("compare", 9) == []
    series = handlers.begin(*CAT)
    fields = make_request(prompt="a smiling cat", seed=5, model="fake")
    grid = Grid(fields, Axis.parse("style=noto, outline, black glyph"), Axis.parse("steps=2-6 (+2)"))
    found = handlers.series.members(series)
    assert [(one.request.style, one.request.steps) for one in found] == [
        (request.style, request.steps) for request in grid.requests()
    ]
    assert [one.label for one in found[:4]] == ["noto · 2", "outline · 2", "black glyph · 2", "noto · 4"]
    assert Grid.from_record(SeriesStore(context.studio).get(series.id).about["grid"]).record() == grid.record()
    wait_in_line(handlers, series)
    assert [job.id for job in context.studio.queue.jobs(limit=-1)] == [one.id for one in found]


def test_the_sheet_says_what_it_was_made_from(context: PageContext, tmp_path: Path) -> None:
    handlers = CompareHandlers(context)
    series = handlers.begin(*CAT)
    grid = Grid.from_record(series.about["grid"])
    finish(context, handlers, series)
    pictures = [Image.open(cell.item.path).convert("RGBA") for cell in handlers.cells(series) if cell.item]
    (tmp_path / "sheet.png").write_bytes(grid.file([*pictures[:8], None]))
    again = grid_in(tmp_path / "sheet.png")
    assert again.record() == grid.record()
    pictures_asked = members(again, context.wildcards, context.model)
    assert [one.id for one in pictures_asked] == [one.id for one in handlers.series.members(series)]


def test_what_cannot_be_compared_is_said_and_nothing_is_kept(context: PageContext) -> None:
    handlers = CompareHandlers(context)
    for given in (
        ("a cat", "style", "no such style", "", "", "", ""),
        ("a cat", "seed", "1-999", "", "", "", ""),
        ("a cat", "seed", "x", "", "", "", ""),
        ("a cat", "seed", "1-20", "steps", "1-20", "", ""),
        ("a cat", "seed", "1", "seed", "2", "", ""),
        ("a cat", "prompt", "dog, fox", "", "", "", ""),
        ("a cat", "__class__", "1", "", "", "", ""),
        ("a cat", "model", "embedded:../../x", "", "", "", ""),
        ("a cat", "model", "fake, fake:abc", "", "", "", ""),
        ("a cat", "model", "fake, fake:60", "", "", "", ""),
        ("a cat", "steps", "0", "", "", "", ""),
    ):
        assert 'class="note problem"' in handlers.preview(*given), given
        shown, panel, _ = handlers.begun("", *given)
        assert shown == "" and 'class="note problem"' in panel
    assert handlers.series.latest("compare", 9) == [] and context.studio.queue.counts() == {}


def test_a_series_of_another_tab_or_of_nobody_is_not_touched(context: PageContext) -> None:
    sets, grids = SetsHandlers(context), CompareHandlers(context)
    series, grid = made(sets), grids.begin(*CAT)
    for handlers, name in ((sets, grid.id), (grids, series.id), (sets, "../x"), (grids, "0" * 24)):
        for own in ("remove", "stop", "show", "name", "cover", "outline"):
            _, panel, _ = handlers.pressed("", told(own=own, series=name, value="x", index="0"))
            assert "That is not here any more." in panel
    assert sets.find(series.id) == series and grids.find(grid.id) == grid


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_a_person_makes_names_and_packs_a_set(visit: Callable[..., Any], url: str) -> None:
    page = visit("Sets")
    page.fill("#set-subject textarea, #set-subject input", "red panda")
    page.fill("#set-emotions-words textarea", "happy, sad, angry")
    page.click("#set-make")
    page.wait_for_selector("#set-show .set .cells")
    page.close()  # while it is being made
    page = visit("Sets")
    page.wait_for_selector("#set-show [data-fetch]")
    assert page.locator("#set-show .cells figcaption span").all_inner_texts() == ["happy", "sad", "angry"]
    assert page.locator("#set-show .strip-small img").count() == 12
    sizes = page.eval_on_selector_all(".strip-small img", "all => all.map(one => [one.clientWidth, one.clientHeight])")
    assert sorted(map(tuple, sizes)) == [(16, 16)] * 6 + [(32, 32)] * 6
    page.fill("#set-show [data-own=name]", "Three / pandas")
    page.hover("#set-show [data-own=cover] >> nth=1")
    page.mouse.down()  # the name is told, and the panel exchanged before the button is let go
    page.wait_for_selector('#set-show [data-own=name][value="Three / pandas"]')
    page.mouse.up()
    page.wait_for_selector("#set-show figure:nth-child(2) [aria-pressed=true]")
    with page.expect_download() as download:
        page.click('#set-show [data-fetch][href*="whatsapp"]')
    assert "pandas" in download.value.suggested_filename
    with zipfile.ZipFile(download.value.path()) as archive:
        assert json.loads(archive.read("contents.json"))["sticker_packs"][0]["name"] == "Three / pandas"
    name = page.get_attribute("#set-show .set", "data-series")
    assert get(f"{url}/series/{name}/pack/line-sticker.zip")[0] == 422
    assert get(f"{url}/series/{name}/pack/nobody.zip")[0] == get(f"{url}/series/{name}/sheet.png")[0] == 404


def test_a_comparison_fills_and_its_sheet_can_be_made_again(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit("对比", locale="zh-CN", **PHONE)
    page.fill("#compare-prompt textarea, #compare-prompt input", "一只猫")
    page.fill("#compare-y-values textarea, #compare-y-values input", "1, 5")
    page.wait_for_selector("#compare-count .sum:has-text('3 × 2 = 6')")
    page.click("#compare-make")
    page.wait_for_selector("#compare-show .grid .board >> nth=5")
    page.wait_for_function("document.querySelector('#compare-show').getBoundingClientRect().top < innerHeight * 0.6")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.wait_for_selector("#compare-show .grid [data-do=open] >> nth=5")
    page.wait_for_selector("#compare-show .status:has-text('已完成 6 / 6')")
    with page.expect_download() as download:
        page.click("#compare-show a.primary")
    again = grid_in(Path(download.value.path()))
    assert again.x.setting == "style" and again.y == Axis("guidance", (1.0, 5.0)) and again.request.prompt == "一只猫"


def test_a_refresh_never_answers_after_a_press_that_it_began_before(context: PageContext) -> None:
    """All wait in one queue, one at a time: what shows the state as it was can't come last. The last news are seen."""
    events, queues = list(build(context).fns.values()), dict[str, list[str]]()
    for name in ("show", "typed", "pressed", "plan_pressed", "make", "begun", "uploaded"):
        several = [event for event in events if event.name == name and event.concurrency_limit == 1]
        queues[name] = sorted(str(event.concurrency_id) for event in several)
        if name in ("show", "typed"):
            assert {event.trigger_mode for event in several} == {"always_last"}
    assert queues["show"] == queues["pressed"] == ["batch", "caption", "compare", "set"]
    assert sorted(queues["make"] + queues["begun"]) == ["caption", "compare", "set"]
    assert queues["typed"] == queues["plan_pressed"] == queues["uploaded"] == ["batch"]
