"""Captions by the studio's own models behind the backend's door, on tiny untrained parts."""

import json
from pathlib import Path

import pytest
from fixture_world import fixture_world
from PIL import Image
from tiny_parts import save_tiny_captioner, save_tiny_parts

from models.data.pixels import png
from models.messages import Refused
from models.pipelines import caption
from models.weights import record_part
from studio.backends.base import run, run_batch
from studio.backends.embedded import Embedded
from studio.media import Artifact
from studio.planner import plan_with, resolve
from studio.requests import make_request
from studio.run import FolderSink, run_jobs


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "LONGEST", 6)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    before = Embedded(str(root)).capabilities()
    assert "caption" not in before.tasks and not before.languages  # weights without the part are whole
    save_tiny_captioner(root)
    return Embedded(str(root))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    png(fixture_world().pixels[0]).save(file := tmp_path_factory.mktemp("picture") / "apple.png")
    return file


def described(backend: Embedded, picture: Path, **fields: object) -> Artifact:
    asked = make_request("caption", image={"path": str(picture)}, **fields)
    *_, made = run(backend, resolve(asked, backend.capabilities()))
    assert isinstance(made, Artifact)
    return made


def test_a_caption_is_the_best_of_its_candidates_and_the_same_again(backend: Embedded, picture: Path) -> None:
    made = described(backend, picture, seed=3, candidates=5)
    scores = [made.score or 0, *(score for _, score in made.candidates)]
    assert (made.kind, made.seed, len(made.vector)) == ("text", 3, 128) and made.data == made.text.encode()
    assert scores == sorted(scores, reverse=True) and len(scores) <= 5
    assert described(backend, picture, seed=3, candidates=5) == made
    others = [{"seed": 4}, {"long": True}, {"tags": True}, {"language": "zh"}]
    assert all(described(backend, picture, candidates=5, **other).text for other in others)
    assert described(backend, picture, candidates=5, **others[0]) != made


def test_pictures_are_described_together_and_each_as_it_is_alone_in_that_shape(
    backend: Embedded, picture: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "blue.png")
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    can, digest = backend.capabilities(), backend.digest()
    files = (picture, tmp_path / "blue.png", picture, tmp_path / "clear.png")
    asked = [make_request("caption", image={"path": str(one)}, seed=n, candidates=2) for n, one in enumerate(files)]
    jobs = plan_with(asked, can, digest)
    assert caption.SHAPES == can.described == (1, 16)
    assert {job.request.shape for job in jobs} == {16} and len({job.batch_key for job in jobs}) == 1
    (alone,) = plan_with([asked[0].model_copy(update={"shape": 16})], can, digest)
    assert alone == jobs[0] and plan_with([asked[0]], can, digest)[0].request.shape == 1
    other = plan_with([one.model_copy(update={"language": "zh"}) for one in asked[:2]], can, digest)
    assert other[0].batch_key != jobs[0].batch_key
    together = [one for _, one in run_batch(backend, [job.request for job in jobs[:3]]) if isinstance(one, Artifact)]
    for job, made in zip(jobs, together, strict=False):
        assert [event for event in run(backend, job.request) if isinstance(event, Artifact)] == [made]
        assert made.how["batch"] == 16
    list(run_jobs(backend, jobs, FolderSink(tmp_path), previews=False))
    assert len(list(tmp_path.glob("*.txt"))) == 3, "what can't be described spoils none of the others"


def test_what_is_not_known_is_said_to_be_unknown(backend: Embedded, picture: Path, tmp_path: Path) -> None:
    config = backend.root / "captioner" / "config.json"
    before = config.read_text()
    never = {"cosine": 0, "agreement": 0, "likelihood": 0, "nearest": 0, "bias": 0, "threshold": 0.9}
    config.write_text(json.dumps({**json.loads(before), "ranking": {"single": never}}))
    record_part("captioner", backend.root)
    again = Embedded(str(backend.root))
    guess = described(again, picture).candidates[0][0]
    made = described(again, picture)
    assert (made.text, made.known) == (f"I don't know this; it may be: {guess}", False)
    assert described(again, picture, language="zh").text.startswith("我不认识")
    config.write_text(before)
    record_part("captioner", backend.root)


def test_bad_requests_are_refused(backend: Embedded, picture: Path) -> None:
    with pytest.raises(Refused, match="not both"):
        make_request("caption", image={"path": str(picture)}, long=True, tags=True)
    asked = resolve(make_request("caption", image={"path": str(picture)}), backend.capabilities())
    save_tiny_captioner(backend.root, seed=1)
    with pytest.raises(Refused, match="ask again"):
        list(run(backend, asked))


@pytest.mark.parametrize("size", [(1, 1), (1, 900)])
@pytest.mark.parametrize("mode", ["RGBA", "1", "CMYK", "I;16", "P"])
def test_any_picture_is_described(backend: Embedded, tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    file = tmp_path / ("odd.jpg" if mode == "CMYK" else "odd.png")
    Image.new(mode, size, "red" if mode == "RGBA" else 0).save(file)
    made = described(backend, file, candidates=1)
    assert made.kind == "text" and made.known == (size != (1, 1)), "of one colour all over is a picture of nothing"


def test_a_picture_of_nothing_is_refused(backend: Embedded, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    with pytest.raises(Refused, match="transparent all over"):
        described(backend, tmp_path / "clear.png")
