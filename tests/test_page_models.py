"""The Models tab: what it says of the models is what lies on the disk, no more."""

import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from disk_kit import checkpoint
from page_kit import HOSTILE, make, stays_text, turn_to

from models.messages import Message
from models.weights import MANIFEST, listed_parts, weights_root
from studio.backends.embedded import PARTS, Embedded
from studio.disk.memory import Machine
from studio.disk.models import LocalModel
from studio.maintenance import Finding
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.tabs import models as view
from studio.page.tabs.models import ModelsHandlers
from studio.studio import Studio


def test_every_shipped_part_is_as_listed_and_its_card_names_a_licence() -> None:
    listed = listed_parts(weights_root())
    shipped = [part for part in view.parts(weights_root()) if part.installed]
    assert [part.name for part in shipped] and set(listed) == {part.name for part in shipped}
    for part in shipped:
        assert part.problem == "" and part.licence, part.name
        assert part.bytes == sum((weights_root() / part.name / file).stat().st_size for file in listed[part.name])


def test_a_part_that_was_altered_is_cut_short_or_is_missing_says_so(tiny: Embedded, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    shutil.copytree(tiny.root, root)
    assert [part.problem for part in view.parts(root)] == [""] * len(view.parts(root))
    weights = next((root / "dit").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    next((root / "space").glob("*.safetensors")).unlink()
    manifest = listed_parts(root)
    del manifest["vision"]
    (root / MANIFEST).write_text(json.dumps(manifest))
    found = {part.name: part for part in view.parts(root)}
    assert set(PARTS) <= set(found) and not found["vision"].installed
    assert "altered or cut short" in str(found["dit"].problem) and "missing" in str(found["space"].problem)
    assert found["language"].problem == ""
    html = render("models.overview", view.Model("embedded", parts=list(found.values())))
    assert html.count('<tr class="bad">') == 3


def test_words_of_cards_and_files_stay_words() -> None:
    for words in HOSTILE:
        model = view.Model("embedded", problem=words, parts=[view.Part(words, True, words, 1, words)])
        assert stays_text(render("models.overview", model), words)
        found = render("models.findings", [Finding(words, words, Message(words))], 1)
        assert stays_text(render("models.trouble", words, 1, 1.0, found), words)


def test_what_lies_on_this_disk_is_told_as_the_command_tells_it(
    tmp_path: Path, studio: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "machine", lambda *_: Machine("cpu", 2**40, 2**40))
    handlers = ModelsHandlers(PageContext(Studio(tmp_path / "home"), "fake"))
    assert "No other models" in handlers.disk()
    checkpoint(tmp_path / "mine" / "one.safetensors")
    (tmp_path / "mine" / "empty.safetensors").touch()
    studio("models", "add", tmp_path / "mine")
    told = unescape(handlers.disk())
    for row in studio("models", "list", "--json").json:
        assert row["name"] in told and row["model"] in told and (row["problem"] or row["family"]) in told
    assert told.count('<tr class="bad">') == 1 and "it fits" in told
    for words in HOSTILE:
        found = LocalModel(words, Path("x"), words, words, bytes=1, licence=words, problem=Message(words))
        assert stays_text(render("models.disk", [(found, None)]), words)


def test_the_look_for_trouble_says_what_doctor_says(tmp_path: Path, studio: Callable[..., Any]) -> None:
    context = PageContext(Studio(tmp_path / "home"), "fake")
    stray = tmp_path / "home" / "pictures" / "ab" / "stray.png"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    (looking, nothing), (trouble, kept) = ModelsHandlers(context).doctor()
    assert "Looking" in looking and nothing == ""
    assert ModelsHandlers(context).trouble(kept) == trouble, "the tab may be left and come back to"
    found = unescape(trouble)
    for row in studio("doctor", "--json", "--home", tmp_path / "home").json:
        assert row["path"] in found and row["advice"] in found and row["kind"] in found
    stray.unlink()
    assert "All is well" in list(ModelsHandlers(context).doctor())[-1][0]


def test_a_person_looks_at_the_models_and_finds_a_lost_picture(visit: Callable[..., Any], home: Path) -> None:
    page = visit()
    make(page, "a face to lose")
    page.wait_for_selector("#stage .done >> nth=3")
    next((home / "pictures").rglob("*.png")).unlink()
    page.click('#tabs button[role=tab]:has-text("Models")')
    page.wait_for_selector("#models .badge.good")
    assert page.locator("#models h2").first.inner_text() == "Fake Ready"
    page.click("#trouble [data-own=doctor]")
    page.wait_for_selector("#trouble td:has-text('missing file')")
    turn_to(page, "Queue")
    turn_to(page, "Models")
    page.wait_for_selector("#models .badge.good")
    page.wait_for_timeout(1000)
    assert page.locator("#trouble td:has-text('missing file')").count() == 1, "it stays"
    page.click("#attribution button")
    page.wait_for_selector("#attribution td:has-text('noto-v1')")
