"""Laws of credits: what a picture was drawn from is known when it is drawn, and goes with it wherever it goes."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Output
from fixture_world import fixture_world
from page_kit import client_of
from prompt_kit import knowing_pipe  # noqa: F401 - a fixture
from queue_kit import artifacts as made
from tiny_parts import save_tiny_parts

from models.data.packages import LINKED, PACKAGES
from models.data.pixels import fit, resized
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import Box, Layout
from models.prompts.parser import parse_literally
from models.references.build import build_references
from models.references.credits import Credit, by_set, credit, lines
from models.sampling.loop import Sampling
from models.space import Embedder
from models.train.vocabulary import build_parser
from studio import media
from studio.api import v1
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.clips import ClipFile
from studio.export.apps import APPS
from studio.export.clips import FORMATS
from studio.export.make import Wanted, bundled, exported, sticker_of, stills
from studio.export.pack import pack
from studio.export.training import Example, write_training_set
from studio.grid import Axis, Grid
from studio.mcp import hits_result
from studio.metadata.files import KINDS, credits_in, read_bytes
from studio.page.html import ROUTE_LANGUAGE, render
from studio.page.routes import zipped
from studio.planner import Job, plan
from studio.requests import make_request
from studio.run import FolderSink, run_jobs
from studio.studio import Studio
from studio.verify import verify

NOTO, TWEMOJI = credit("noto", "cat"), credit("twemoji", "cat")


# --- When a picture is drawn ------------------------------------------------------------------------------------------


def owed(pipe: StickerPipeline, prompt: Any, seed: int = 0, **how: Any) -> list[tuple[str, str, str]]:
    """Set, name and change of each drawing that a picture is owed to."""
    strength = Sampling(1, 1.0, reference_strength=how.pop("strength", 1.0))
    (drawn,) = (event for event in pipe.steps([prompt], [seed], strength, **how) if isinstance(event, Pictures))
    return [(one.set, one.name, one.changed) for one in drawn.credits[0]]


def test_a_picture_is_owed_to_what_it_was_drawn_from(pipe: StickerPipeline) -> None:
    assert owed(pipe, "cat, noto style") == [("Noto Emoji", "cat", "redrawn")]
    assert owed(pipe, "a red cat, noto style") == [("Noto Emoji", "cat", "painted red, redrawn")]
    changed = "mirrored, combined with others, redrawn"
    assert owed(pipe, "a fish, noto style", 1) == [("Noto Emoji", "fish", changed), ("Twemoji", "fish", changed)]
    assert {one[1] for one in owed(pipe, "a cat and a fish")} == {"cat", "fish"}, "of a collage all things"
    blend = pipe.blend(
        [(1.0, "cat, noto style"), (1.0, "fish, twemoji style"), (1.0, np.zeros((128, 128, 4), np.uint8))]
    )
    assert {one[:2] for one in owed(pipe, "", blends=[blend])} >= {("Noto Emoji", "cat"), ("Twemoji", "fish")}


def test_what_is_drawn_from_no_drawing_is_owed_to_nobody(pipe: StickerPipeline) -> None:
    picture = np.zeros((1, 128, 128, 4), np.uint8)
    free: list[tuple[str, dict[str, Any]]] = [
        ("cat", {"strength": 0}),
        ("cat", {"start": picture}),
        ("cat", {"vector": torch.zeros(1, 128)}),
        ('"cat"', {}),
        ("", {"strength": 0, "blends": [pipe.blend([(1.0, "cat")])]}),
        ("", {"blends": [pipe.blend([(1.0, "cat")], references=False)]}),
    ]
    assert [owed(pipe, prompt, **how) for prompt, how in free] == [[]] * len(free)


def test_what_is_drawn_into_a_small_mask_is_drawn_from_a_drawing(pipe: StickerPipeline) -> None:
    picture, small, border, large = np.zeros((1, 128, 128, 4), np.uint8), *np.zeros((3, 1, 128, 128), np.uint8)
    small[:, 20:60, 30:90], large[:], border[:], border[:, 20:100, 20:100] = 255, 255, 255, 0
    drawn = [owed(pipe, "cat, noto style", start=picture, redraw=mask) for mask in (small, border, large)]
    assert drawn == [[("Noto Emoji", "cat", "redrawn")], [], []]
    boxes = Box(0, 0, 128, 128), Box(20, 0, 40, 40, z=1, anchor="head")
    layout = Layout((parse_literally("fish"), pipe.parse("cat, noto style")), boxes)
    worn = replace(parse_literally("a fish wearing a cat"), layout=layout)
    assert owed(pipe, worn, start=picture, redraw=small) == drawn[0], "the wearer is in the picture already"


def test_every_drawing_of_the_store_has_a_source_and_a_copy_of_it_is_told(pipe: StickerPipeline) -> None:
    store, random = pipe.references, np.random.default_rng(0)
    assert store is not None and store.sources.keys() == set(range(len(store.pictures)))
    for row in range(0, len(store.pictures), 7):
        drawing = resized(store.pictures[row], 128, 128)
        near = np.clip(drawing + random.normal(0, 2, drawing.shape), 0, 255).astype(np.uint8)
        assert store.copied(row, drawing) and store.copied(row, drawing[:, ::-1]) and store.copied(row, near)
        assert not store.copied(row, 255 - drawing)


def test_the_shipped_drawings_are_all_named_in_one_table() -> None:
    styles = {package.style: package for package in PACKAGES if package.style}
    for style, package in styles.items():
        one = credit(style, "cat")
        assert one.maker and one.licence == package.licence
        assert package.home in lines([one]) and LINKED[package.licence].link in lines([one])
    assert len({package.set for package in styles.values()}) == len(styles)


def test_a_line_names_each_set_once() -> None:
    several = [NOTO, TWEMOJI, credit("noto", "dog"), NOTO]
    assert [(one.set, one.names) for one in by_set(several)] == [("Noto Emoji", ("cat", "dog")), ("Twemoji", ("cat",))]
    assert lines(several).splitlines()[1] == (
        "Redrawn after cat of Twemoji (https://github.com/jdecked/twemoji) by Twitter and contributors,"
        " CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)."
    )
    assert lines([Credit("sketches", "cat")]) == "Redrawn after cat of sketches." and lines([]) == ""


def test_a_saved_pipeline_draws_what_the_studio_draws(tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path / "parts")
    build_parser(Embedder.load(root), fixture_world()).save(root)
    build_references(fixture_world()).save(root)
    StickerPipeline.assemble(root).save_pretrained(tmp_path / "saved")
    saved, backend = StickerPipeline.from_pretrained(tmp_path / "saved"), Embedded(str(root))
    saved.set_progress_bar_config(disable=True)
    for prompt, style in (("a red cat", "noto"), ("a cat and a fish", "")):
        job = planned(backend, prompt=prompt, style=style, seed=3)
        (artifact,) = (one for one in made(backend, job.request))
        drawn = saved(f"{prompt}, {style} style" if style else prompt, seeds=[3], output_type="uint8")
        assert np.array_equal(fit(media.frames(artifact.data)[0]), drawn.images[0])
        assert artifact.credits == drawn.credits[0] and artifact.credits


# --- In files ---------------------------------------------------------------------------------------------------------


def planned(backend: Any, task: str = "image", **fields: Any) -> Job:
    (job,) = plan(make_request(task, **{"model": "fake", "prompt": "a cat", "seed": 1, **fields}), backend)
    return job


def drawn(folder: Path, task: str = "image", **fields: Any) -> Path:
    """The file of an artifact of the fake backend."""
    folder.mkdir(exist_ok=True)
    job = planned(Fake(), task, **fields)
    list(run_jobs(Fake(), [job], FolderSink(folder)))
    (path,) = folder.iterdir()
    return path


def test_every_format_says_whom_it_is_owed_to(tmp_path: Path) -> None:
    picture, clip = drawn(tmp_path / "a"), drawn(tmp_path / "b", "clip", frames=3)
    files = {
        f"{kind} {path.suffix}": exported(path, Wanted(format=kind, size=64), lambda _: None)
        for path, kinds in ((picture, KINDS), (clip, FORMATS))
        for kind in kinds
    }
    assert len(files) > 8
    for name, out in files.items():
        (data,) = out.values()
        assert credits_in(data) == (TWEMOJI,), name
        assert b"dc:rights" in data and b"Twitter and contributors (Twemoji)</photoshop:Credit>" in data, name


def test_what_is_made_from_a_picture_is_owed_to_whom_that_is(tmp_path: Path) -> None:
    cat, dog = ({"path": str(drawn(tmp_path / style, style=style))} for style in ("noto", "outline"))
    moved = drawn(tmp_path / "clip", "clip", image=cat, frames=3)
    assert credits_in(moved) == (NOTO,)
    mixed = drawn(tmp_path / "mix", mix=[{"picture": cat}, {"picture": dog}], prompt="a bird")
    assert credits_in(mixed) == (credit("twemoji", "bird"), NOTO, credit("outline", "cat"))
    large = drawn(tmp_path / "large", image={"path": str(mixed)}, strength=0, size=512, prompt="")
    assert credits_in(large) == credits_in(mixed)


def test_credits_change_no_job_and_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drawn(tmp_path / "a")
    assert verify(path).result == "identical"
    monkeypatch.setattr("studio.backends.fake.credit", lambda *_: Credit("others", "cow"))
    assert verify(path).result == "identical" and planned(Fake()).id == read_bytes(path.read_bytes(), path)["job_id"]


def test_a_file_from_before_credits_is_read_as_before(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a")
    found = read_bytes(path.read_bytes(), path)
    assert found["credits"] == [vars(TWEMOJI)]
    del found["credits"]
    (tmp_path / "old.txt").write_text(f"words\n\nstudio: {json.dumps(found)}\n")
    assert read_bytes((tmp_path / "old.txt").read_bytes(), "old.txt")["credits"] == []
    assert credits_in(tmp_path / "old.txt") == credits_in(tmp_path / "none") == ()


# --- Through the doors ------------------------------------------------------------------------------------------------


def test_commands_say_it_each_set_once(studio: Callable[..., Output], tmp_path: Path) -> None:
    files = [drawn(tmp_path / str(seed), seed=seed) for seed in (1, 2)] + [drawn(tmp_path / "noto", style="noto")]
    printed = [lines([TWEMOJI]), lines([NOTO])]
    assert printed[0] in studio("info", files[0]).out and printed[1] in studio("info", files[2]).out
    assert studio("info", files[0], "--json").json["credits"] == [vars(TWEMOJI)]
    plain = Path(studio("strip", files[0]).out.strip())
    assert studio("info", plain).code == 2 and "holds no settings" in studio("info", plain).err
    ready = tmp_path / "ready"
    for file in (files[0], files[2]):  # what was there before keeps its credit
        studio("export", file, "--format", "webp", "--out", ready)
    assert sorted((ready / "CREDITS.txt").read_text().splitlines()) == sorted(printed)
    studio("export", files[0], "--for", "slack", "--no-metadata", "--out", tmp_path / "bare")
    assert (tmp_path / "bare/CREDITS.txt").read_text() == printed[0] + "\n"


def names(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_packs_zips_and_batches_hold_a_file_of_credits(studio: Callable[..., Output], tmp_path: Path) -> None:
    files = [drawn(tmp_path / style, style=style) for style in ("noto", "outline", "black glyph")]
    told = lines(one for file in files for one in credits_in(file)).encode() + b"\n"
    wanted = Wanted(app="whatsapp", plain=True)
    made = pack([sticker_of(file, wanted, lambda _: None) for file in files], "Cats", APPS["whatsapp"])
    assert names(made)["about/CREDITS.txt"] == told and b"CREDITS.txt beside" in names(made)["about/about.txt"]
    assert names(b"".join(zipped((file.name, file) for file in files)))["CREDITS.txt"] == told
    several = exported(files[0], Wanted(app="twitch"), lambda _: None)
    assert names(bundled(several, credits_in(files[0]))[1])["CREDITS.txt"].decode() == lines([NOTO]) + "\n"
    write_training_set([Example(file, file.name, {"short": "a cat"}) for file in files], tmp_path / "set")
    assert (tmp_path / "set/CREDITS.txt").read_bytes() == told
    (tmp_path / "cats.txt").write_text("a cat\na dog\n")
    assert studio("batch", tmp_path / "cats.txt", "--model", "fake", "--out", tmp_path / "batch").code == 0
    either = tuple(f"Redrawn after {both} of Twemoji (" for both in ("cat, dog", "dog, cat"))  # seeds were drawn
    assert (tmp_path / "batch/CREDITS.txt").read_text().startswith(either)
    assert list(names(b"".join(zipped([("a.txt", b"a")])))) == ["a.txt"], "no file where there is nobody to name"


def test_a_sheet_a_frame_and_a_drawing_in_svg_say_it(tmp_path: Path) -> None:
    picture, clip = drawn(tmp_path / "a"), drawn(tmp_path / "b", "clip", frames=3)
    svg = f"{picture.stem}.svg"
    for data in (
        Grid(make_request(prompt="a cat", model="fake"), Axis("seed", (1,))).file([None], [TWEMOJI]),
        next(stills(ClipFile.open(clip), [2]))[1],
        exported(picture, Wanted(svg=True), lambda _: None)[svg],
    ):
        assert data.count(b"(Twemoji)</photoshop:Credit>") == 1
    assert b"dc:rights" not in exported(picture, Wanted(svg=True, plain=True), lambda _: None)[svg]


def test_the_page_and_the_interfaces_say_it(tmp_path: Path) -> None:
    with Studio(tmp_path / "home") as house:
        (kept,) = house.generate("a cat", seed=1, model="fake")
        digest = Path(kept.path).stem
        said = client_of(v1.router(house, "fake")).get(f"/api/v1/gallery/{digest}/credits").json()
        assert said == {"credits": [vars(TWEMOJI)], "lines": lines([TWEMOJI])}
        answer = hits_result(house.gallery, [(house.gallery.get(digest), None)]).structured_content
        assert answer is not None and answer["hits"][0]["picture"]["credits"] == lines([TWEMOJI])
        for language, told in (
            ("en", "Drawn after Twemoji&#39;s cat, CC BY 4.0"),
            ("zh", "参照 Twemoji 的 cat 绘制，CC BY 4.0"),
        ):
            token = ROUTE_LANGUAGE.set(language)
            card = render(
                "card.card", house.gallery.get(digest), {}, [], [], [], credits=[TWEMOJI], owed=lines([TWEMOJI])
            )
            ROUTE_LANGUAGE.reset(token)
            assert told in card and "https://creativecommons.org/licenses/by/4.0/" in card
