"""Third-party models that compare (open_clip) or describe (transformers) pictures, tiny and random."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_readers
from conftest import Command, refusal
from page_kit import served, turn_to
from PIL import Image
from pipeline_kit import artifacts, pixels

from studio.backends.base import open_backend, run
from studio.backends.captioner import Captioner
from studio.backends.diffusers import Diffusers
from studio.backends.open_clip import OpenClipModel
from studio.clips import ClipFile
from studio.events import Progress, Vector
from studio.folders import index_gallery
from studio.media import animated_webp
from studio.planner import plan, resolve
from studio.requests import make_request
from studio.studio import Studio

pytestmark = pytest.mark.usefixtures("offline")
WRITERS = {
    "blip": tiny_readers.save_blip,
    "pair": tiny_readers.save_encoder_decoder,
    "talker": tiny_readers.save_talker,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, save = tmp_path_factory.mktemp("readers"), {"clip": tiny_readers.save_open_clip, **WRITERS}

    def folder(name: str) -> Path:
        return root / name if (root / name).exists() else save[name](root / name)

    return folder


@pytest.fixture
def embedder(models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The CLIP model, named as the one whose space counts."""
    monkeypatch.setenv("STUDIO_EMBEDDER", f"open_clip:{models('clip')}")
    return f"open_clip:{models('clip')}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder, noise = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for name, size in (("wide", (20, 60)), ("high", (60, 20)), ("square", (40, 40))):
        Image.fromarray(noise.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def vectors(backend: OpenClipModel, **fields: Any) -> list[Vector]:
    query = resolve(make_request("embed", model="x", **fields), backend.capabilities())
    return [event for event in run(backend, query) if isinstance(event, Vector)]


def test_vectors_equal_those_of_open_clip_in_any_batch(
    models: Callable[[str], Path], pictures: Path, tmp_path: Path
) -> None:
    import open_clip
    import torch

    backend, files = OpenClipModel(str(models("clip"))), sorted(pictures.iterdir())
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{models('clip')}")
    clip = tmp_path / "clip.webp"
    shown = [Image.open(file).convert("RGBA").resize((40, 40)) for file in files]
    clip.write_bytes(animated_webp(shown, [100] * 3, lossless=True))
    named = [{"path": str(path)} for path in (*files, clip)]
    result = vectors(backend, texts=("a cat", "a dog"), images=tuple(named))
    with torch.inference_mode():
        ready = torch.stack([preprocess(Image.open(file)) for file in files])
        expected = [*model.eval().encode_text(open_clip.tokenize(["a cat", "a dog"], 16), normalize=True)]
        expected += [*model.encode_image(ready, normalize=True)]
    assert [(item.kind, len(item.vector)) for item in result] == [("text", 48)] * 2 + [("image", 48)] * 3 + [
        ("clip", 48)
    ]
    for item, same in zip(result, expected, strict=False):
        assert np.allclose(item.vector, same, atol=1e-5)
    for number, item in enumerate(named):
        assert np.allclose(vectors(backend, images=(item,))[0].vector, result[2 + number].vector, atol=1e-5)
    assert ClipFile.open(clip).count == 3 and np.isclose(np.linalg.norm(result[-1].vector), 1)


def test_an_index_holds_vectors_of_a_single_model(
    models: Callable[[str], Path], pictures: Path, studio: Command, tmp_path: Path
) -> None:
    """Vectors of different lengths are stored side by side."""
    model = f"open_clip:{models('clip')}"
    (row,) = studio("embed", "--text", "a cat", "--model", model, "--json").json
    assert len(row["vector"]) == 48
    result = studio("search", "--image", pictures / "wide.png", "--folder", pictures, "--model", model, "--json").json
    assert [Path(item["path"]).stem for item in result][:1] == ["wide"] and len(result) == 3
    assert studio("index", pictures, "--model", model, "--json").json[0]["looked_at"] == 0
    assert studio("index", pictures, "--model", "fake", "--json").json[0]["looked_at"] == 3
    with Studio(tmp_path / "home") as house:
        drawn = house.generate("a cat", model="fake", count=3, seed=1)
        assert "3 of them" in str(house.foreign(model)) or "3" in str(house.foreign(model))
        assert [hit.score for hit in house.search("cat", model=model)] == [None] * 3
        steps = list(index_gallery(house, model))
        assert steps[-1].done == 3 and not house.foreign(model)
        (first, *_) = house.search(like=drawn[1].path, model=model)
        assert Path(first.picture.path) == Path(drawn[1].path) and first.score > 0.999
        assert house.foreign("fake")


def test_the_best_of_several_is_what_the_named_model_finds_nearest(
    pipelines: Callable[[str], Path], embedder: str, tmp_path: Path
) -> None:
    backend = Diffusers(str(pipelines("sd")))
    (best,) = artifacts(backend, steps=2, best_of=4)
    (job,) = plan(make_request(prompt="a cat", seed=3, steps=2, best_of=4, model="diffusers:x"), backend)
    alone = [artifacts(backend, steps=2, seed=seed)[0] for (seeds,) in [job.request.candidates()] for seed in seeds]
    assert len({item.score for item in alone}) > 1 and len(best.vector) == 48 and best.space == backend.space()
    assert best.score == max(item.score for item in alone)
    assert np.array_equal(pixels(best), pixels(alone[[item.score for item in alone].index(best.score)]))
    other = job.request.model_copy(update={"ranker": "another"})
    assert "another one since" in refusal(lambda: list(run(backend, other)))


@pytest.mark.parametrize("kind", WRITERS)
def test_captions_repeat_and_unsupported_settings_are_refused(
    kind: str, models: Callable[[str], Path], pictures: Path
) -> None:
    backend, image = Captioner(str(models(kind))), {"path": str(pictures / "wide.png")}
    can, query = backend.capabilities(), {"task": "caption", "image": image, "prompt": None, "model": "transformers:x"}
    first, again = (artifacts(backend, **query, candidates=3)[0] for _ in range(2))
    assert (first.text, first.candidates) == (again.text, again.candidates)
    scores = [first.score, *(score for _, score in first.candidates)]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    greedy = artifacts(backend, **query)[0]
    assert greedy.text in (first.text, *(text for text, _ in first.candidates)) and not greedy.candidates
    assert artifacts(backend, **query, seed=9, candidates=3)[0].candidates != first.candidates
    others: list[dict[str, Any]] = [{"long": True}, {"tags": True}, {"language": "zh"}]
    for more in others:
        if kind == "talker":
            assert artifacts(backend, **query, **more)[0].text != greedy.text
        else:
            (named, value), *_ = more.items()
            sentence = refusal(lambda more=more: artifacts(backend, **query, **more))
            assert str(named if value is True else value) in sentence
    (job,) = plan(make_request("caption", image=image, model="x"), backend)
    events = run(backend, job.request)
    assert [(item.step, item.total) for item in (next(events), next(events))] == [(0, 40), (1, 40)]
    assert isinstance(next(events), Progress)
    events.close()
    assert can.tasks[0] == "caption"


def test_capabilities_are_read_without_torch(models: Callable[[str], Path], pipelines: Callable[[str], Path]) -> None:
    code = f"""
import sys
from studio.backends.base import open_backend
for name in {[f"open_clip:{models('clip')}", f"transformers:{models('talker')}", f"diffusers:{pipelines('sd')}"]!r}:
    backend = open_backend(name)
    backend.capabilities(), backend.digest(), backend.space()
assert not {{"torch", "transformers", "open_clip", "diffusers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def house(models: Callable[[str], Path], embedder: str, tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "home", f"transformers:{models('talker')}") as url:
        yield url


def test_a_captioner_by_page_and_command(
    house: str,
    browser: Any,
    models: Callable[[str], Path],
    pictures: Path,
    studio: Command,
    tmp_path: Path,
) -> None:
    model, picture = f"transformers:{models('talker')}", pictures / "wide.png"
    (output,) = studio("caption", picture, "--model", model, "--out", tmp_path / "out", "--json").json
    page = browser.open()
    page.goto(house)
    page.wait_for_selector("#tabs >> text=can't draw")
    turn_to(page, "Captions")
    page.set_input_files("#caption-files input[type=file]", str(picture))
    page.wait_for_selector("#caption-files >> text=wide")
    page.click("#caption-make")
    box = page.locator("#caption-show textarea").first
    box.wait_for()
    assert _printed(box.input_value()) == _printed(output["caption"])


def _printed(text: str) -> str:
    """What HTML leaves of random characters."""
    return "".join(item for item in text if item.isascii() and item.isalnum())


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("open_clip:", "say which model"),
        ("open_clip:ViT-B-32", "would be random"),
        ("open_clip:{blip}", "is no model of that kind"),
        ("open_clip:{half}", "fetch it again"),
        ("open_clip:org/none", "nothing is downloaded"),
        ("open_clip:ViT-B-32:{half}/none.safetensors", "can't be read"),
        ("open_clip:NoSuch:{clip}/open_clip_model.safetensors", "has no model 'NoSuch'"),
        ("open_clip:ViT-B-32:{clip}/open_clip_model.safetensors", "does not load"),
        ("transformers:{clip}", "is no model of that kind"),
        ("transformers:{cut}", "fetch it again"),
        ("transformers:{pickle}", "is a pickle"),
        ("transformers:{code}", "brings code of its own"),
    ],
)
def test_unusable_models_are_refused(name: str, output: str, models: Callable[[str], Path], tmp_path: Path) -> None:
    bad = {item: shutil.copytree(models("clip" if item == "half" else "blip"), tmp_path / item) for item in BAD}
    (bad["half"] / "open_clip_model.safetensors").unlink()
    (bad["cut"] / "model.safetensors").write_bytes((bad["cut"] / "model.safetensors").read_bytes()[:-8])
    (bad["pickle"] / "model.safetensors").rename(bad["pickle"] / "pytorch_model.bin")
    auto = {"AutoModelForImageTextToText": "own.Own", "AutoConfig": "own.Config"}
    tiny_readers.config(bad["code"], auto_map=auto, model_type="own")
    named = name.format(blip=models("blip"), clip=models("clip"), **bad)
    sentence = refusal(lambda: open_backend(named).load())
    assert output in sentence and "\n" not in sentence, sentence


BAD = ("half", "cut", "pickle", "code")
