"""The Gallery tab: what its routes answer, and what a person with a browser sees."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from page_kit import HOSTILE, client_of, stays_text
from PIL import Image
from queue_kit import Entry, keep
from waiting import until

from studio.backends.base import run
from studio.backends.fake import Fake
from studio.gallery import PAGE, Filter, Gallery
from studio.home import Home
from studio.inputs import INPUTS
from studio.media import as_bytes
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.tabs import gallery as tab
from studio.requests import make_request
from studio.studio import Studio

FILLED = 150
FORGED = ["f" * 64, "../../etc/passwd", "", "' OR 1=1 --"]


def fill(gallery: Gallery, count: int) -> list[str]:
    """Pictures of colours of their own -> their digests, newest first. Some prompts are hostile."""
    made = []
    for n in range(count):
        file = io.BytesIO()
        Image.new("RGBA", (8, 8), (n % 256, n // 256, 7, 255)).save(file, "PNG")
        prompt = HOSTILE[0] if n % 50 == 3 else f"a {('cat', '猫')[n % 2]} {n}"
        entry = Entry(f"job{n}", 0, n, prompt, style=("noto", "outline")[n % 2], model="fake", created=1.7e9 + n)
        made.append(keep(gallery, file.getvalue(), entry).stem)
    return made[::-1]


# --- What the routes answer ------------------------------------------------------------------------------------------


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Home(tmp_path).gallery


@pytest.fixture
def client(gallery: Gallery, tmp_path: Path) -> TestClient:
    return client_of(tab.router(PageContext(Studio(tmp_path), "fake")))


def pages(client: TestClient, **wanted: Any) -> list[int]:
    """The numbers of all cells, page by page."""
    found, low = [], None
    while True:
        before = {} if low is None else {"before": low}
        page = client.get("/gallery/page", params={**wanted, **before}).raise_for_status().json()
        found += [number for number, _ in page["cells"]]
        low = page["low"]
        if low is None:
            assert f"{len(found):,}" in page["counted"]
            return found


def act(client: TestClient, do: str, pictures: list[str], value: str = "") -> dict[str, Any]:
    return client.post("/gallery/act", json={"do": do, "value": value, "pictures": pictures}).raise_for_status().json()


def test_pages_tile_the_gallery_under_any_filter(client: TestClient, gallery: Gallery) -> None:
    made = fill(gallery, 2 * PAGE + 5)
    gallery.mark(made[:70], star=True, rating=4, tags=("red",))
    everything = [kept.number for kept in gallery.page(limit=1000)]
    assert pages(client) == everything == sorted(everything, reverse=True)
    assert pages(client, starred=True, tag="red", rating=3) == everything[:70]
    assert pages(client, style="noto") == [kept.number for kept in gallery.page(Filter(style="noto"), limit=1000)]
    assert pages(client, words="cat 12") == [n + 1 for n in (124, 122, 120, 12)]
    assert len(pages(client, since="2023-11-01", until="2023-12-01")) == len(everything)
    assert pages(client, since="2023-12-01") == pages(client, until="0001-01-01") == pages(client, bin=True) == []
    exact = client.get("/gallery/page", params={"before": everything[PAGE - 1]}).json()
    assert exact["newest"] == everything[0] and exact["low"] == everything[2 * PAGE - 1]


def test_what_is_deleted_and_taken_back_is_as_before(client: TestClient, gallery: Gallery) -> None:
    made = fill(gallery, 5)
    act(client, "board", made[1:4], "Mine")
    assert act(client, "rate", made[:2], "5") == {"done": made[:2], "problem": ""}
    before = client.get("/gallery/page").json()
    seen = before.pop("fingerprint")
    assert act(client, "delete", made[1:3])["done"] == made[1:3]
    assert client.get("/gallery/page").json()["bin"] == len(pages(client, bin=True)) == 2
    act(client, "restore", made[1:3])
    after = client.get("/gallery/page").json()
    assert after.pop("fingerprint") != seen and after == before
    act(client, "delete", made[:1])
    assert client.post("/gallery/empty").json() == {"done": 1}
    assert act(client, "restore", made[:1]) == {"done": [], "problem": "Not here any more: 1"}


def test_a_line_of_tags_is_as_many_tags_as_on_the_card(client: TestClient, gallery: Gallery) -> None:
    made = fill(gallery, 2)
    assert act(client, "tag", made, "cat, dog，hat,")["done"] == made
    assert {kept.tags for kept in gallery.page()} == {("cat", "dog", "hat")}
    act(client, "untag", made[:1], "dog, hat")
    assert gallery.get(made[0]).tags == ("cat",)
    assert act(client, "board", made, " , ")["done"] == []


def test_what_a_browser_forges_does_nothing_but_a_sentence(client: TestClient, gallery: Gallery) -> None:
    made = fill(gallery, 3)
    before = gallery.page()
    for do in ("star", "rate", "delete", "tag"):
        assert act(client, do, FORGED, "1") == {"done": [], "problem": f"Not here any more: {len(FORGED)}"}
    for do, value in (
        ("drop", ""),
        ("__init__", ""),
        ("rate", "9"),
        ("rate", "-1"),
        ("tag", " "),
        ("board", "x" * 101),
    ):
        answer = act(client, do, made, value)
        assert answer["done"] == [] and answer["problem"].endswith(".")
    assert gallery.page() == before
    for forged in ({"before": -1}, {"before": 10**30}, {"rating": 6}, {"since": "now"}, {"words": "x" * 9999}):
        assert client.get("/gallery/page", params=forged).status_code == 422
    many = {"do": "star", "pictures": made * 4000}
    assert client.post("/gallery/act", json=many).status_code == 422


def test_a_zip_holds_the_very_files(
    client: TestClient, gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = fill(gallery, 5)
    gallery.file(made[4]).unlink()
    answer = client.post("/gallery/zip", json={"pictures": [*made, *FORGED, made[0]]})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [f"{digest[:16]}.png" for digest in made[:4]]
        assert [archive.read(name) for name in archive.namelist()] == [gallery.file(d).read_bytes() for d in made[:4]]
    (tmp_path / "secret").write_bytes(b"x")
    gallery.file(made[4]).symlink_to(tmp_path / "secret")
    for forged in (FORGED, [made[4]]):
        assert "Not here any more" in client.post("/gallery/zip", json={"pictures": forged}).json()["problem"]
    assert "at most" in client.post("/gallery/zip", json={"pictures": made * 1000}).json()["problem"]
    monkeypatch.setattr(tab, "ZIP_BYTES", 10)
    refused = client.post("/gallery/zip", json={"pictures": made}, headers={"accept-language": "zh"})
    assert refused.status_code == 422 and "请少选几张" in refused.json()["problem"]


def test_emptying_the_bin_removes_what_only_its_pictures_were_made_from(tmp_path: Path) -> None:
    context = PageContext(Studio(tmp_path / "home"), "fake")
    context.studio._worker.wake = lambda model="": None  # what is in line waits
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    context.studio.submit(*context.studio.prepare("image", prompt="a cat", model="fake", image=tmp_path / "red.png"))
    context.studio.queue.cancel()
    (copy,) = (context.studio.home / INPUTS).iterdir()
    os.utime(copy, (0, 0))
    tab.GalleryHandlers(context).empty_bin()
    assert copy.exists(), "a job that can be tried again names it"
    with context.studio.store.database.writing() as connection:
        connection.execute("DELETE FROM jobs")
    assert "problem" not in tab.GalleryHandlers(context).empty_bin() and not copy.exists()


@pytest.mark.parametrize("words", HOSTILE)
def test_words_from_outside_stay_words(gallery: Gallery, words: str) -> None:
    digest = fill(gallery, 1)[0]
    gallery.database.connection.execute("UPDATE artifacts SET prompt = ?", (words,))
    assert stays_text(render("gallery.cell", gallery.get(digest)), words)
    assert stays_text(render("gallery.options", [(words, words)]), words)


# --- With a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its pictures are there before the page is opened."""
    root = tmp_path_factory.mktemp("home")
    gallery = Home(root).gallery
    made = fill(gallery, FILLED)
    gallery.mark(made[10:20], tags=("round",))
    place = as_bytes(next(run(Fake(), make_request("embed", texts=["zebra"]))).vector)
    gallery.database.connection.execute(
        "INSERT INTO vectors VALUES (?, 'fake', ?)", (gallery.get(made[12]).number, place)
    )
    return root


def shown(page: Any) -> list[str]:
    return page.eval_on_selector_all(".pick", "cells => cells.map(cell => cell.dataset.picture)")


def chosen(page: Any) -> list[str]:
    return page.eval_on_selector_all(".pick:has(:checked)", "cells => cells.map(cell => cell.dataset.picture)")


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.dataset.picture")


def settle(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}")


def test_pages_are_added_and_nothing_is_drawn_again(visit: Callable[..., Any], home: Path) -> None:
    page = visit("Gallery")
    page.wait_for_selector(".pick")
    assert page.inner_text(".counted").startswith(f"Pictures: {FILLED}")
    page.evaluate("document.querySelector('.pick').mine = true")
    assert len(shown(page)) < FILLED
    down = "() => { scrollTo(0, document.documentElement.scrollHeight); }"
    until(lambda: page.evaluate(down) or page.locator(".pick").count() == FILLED, 0.1)
    assert shown(page) == [kept.sha256 for kept in Home(home).gallery.page(limit=1000)]
    assert page.evaluate("document.querySelector('.pick').mine")


def test_two_tabs_agree_and_the_selection_stays(visit: Callable[..., Any]) -> None:
    one, other = visit("Gallery"), visit("Gallery")
    for page in (one, other):
        page.wait_for_selector(".pick")
    before = shown(one)
    one.focus(".pick .board")
    one.keyboard.press("ArrowRight")
    one.keyboard.press("Space")
    one.keyboard.press("Shift+ArrowRight")
    assert chosen(one) == before[1:3] and focused(one) == before[2]
    other.focus(".pick .board")
    other.keyboard.press("s")
    settle(one, "document.querySelector('.pick').dataset.star === '1'")
    assert chosen(one) == before[1:3] and focused(one) == before[2] and shown(one) == before
    one.keyboard.press("Delete")
    settle(other, f"!document.querySelector('[data-picture=\"{before[1]}\"]')")
    settle(one, f"document.activeElement.dataset.picture === '{before[3]}'")
    assert shown(other)[:2] == [before[0], before[3]] and chosen(one) == []
    one.keyboard.press("Control+z")
    for page in (one, other):
        settle(page, f"document.querySelectorAll('.pick')[2].dataset.picture === '{before[2]}'")
        assert shown(page)[: len(before)] == before


def test_filters_search_and_the_bin(visit: Callable[..., Any], home: Path, tmp_path: Path) -> None:
    page = visit("Gallery")
    page.wait_for_selector(".pick")
    page.select_option("select[name=tag]", "round")
    settle(page, "document.querySelectorAll('.pick').length === 10")
    page.click("[data-act=all]")
    assert page.inner_text(".chosen b") == "Selected: 10"
    with page.expect_download() as download:
        page.click("[data-act=zip]")
    download.value.save_as(tmp_path / "got.zip")
    with zipfile.ZipFile(tmp_path / "got.zip") as archive:
        assert [name[:16] for name in archive.namelist()] == [digest[:16] for digest in shown(page)]
    page.fill(".filters [name=words]", "zebra")
    page.wait_for_selector(".nothing .empty")
    assert page.locator(".pick").count() == 0 and page.is_hidden(".chosen")
    page.eval_on_selector(".filters [data-act=clear]", "one => one.click()")
    page.fill(".filters [name=words]", "onerror")
    settle(page, f"document.querySelectorAll('.pick').length === {len(range(3, FILLED, 50))}")
    assert page.inner_text(".pick .said >> nth=0") == HOSTILE[0] and page.locator(".pick img[onerror]").count() == 0
    page.click(".filters .bin")
    page.wait_for_selector(".nothing .empty")
    page.click(".filters .bin")
    page.click(".pick .board >> nth=0")
    page.wait_for_selector("dialog.card[open]")
