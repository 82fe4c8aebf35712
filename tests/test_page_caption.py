"""The Caption tab: files become texts beside their pictures, which a person corrects, copies and trains with."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import HOSTILE, PROMPT, Elements, get, make, stays_text
from PIL import Image
from series_kit import idle_frame, spoken, told  # noqa: F401 - a fixture
from waiting import until

from models.messages import Refused
from studio import settings
from studio.backends.fake import Fake
from studio.events import Content, Vector
from studio.export.training import training_set
from studio.gallery import GalleryItem
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.layout import build
from studio.page.routes import describe
from studio.page.series import Series, SeriesStore
from studio.page.tabs.caption import FILES, CaptionHandlers, training_examples
from studio.page.tabs.create import CreateHandlers
from studio.planner import Job
from studio.run import GallerySink, run_jobs


def uploaded(context: PageContext, **colours: str) -> list[str]:
    """Pictures as the page's uploads, a file each."""
    folder = settings.uploads(context.studio.home)
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in colours.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in colours]


def described(context: PageContext, *kinds: str, **colours: str) -> tuple[CaptionHandlers, Series]:
    """Files that have been described."""
    handlers = CaptionHandlers(context)
    series = handlers.begin(uploaded(context, **colours), kinds or ("short",), "en")
    jobs = [Job(one.request, one.id, Fake().digest()) for one in handlers.series.members(series)]
    list(run_jobs(Fake(), jobs, GallerySink(context.studio.gallery)))
    return handlers, series


def zipped(handlers: CaptionHandlers, series: Series) -> dict[str, Any]:
    return dict(training_set(training_examples(handlers.series, series, handlers.rows(series))))


def test_each_file_is_described_in_each_kind_and_a_bad_one_is_named(context: PageContext) -> None:
    handlers = CaptionHandlers(context)
    files = uploaded(context, red="red", blue="blue", bad="red")
    Path(files[2]).write_bytes(b"no picture")
    series = handlers.begin(files, ("tags", "short"), "zh")
    members = handlers.series.members(series)
    assert [(one.label, one.request.tags, one.request.language) for one in members] == [
        (name, tags, "zh") for name in ("red.png", "blue.png") for tags in (False, True)
    ]
    assert all(Path(one.request.image.path).is_relative_to(context.studio.home / "inputs") for one in members)
    until(lambda: len(context.studio.queue.jobs(limit=-1)) == 4)
    with spoken("zh"):
        panel = handlers.show(series.id)[1]
    assert "bad.png 不是" in panel and "page" not in Elements(panel).text.split("bad.png")[0][-40:]
    assert series.title == "red.png + 1" and "textarea" not in panel


def test_what_cannot_be_described_is_said_and_nothing_is_queued(context: PageContext, tmp_path: Path) -> None:
    handlers = CaptionHandlers(context)
    (one,) = uploaded(context, red="red")
    Path(one).write_bytes(b"no picture")
    (tmp_path / "other.png").write_bytes(b"")
    for files, kinds, says in (
        ([], ("short",), "add pictures"),
        ([one], (), "choose what"),
        ([one], ("short",), "red.png is not a picture"),
        ([one] * (FILES + 1), ("short",), "at most 200"),
        ([str(tmp_path / "other.png")], ("short",), "not uploaded"),
        (["/etc/passwd"], ("short",), "not uploaded"),
    ):
        with pytest.raises(Refused, match=says):
            handlers.begin(files, kinds, "en")
    assert handlers.series.latest("caption", 9) == [] and context.studio.queue.counts() == {}


def test_words_that_a_person_writes_go_before_the_models(context: PageContext) -> None:
    handlers, series = described(context, "short", "tags", red="red", grey="grey")
    (red, *_, grey) = [cell.item for row in handlers.rows(series) for _, cell, _ in row.texts]
    panel = handlers.show(series.id)[1]
    assert ">a red face, happy</textarea>" in panel and 'placeholder="I don&#39;t know this; it may be' in panel
    assert "90 % sure" in panel and list(zipped(handlers, series)) == ["red.png", "red.txt", "metadata.jsonl"]
    for kept, words in ((red, "a  tomato "), (grey, HOSTILE[0])):
        handlers.pressed(series.id, told(own="text", series=series.id, picture=kept.sha256, value=words))
    handlers = CaptionHandlers(context)  # as after a restart
    rows = [json.loads(row) for row in zipped(handlers, series)["metadata.jsonl"].splitlines()]
    assert rows == [
        {"file_name": "red.png", "text": "a tomato", "short": "a tomato", "tags": "a red face, happy"},
        {"file_name": "grey.png", "text": HOSTILE[0], "short": "", "tags": HOSTILE[0]},
    ]
    assert "your words" in (panel := handlers.show(series.id)[1]) and stays_text(panel, HOSTILE[0])
    for value in ("a red face, happy", ""):
        handlers.pressed(series.id, told(own="text", series=series.id, picture=red.sha256, value=value))
        assert context.studio.gallery.get(red.sha256).caption == "", "it is the model's again"
    context.studio.gallery.mark([red.sha256], caption="a tomato")
    cards = {kept.sha256: CardHandlers(context).show(context.studio.gallery.get(kept.sha256)) for kept in (red, grey)}
    assert "<h2>a tomato</h2>" in cards[red.sha256] and 'data-do="words"' in cards[red.sha256]
    context.studio.gallery.mark([grey.sha256], caption="")
    assert 'data-do="words"' not in CardHandlers(context).show(context.studio.gallery.get(grey.sha256)), "it is unknown"
    other, _ = described(context, blue="blue"), None
    strange = context.studio.gallery.get(other[0].series.pictures(other[1])[0].sha256)
    handlers.pressed(series.id, told(own="text", series=series.id, picture=strange.sha256, value="no"))
    assert context.studio.gallery.get(strange.sha256).caption == "", "it is no text of this series"


def test_a_model_that_writes_no_captions_says_so(context: PageContext) -> None:
    context.can = context.can.model_copy(update={"tasks": ("image",)})
    assert "caption-make" not in str(build(context).config["components"])


def test_pictures_are_described_corrected_copied_and_taken_along(
    visit: Callable[..., Any], home: Path, url: str, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "灰.png")
    page = visit("Captions")
    page.set_input_files("#caption-files input[type=file]", [tmp_path / "red.png", tmp_path / "灰.png"])
    page.wait_for_selector("#caption-files >> text=red")
    page.click("#caption-make")
    box = page.locator("#caption-show textarea")
    box.nth(3).wait_for()
    assert box.first.input_value() == "a red face, happy" and box.nth(2).input_value() == ""
    page.wait_for_function("document.querySelector('#caption-show .captioned img').naturalWidth === 256")
    box.first.fill("a ripe tomato")
    box.nth(2).fill("a grey")  # on its way when the answer to the first comes
    page.wait_for_selector("#caption-show .badge:has-text('your words')")
    box.nth(2).press_sequentially(" stone")
    box.nth(3).focus()
    page.wait_for_selector("#caption-show .badge:has-text('your words') >> nth=1")
    assert box.nth(2).input_value() == "a grey stone"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#caption-show [data-copy-text] >> nth=0")
    page.wait_for_selector("#caption-show [data-copy-text]:has-text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == "a ripe tomato"
    (series,) = (one for one in SeriesStore.every(_store(home)))
    assert get(f"{url}/series/{series.id}/given/9.webp")[0] == get(f"{url}/series/nothing/training.zip")[0] == 404
    with page.expect_download() as download:
        page.click("#caption-show a[download]")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        rows = [json.loads(line) for line in archive.read("metadata.jsonl").splitlines()]
        assert [row["text"] for row in rows] == ["a ripe tomato", "a grey stone"]
        assert archive.read("red.png") == (tmp_path / "red.png").read_bytes()
    page.reload()
    page.wait_for_selector("#stage .empty, #stage .cells")
    page.click("#tabs button[role=tab]:has-text('Captions')")
    page.wait_for_function("document.querySelector('#caption-show textarea')?.value === 'a ripe tomato'")


def _store(home: Path) -> SeriesStore:
    from studio.studio import Studio

    return SeriesStore(Studio(home))


# --- What is this? ----------------------------------------------------------------------------------------------------


def drawn(context: PageContext, prompt: str = "a cat") -> GalleryItem:
    (job,) = context.studio.prepare("image", prompt=prompt, seed=1, model="fake")
    list(run_jobs(Fake(), [job], GallerySink(context.studio.gallery)))
    return context.studio.gallery.page()[0]


def test_the_answer_is_kept_with_the_picture_and_says_how_near_the_round_trip_came(
    context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gallery = drawn(context), context.studio.gallery
    answers = {"caption": Content(b"a kitten", "text/plain", 0.8)}
    ask = lambda request: (  # noqa: E731 - instead of a worker
        (answers["caption"],)
        if request.task == "caption"
        else tuple(Vector("text", one, (0.6, 0.8) if one == "a cat" else (0.0, 1.0)) for one in request.texts)
    )
    monkeypatch.setattr(context.studio, "ask", ask)
    assert "What is this?" in CardHandlers(context).show(kept)
    kept = describe(context, kept, "en")
    assert (kept.caption, kept.sure, kept.round_trip) == ("a kitten", 0.8, pytest.approx(0.8))
    assert gallery.count() == 1 and gallery.get(kept.sha256) == kept, "no other file"
    card = CardHandlers(context).show(kept)
    assert "a kitten" in card and "80 % sure" in card and "Round trip 0.80: it came back as what was asked" in card
    with spoken("zh"):
        assert "往返 0.80" in CardHandlers(context).show(kept)
    answers["caption"] = Content(HOSTILE[0].encode(), "text/plain", 0.1, False)
    unknown = describe(context, kept, "en")
    assert (unknown.sure, unknown.round_trip) == (0.0, None)
    card = CardHandlers(context).show(unknown)
    assert "I don&#39;t know this" in card and 'data-do="words"' not in card and stays_text(card, HOSTILE[0])


def test_a_caption_becomes_a_prompt_in_a_style(context: PageContext) -> None:
    kept = drawn(context)
    context.studio.gallery.mark([kept.sha256], caption="a kitten")
    for style, chosen in (("noto", "noto"), ("no such style", "")):
        card, handed, tabs = CardHandlers(context).act(told(do="words", picture=kept.sha256, value=style))
        assert (card, handed["tab"], tabs["selected"]) == ("", "create", "create")
        values, said = CreateHandlers(context).handed(handed, None)
        assert values == {"prompt": "a kitten", "style": chosen} and "note good" in said


def test_what_a_model_cannot_tell_is_not_asked(tmp_path: Path, context: PageContext) -> None:
    kept = drawn(context)
    context.can = context.can.model_copy(update={"tasks": ("image",)})
    assert "data-describe" not in CardHandlers(context).show(kept)


def test_what_is_this_is_answered_below_a_picture_and_on_its_card(visit: Callable[..., Any], home: Path) -> None:
    page = visit()
    make(page, "a face that is asked about", 1)
    page.click("#stage [data-describe]")
    page.wait_for_selector("#stage .answer b:has-text('face, ')")
    assert page.locator("#stage .done img").count() == 1, "the picture stays on the stage"
    said = page.inner_text("#stage .answer b")
    page.wait_for_timeout(400)
    assert page.inner_text("#stage .answer b") == said, "what is polled says the same"
    page.click("#stage .done .board >> nth=0")
    page.wait_for_selector(f"dialog[open] .answer b:has-text('{said}')")
    assert "Round trip" in page.inner_text("dialog[open] .answer")
    page.focus("dialog[open] [data-describe]")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.classList.contains('answer')")
    page.select_option("dialog[open] .answer select", "noto")
    page.wait_for_function(f"document.querySelector('{PROMPT.partition(',')[0]}').value === '{said}'")
    page.wait_for_selector("#style input[value=noto]:checked", state="attached")
    assert page.locator("dialog[open]").count() == 0
