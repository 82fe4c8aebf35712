"""The Batch tab: what becomes of each line is seen first, and what was put in line is never lost."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import queue_kit
from hypothesis import given
from hypothesis import strategies as st
from page_kit import HOSTILE, PHONE, get, stays_text
from PIL import Image
from series_kit import idle_frame, keep, spoken, told  # noqa: F401 - a fixture
from waiting import until

from models.assets import assets
from models.messages import Message
from studio.batch.readers import Source
from studio.page.context import PageContext
from studio.page.routes import zipped
from studio.page.series import BACKGROUND, CHUNK, MEMBERS_CACHED, Member, Series, SeriesStore, busy
from studio.page.tabs.batch import ROWS, BatchHandlers, PromptFile, plan_table, read_source
from studio.planner import job_id, resolve
from studio.requests import make_request
from studio.syntax import literal

KIND = BatchHandlers.kind


def read_text(context: PageContext, lines: str, name: str) -> PromptFile:
    return read_source(context, Source(name, lines.encode(errors="replace"), context.studio.home), lines)


def table(read: PromptFile) -> list[list[str]]:
    """The cells of the rows, as they stand in the HTML."""
    rows = plan_table(read, None).split("<tr>")[2:]
    return [re.findall(r">([^<>]*)</t[hd]>", row) for row in rows]


# --- Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "yaml"])
def test_the_table_is_what_the_dry_run_says(
    kind: str, context: PageContext, studio: Callable[..., Any], tmp_path: Path
) -> None:
    source = assets() / "prompts" / f"batch.{kind}"
    home = context.studio.home
    shutil.copytree(assets() / "prompts" / "wildcards", home / "wildcards")
    path = tmp_path / source.name
    path.write_text(source.read_text().replace("a smiling cat\n", "a smiling cat --d 9\n"))  # else a new seed each time
    read = read_source(context, Source.open(str(path)))
    dry = studio("batch", path, "--dry-run", "--model", "fake", "--home", home)
    said = [row.split("\t") for row in dry.out.splitlines()]
    ours = [
        [line, seed, count, steps, guidance, sampler, style, unescape(prompt)]
        for line, prompt, style, count, seed, steps, guidance, sampler in table(read)
    ]
    assert ours == said and dry.code == 0


def test_a_bad_line_is_marked_with_its_place_and_the_others_are_jobs(context: PageContext) -> None:
    lines = '{"prompt": "one", "seed": 1}\n{"prompt": "two", "seed": }\n{"prompt": "three", "stepz": 3}\n'
    read = read_text(context, lines, "pasted")
    assert [(problem.line, problem.column) for problem in read.plan.problems] == [(2, 27), (3, None)]
    assert [job.request.prompt for job in read.plan.jobs] == ["one"]
    html = plan_table(read, None)
    assert html.count('<tr class="bad">') == 2 and "Column 27: " in html and "did you mean 'steps'" in unescape(html)
    assert html.index(">one<") < html.index("Column 27") < html.index("stepz")
    with spoken("zh"):
        assert "第 27 列" in plan_table(read, None)


def test_words_of_a_file_stay_words(context: PageContext) -> None:
    for words in HOSTILE:
        line = json.dumps({"prompt": words, "seed": 1}) + "\n" + json.dumps({"prompt": "x", words: 1}) + "\n"
        read = read_text(context, line, words)
        assert read.plan.jobs[0].request.prompt == literal(words) and len(read.plan.problems) == 1
        assert stays_text(plan_table(read, 5.0), words)


def test_lines_may_name_pictures_of_the_home_and_no_others(context: PageContext, tmp_path: Path) -> None:
    home = context.studio.home
    for path in (home / "pictures" / "own.png", tmp_path / "secret.png"):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGBA", (8, 8), "red").save(path)
    (home / "link.png").symlink_to(tmp_path / "secret.png")
    places = ["pictures/own.png", str(tmp_path / "secret.png"), "../secret.png", "link.png", "/etc/passwd"]
    lines = [{"like": place} for place in places] + [{"mix": [{"weight": 1, "picture": {"path": places[1]}}]}]
    read = read_text(context, "\n".join(map(json.dumps, lines)), "x")
    assert [job.line for job in read.plan.jobs] == [1]
    assert all("is not in the studio's folder" in problem.reason.text() for problem in read.plan.problems)


def test_only_what_was_uploaded_is_read(context: PageContext, tmp_path: Path) -> None:
    handlers = BatchHandlers(context)
    (tmp_path / "prompts.txt").write_text("a cat\n")
    inside = tmp_path / "home" / "cache" / "page" / ".." / ".." / ".." / "prompts.txt"
    for path in (str(tmp_path / "prompts.txt"), str(inside), "/etc/passwd", "", "../../x"):
        read, html, _ = handlers.uploaded(path)
        assert read.plan.jobs == [] and "was not uploaded here" in html


def test_a_plan_lists_all_bad_lines_and_the_first_jobs(context: PageContext) -> None:
    read = read_text(context, "".join(f"face {i} --d {i}\n" for i in range(ROWS + 7)) + "a face --stepz 3\n", "x")
    html = plan_table(read, None)
    assert [i for i in range(ROWS + 7) if f">face {i}<" in html] == list(range(ROWS))
    assert html.count('<tr class="bad">') == 1 and f"The first {ROWS} of {ROWS + 7} jobs" in html


def test_only_the_plan_on_show_is_queued(context: PageContext) -> None:
    handlers = BatchHandlers(context)
    read = read_text(context, "one --d 1\n", "pasted lines")

    def go(read: PromptFile, plan: str, lines: str) -> tuple[Any, ...]:
        return handlers.plan_pressed(read, lines, "", told(own="go", plan=plan))

    again, html, *_ = go(read, read.id, "one --d 1\ntwo --d 2\n")
    assert len(again.plan.jobs) == 2 and "were changed" in html
    assert "were changed" in go(again, read.id, again.text)[1] and handlers.series.latest(KIND, 9) == []
    read, html, _, text, shown, listed = go(again, again.id, again.text)
    assert (read, text) == (None, "") and shown in listed and "in line" in html


# --- Series -----------------------------------------------------------------------------------------------------------


def members(context: PageContext, count: int) -> list[Member]:
    backend_digest = read_text(context, "x", "x").digest
    made = []
    for i in range(count):
        request = resolve(make_request(prompt=f"face {i}", seed=i, model="fake"), context.can, context.wildcards)
        identity = job_id(request, backend_digest)
        made.append(Member(identity, str(i), (f"{i}.png",), request))
    return made


def lined(context: PageContext) -> list[str]:
    return [job.request.prompt for job in context.studio.queue.jobs(limit=-1)]


def begun(context: PageContext, count: int, monkeypatch: pytest.MonkeyPatch) -> Series:
    """A series of which nothing is in line yet: the power went."""
    every = SeriesStore(context.studio)
    monkeypatch.setattr(every, "_start_queueing", lambda series: None)
    return every.begin(KIND, "faces", members(context, count), BACKGROUND)


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_however_it_was_cut_off_every_job_comes_in_line_once_and_in_order(
    pieces: int, context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 * CHUNK + 3
    series, before = begun(context, count, monkeypatch), SeriesStore(context.studio)
    for _ in range(pieces):
        before._queue_chunk(series)
    if pieces:  # killed after the jobs were put in line and before it was noted
        before._write_queued(series.id, max(0, before._queued(series.id) - 5))
    after = SeriesStore(context.studio)
    after.resume()
    until(lambda: not after.counts(series).queueing)
    assert lined(context) == [f"face {i}" for i in range(count)]
    assert {job.priority for job in context.studio.queue.jobs(limit=-1)} == {BACKGROUND}
    assert after.counts(series).open == after.counts(series).total == count


def test_however_many_there_are_a_look_reads_none_of_them_again(
    context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    several, every = [begun(context, 2, monkeypatch) for _ in range(MEMBERS_CACHED + 4)], SeriesStore(context.studio)
    first = [every.counts(series) for series in several]
    assert [len(set(every.ids(series))) for series in several] == [2] * len(several)
    assert every.ids(several[0]) == tuple(one.id for one in every.members(several[0]))

    def read(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(Path, "open", read)
    assert [every.counts(series) for series in several] == first


def test_a_batch_waits_behind_what_somebody_asks_for_now(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    series, every = begun(context, 3, monkeypatch), SeriesStore(context.studio)
    every._queue_chunk(series)
    request = resolve(make_request(prompt="now", model="fake"), context.can, context.wildcards)
    context.studio.submit(queue_kit.planned(request))
    assert lined(context)[0] == "now"


def test_stopped_is_stopped_and_goes_on_when_it_is_told_to(
    context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, every = begun(context, CHUNK + 5, monkeypatch), SeriesStore(context.studio)
    every._queue_chunk(series)
    every.stop(series)
    every.resume()
    counts = every.counts(series)
    assert (counts.cancelled, counts.unqueued, counts.open, lined(context)) == (CHUNK, 5, 0, [])
    every.go_on(series)
    until(lambda: not every.counts(series).queueing)
    assert every.counts(series).open == CHUNK + 5


def test_only_what_failed_is_tried_again(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    series, every = begun(context, 3, monkeypatch), SeriesStore(context.studio)
    every._queue_chunk(series)
    queue, ids = context.studio.queue, [one.id for one in every.members(series)]
    queue.cancel(ids[:1])
    queue_kit.claims(queue).fail_all(Message("the worker broke down."))
    assert [(one.label, str(why)) for one, why in every.failures(series, 9)] == [
        ("1", "the worker broke down."),
        ("2", "the worker broke down."),
    ]
    every.retry(series)
    counts = every.counts(series)
    assert (counts.open, counts.cancelled, counts.failed) == (2, 1, 0)


def test_a_job_that_is_refused_does_not_hold_up_the_others(
    context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = context.studio.home / "start.png"
    Image.new("RGBA", (8, 8), "red").save(source)
    lost = resolve(make_request(image={"path": str(source)}, model="fake", seed=1), context.can, context.wildcards)
    source.unlink()
    every = SeriesStore(context.studio)
    monkeypatch.setattr(every, "_start_queueing", lambda series: None)
    others = members(context, 2)
    series = every.begin(KIND, "x", [others[0], Member("f" * 64, "lost", ("x.png",), lost), others[1]], BACKGROUND)
    every._queue_chunk(series)
    counts = every.counts(series)
    assert (counts.open, counts.unqueued) == (2, 1) and "start.png" in str(counts.problem)


def test_a_name_from_a_browser_finds_only_series(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    series, handlers = begun(context, 1, monkeypatch), BatchHandlers(context)
    inside = context.studio.home / "series" / f"{series.id}.jsonl"
    shutil.copy(inside, context.studio.home / "secret.jsonl")
    for name in ("../secret", "/etc/passwd", "", "0" * 24, series.id + "\n", series.id.upper() + "x", "../series/x"):
        for own in ("remove", "stop", "retry", "show", "go_on"):
            shown, html = handlers.pressed("", told(own=own, series=name))
            assert shown == "" and "That is not here any more." in html
    assert (context.studio.home / "secret.jsonl").exists() and handlers.series.latest(KIND, 9) == [series]
    assert "is not here" not in handlers.pressed("", told(own="delete_everything", series=series.id))[1]


def test_removing_a_batch_leaves_its_pictures(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    series, handlers = begun(context, 2, monkeypatch), BatchHandlers(context)
    keep(context, handlers.series.members(series)[0])
    assert handlers.pressed("", told(own="remove", series=series.id)) == ("", "")
    assert context.studio.gallery.count() == 1 and list((context.studio.home / "series").iterdir()) == []


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_the_zip_holds_the_very_files_under_the_names_of_the_batch(
    context: PageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, every = begun(context, 5, monkeypatch), SeriesStore(context.studio)
    kept = {one.label: keep(context, one) for one in every.members(series)[:4]}
    context.studio.gallery.delete([kept["1"].stem])
    files = every.files(series)
    kept["2"].unlink()  # while the ZIP is being sent
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(files)))) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"{n}.png": kept[n].read_bytes() for n in ("0", "3")}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12))
def test_time_that_was_shared_counts_once(spans: list[tuple[int, int]]) -> None:
    told = sorted((begin, begin + long) for begin, long in spans)
    assert busy(told) == len({second for begin, end in told for second in range(begin, end)})


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_a_batch_survives_the_tab_and_its_pictures_come_as_a_zip(
    visit: Callable[..., Any], tmp_path: Path, url: str
) -> None:
    lines = [f"a face {i} {HOSTILE[i % 2]} --d {i} --s 3 --f face-{i}" for i in range(5)]
    path = tmp_path / "faces.txt"
    path.write_text("\n".join([*lines, "a face --strenght 3"]) + "\n")
    page = visit("Batch")
    page.set_input_files("#batch-file input[type=file]", path)
    page.wait_for_selector("#batch-plan tr.bad")
    assert page.inner_text("#batch-plan tr.bad th") == "6" and page.locator("#batch-plan tbody tr").count() == 6
    assert page.locator("#batch-plan td.words >> nth=0").inner_text() == f"a face 0 {HOSTILE[0]}"
    page.click("#batch-plan [data-own=go]")
    page.wait_for_selector("#batch-list .batch")
    page.close()
    again = visit("Batch")
    again.wait_for_selector("#batch-list .status:has-text('5 of 5 done')")
    again.click("#batch-list [data-own=show]")
    again.wait_for_selector("#batch-list .tiles .board >> nth=4")
    assert again.inner_text("#batch-list tr.bad th") == "6"
    with again.expect_download() as download:
        again.click("#batch-list a[download]")
    assert download.value.suggested_filename == "faces.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["CREDITS.txt", *(f"face-{i}.png" for i in range(5))]
    again.click("#batch-list .tiles .board >> nth=0")
    again.wait_for_selector("dialog[open] #card-image")
    assert get(f"{url}/series/..%2f..%2fstudio.db/pictures.zip")[0] == 404


def test_pasted_lines_on_a_phone_in_chinese(visit: Callable[..., Any]) -> None:
    page = visit("批量", locale="zh-CN", color_scheme="dark", **PHONE)
    page.click("#batch-plan [data-own=example]:has-text('给我一个示例')")  # once the page has greeted in Chinese
    page.wait_for_selector("#batch-plan tr.bad")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the table scrolls, the page does not"
    page.fill("#batch-lines textarea", "一只猫 --d 1 --s 2\n一只狗 --d 2 --s 2")
    page.wait_for_selector("#batch-plan [data-own=go]:has-text('全部加入队列（2）')")
    page.click("#batch-plan [data-own=go]")
    page.wait_for_selector("#batch-list .batch h3:has-text('粘贴的文字')")
    page.wait_for_selector("#batch-list .status:has-text('已完成 2 / 2')")
