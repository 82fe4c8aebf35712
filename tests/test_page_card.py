"""The card of a picture and what is pressed in haste: nothing is left out, nothing comes back by itself."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from conftest import Output
from page_kit import PROMPT, make, turn_to
from PIL import Image
from series_kit import idle_frame, keep, spoken, told  # noqa: F401 - a fixture

from studio.gallery import Gallery
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.tabs.sets import SetsHandlers
from studio.studio import Studio

SLOW_ANSWERS = """() => {
  const plain = window.fetch;
  window.fetch = async (...asked) => {
    if (String(asked[0]?.url || asked[0]).includes('queue/join')) await new Promise((done) => setTimeout(done, 700));
    return plain(...asked);
  };
}"""
LATE_ENDS = """
  const plain = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await plain(...asked);
    if (!String(asked[0]?.url || asked[0]).includes('queue/data')) return answer;
    const held = new TransformStream({ transform: async (text, after) => {
      const at = text.indexOf('data: {"msg":"close_stream"');
      after.enqueue(at < 0 ? text : text.slice(0, at));
      if (at < 0) return;
      await new Promise((done) => setTimeout(done, 1500));
      window.ends = 1 + (window.ends || 0);
      after.enqueue(text.slice(at));
    } });
    const words = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(held);
    return new Response(words.pipeThrough(new TextEncoderStream()), answer);
  };
"""
KEPT = "dialog[open] [data-do={}]"


@pytest.fixture
def opened(visit: Callable[..., Any]) -> Any:
    """A page with four pictures that were made before, the card of the first one open."""
    page = visit()
    if not page.locator("#strip .cell").count():
        make(page, "a face with a card")
        page.wait_for_selector("#stage .status:has-text('made in')")
        page.wait_for_selector("#strip .cell >> nth=3")
    page.click("#strip .board >> nth=0")
    page.wait_for_selector("dialog[open]")
    return page


def gallery(home: Any) -> Gallery:
    return Studio(home).gallery


def test_what_is_said_of_a_picture_opens_no_card(context: PageContext) -> None:
    series = SetsHandlers(context).begin("emotions", "cat", "", "", "")
    digest = keep(context, SetsHandlers(context).series.members(series)[0]).stem
    handlers = CardHandlers(context)
    opens = {do: handlers.act(told(do=do, picture=digest, value="x"))[0] for do in ("open", "note", "star", "rate")}
    assert {do for do, html in opens.items() if "data-again" not in html} == {"open"}


def test_what_is_refused_is_said_on_the_card_and_what_was_typed_stays(context: PageContext) -> None:
    series = SetsHandlers(context).begin("emotions", "cat", "", "", "")
    digest = keep(context, SetsHandlers(context).series.members(series)[0]).stem
    typed = "x" * 101
    for language, says in (("en", "1 to 100 characters"), ("zh", "须有 1 到 100 个字符")):
        with spoken(language):
            html, *rest = CardHandlers(context).act(told(do="tags", picture=digest, value=typed))
            before = CardHandlers(context).show(context.studio.gallery.get(digest))
        assert '<div class="said-here"></div><div class="marks">' in before, "what is refused moves nothing"
        head, _, below = html.partition('<div class="marks">')
        assert says in head and 'class="note problem"' in head and f'value="{typed}"' in below
        assert "data-again" not in html and all(one == gr.skip() for one in rest)
    assert gallery(context.studio.home).get(digest).tags == ()


def test_without_its_start_a_picture_is_not_made_again(
    context: PageContext, studio: Callable[..., Output], tmp_path: Path
) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    made = studio("generate", "a cat", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    press = told(do="again", picture=Path(made.json[0]["path"]).stem)
    card = unescape(CardHandlers(context).act(press)[0])
    assert re.search(r'class="note problem"[^>]*>[^<]*\'red\.png\' that it was made from is not beside it', card)
    assert not context.studio.queue.jobs()


def test_a_note_and_a_star_at_once(opened: Any, home: Any) -> None:
    page = opened
    page.evaluate(SLOW_ANSWERS)
    page.fill(KEPT.format("note"), "kept with care")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")
    page.fill(KEPT.format("tags"), "one")
    page.press(KEPT.format("tags"), "Tab")
    page.keyboard.type("two")
    page.wait_for_selector(KEPT.format("tags") + "[value=one]")
    assert page.evaluate("document.activeElement.dataset.do") == "boards", "the focus stays where it is"
    assert page.input_value(KEPT.format("boards")) == "two"
    page.fill(KEPT.format("note"), "kept and closed")
    page.click("dialog[open] [data-close]")
    page.wait_for_selector("dialog[open]", state="detached")
    page.wait_for_timeout(1500)
    assert page.locator("dialog[open]").count() == 0, "the answer opens nothing"
    kept = [one for one in gallery(home).page() if one.star]
    assert [(one.note, one.tags, one.boards) for one in kept] == [("kept and closed", ("one",), ("two",))]
    page.click("#strip .board >> nth=0")
    page.wait_for_selector("dialog[open]")
    assert page.input_value(KEPT.format("note")) == "kept and closed"


def test_what_is_pressed_while_the_answers_end_is_answered(opened: Any) -> None:
    """Gradio's server has ended its stream of answers, and the page has not heard of it yet."""
    page = opened
    page.add_init_script(LATE_ENDS)
    page.reload()
    page.click("#strip .board >> nth=1")
    page.wait_for_selector("dialog[open] .star[aria-pressed=false]")
    ended = page.evaluate("window.ends || 0")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=false]")
    page.wait_for_function("before => (window.ends || 0) > before", arg=ended)
    page.click("dialog[open] .star")
    page.wait_for_selector("dialog[open] .star[aria-pressed=true]")


def test_what_pictures_lie_on_and_the_light_are_as_picked(opened: Any) -> None:
    page = opened
    page.click("dialog[open] [data-background=black]")
    page.click("dialog[open] [data-close]")
    page.click("[data-theme]")
    page.reload()
    page.wait_for_selector("#stage .empty, #stage .cells")
    page.click("#strip .board >> nth=0")
    page.wait_for_selector("dialog[open] [data-background=black][aria-pressed=true]")
    assert page.locator("dialog[open] [aria-pressed=true][data-background]").count() == 1
    page.eval_on_selector(
        "dialog[open] input[type=color]",
        "one => { one.value = '#102030'; one.dispatchEvent(new Event('input', { bubbles: true })); }",
    )
    page.click("dialog[open] [data-close]")
    before = page.evaluate("document.body.classList.contains('dark')")
    page.click("[data-theme]")  # within the seconds in which Gradio's own choice is undone
    page.wait_for_timeout(300)
    assert page.evaluate("document.body.classList.contains('dark')") is not before
    page.click("#strip .board >> nth=0")
    page.wait_for_selector("dialog[open]")
    assert page.input_value("dialog[open] input[type=color]") == "#102030"
    assert page.locator("[aria-pressed=true][data-background]").count() == 0


def test_a_card_leads_to_the_next_one_in_any_size(opened: Any, home: Any, tmp_path: Any) -> None:
    page, first = opened, gallery(home).page(limit=1)[0]
    for press, name, size in (("a:text('128 px')", "as-drawn.png", 128), ("a.primary", "larger.png", 512)):
        with page.expect_download() as download:
            page.click(f"dialog .files {press}")
        download.value.save_as(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (size, size)
    assert (tmp_path / "as-drawn.png").read_bytes() == first.path.read_bytes(), "the very file"
    page.click("[data-enlarge]")
    page.wait_for_function("document.querySelector('#card-image').naturalWidth === 512")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"dialog[open]:not([data-picture='{first.sha256}'])")
    page.wait_for_function("document.querySelector('#card-image').naturalWidth === 512")
    page.focus(KEPT.format("note"))
    page.keyboard.press("ArrowLeft")  # moves in what is typed
    page.click("[data-step='-1']")
    page.wait_for_selector(f"dialog[open][data-picture='{first.sha256}'] [data-step='-1'][aria-disabled=true]")


def test_copying_says_where_it_cannot(opened: Any) -> None:
    page = opened
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    page.click("[data-copy]")
    page.wait_for_selector("[data-copy]:has-text('download it')")
    page.focus(KEPT.format("note"))
    job = page.get_attribute("#stage .stage", "data-job")
    page.fill(PROMPT, "not behind the card")
    page.press(KEPT.format("note"), "Control+Enter")
    page.wait_for_timeout(500)
    assert page.get_attribute("#stage .stage", "data-job") == job


def test_what_is_typed_outlives_the_page(visit: Callable[..., Any]) -> None:
    page = visit("Batch")
    page.fill("#batch-lines textarea", "one --d 1")
    page.wait_for_selector("#batch-plan .plan")
    turn_to(page, "Create")
    page.fill(PROMPT, "half a prompt")
    page.click("[data-language]")
    page.wait_for_selector("#make:has-text('生成贴纸')")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === 'half a prompt'")
    turn_to(page, "批量")
    page.wait_for_selector("#batch-plan .plan")
    assert page.input_value("#batch-lines textarea") == "one --d 1"
    turn_to(page, "生成")
    page.click("#make")
    page.wait_for_selector("#stage img[alt*='half a prompt']")
    page.fill(PROMPT, "")
    page.reload()
    page.wait_for_selector("#stage .empty, #stage .cells")
    page.wait_for_timeout(1000)
    assert page.input_value(PROMPT) == "", "what was emptied stays empty"
