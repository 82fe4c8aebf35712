"""Larger pictures: requests, upscaling, files, verify; and enlarging of any picture."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentence_of
from PIL import Image
from queue_kit import artifacts, picture, planned, run_job
from queue_kit import ask_of as ask
from tiny_parts import save_tiny_parts, save_tiny_upscaler

from models.assets import assets
from models.data.pixels import fit, place, png
from models.messages import Refused
from models.upscaler import Upscaler
from models.weights import load_part
from studio.backends.base import Backend, run, run_batch
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.batch.plan import Context, Plan, plan
from studio.batch.readers import Source
from studio.events import Progress, Saved
from studio.media import Artifact
from studio.metadata.files import read, write
from studio.metadata.origin import parse_parameters, provenance
from studio.metadata.restore import restore
from studio.planner import job_id, resolve
from studio.requests import ImageRequest, make_request
from studio.run import FolderSink
from studio.syntax import Wildcards
from studio.verify import verify

CAN = Fake().capabilities()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_tiny_upscaler(root)
    return root


@pytest.fixture(scope="module")
def large(folder: Path) -> Embedded:
    """The tiny models with an upscaler."""
    return Embedded(str(folder))


@pytest.fixture(params=["embedded", "fake"])
def either(request: pytest.FixtureRequest) -> Backend:
    return request.getfixturevalue("large") if request.param == "embedded" else Fake()


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Path:
    """A folder of parts that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "changed"))


def pixels(result: Artifact) -> np.ndarray:
    return np.asarray(picture(result))


def refusal(**fields: Any) -> str:
    return sentence_of(lambda: ask(Fake(), **fields))


# --- What is asked ----------------------------------------------------------------------------------------------------


def test_old_work_keeps_its_name() -> None:
    output = {"prompt": "a cat", "seed": 5, "guidance": 3.0}
    old = resolve(make_request("image", **output), CAN)
    assert job_id(old, "d" * 64) == "02529e908120b31cde13a6f098bef0b1ec6dbcccd7b48f4ef87d172e36f83dbf"
    assert resolve(make_request("image", **output, size=128), CAN) == old, "its own size need not be said"
    stored = {name: value for name, value in old.model_dump().items() if name not in ("size", "upscaler")}
    assert ImageRequest.model_validate(stored) == old


def test_sizes_are_those_of_the_model() -> None:
    for size in (0, -1, 127, 256, 10**12):
        assert refusal(size=size) == f"size must be 128 or 512, not {size}."
    assert resolve(make_request("image", prompt="a cat", size="512 x 512"), CAN).size == 512
    for size in ("512x", "a", "1e2", 512.0, True, "512x384x1"):
        assert f"not {size!r}" in refusal(size=size)
    assert refusal(size="512x384") == "size must be 128 or 512, not 512x384."
    large = resolve(make_request("image", prompt="a cat", size=512), CAN)
    assert large.size == 512 and resolve(large, CAN) == large


def test_another_size_or_upscaler_is_other_work(changed: Path) -> None:
    before = Embedded(str(changed))
    small, large = ask(before), ask(before, size=512)
    assert large.upscaler and small.upscaler is None
    save_tiny_upscaler(changed, seed=1)
    after = Embedded(str(changed))
    assert after.digest() == before.digest(), "what draws is the same"
    assert job_id(ask(after), after.digest()) == job_id(small, before.digest())
    names = {job_id(request, before.digest()) for request in (small, large, ask(after, size=512))}
    assert len(names) == 3
    with pytest.raises(Refused, match="the upscaler is another one since this was asked for; ask again"):
        list(run(after, large))


# --- What is made -----------------------------------------------------------------------------------------------------


def test_a_larger_picture_is_the_small_picture_enlarged(large: Embedded, folder: Path) -> None:
    (small,), (result,) = artifacts(large, ask(large)), artifacts(large, ask(large, size=512))
    assert picture(result).size == (512, 512) and picture(result).mode == "RGBA"
    large.load()
    drawn = next(e for e in large._pipeline.steps(["a cat"], [1], _sampling(large)) if hasattr(e, "pixels"))
    network = load_part(Upscaler, "upscaler", folder, large._pipeline.dit.dtype)
    assert np.abs(pixels(result).astype(int) - np.asarray(png(network.enlarge(drawn.pixels[0])))).max() <= 1
    assert (result.score, result.vector, result.space) == (small.score, small.vector, small.space)
    assert result.how["upscaler"] == large.capabilities().upscaler[:10] and "upscaler" not in small.how


def _sampling(backend: Embedded) -> Any:
    from studio.backends.embedded import _sampling

    return _sampling(ask(backend))


def test_batch_composition_does_not_change_larger_pictures(large: Embedded) -> None:
    requests = [ask(large, seed=seed, shape=8, size=size) for seed, size in ((1, 512), (2, None), (3, 512))]
    together = {number: event for number, event in run_batch(large, requests) if isinstance(event, Artifact)}
    for number, request in enumerate(requests):
        (alone,) = artifacts(large, request)
        assert np.array_equal(pixels(alone), pixels(together[number]))
        assert alone.width == (request.size or 128)


def test_an_edit_may_be_enlarged(either: Backend, tmp_path: Path) -> None:
    Image.radial_gradient("L").resize((128, 128)).convert("RGBA").save(tmp_path / "a.png")
    edit = {"image": {"path": str(tmp_path / "a.png")}, "strength": 0.5}
    (small,), (result,) = (artifacts(either, ask(either, size=size, **edit)) for size in (None, 512))
    assert picture(result).size == (512, 512)
    assert np.abs(fit(picture(result)).astype(int) - fit(picture(small))).mean() < 60


def test_files_record_the_size_and_are_verified(either: Backend, tmp_path: Path) -> None:
    request = ask(either, size=512, count=2, model="fake" if isinstance(either, Fake) else "embedded")
    saved = [
        event for event in run_job(either, planned(request, either), FolderSink(tmp_path)) if isinstance(event, Saved)
    ]
    for item in saved:
        with Image.open(item.path) as picture:
            assert picture.size == (512, 512) and "Size: 512x512" in picture.text["parameters"]
        assert read(Path(item.path))["request"]["size"] == 512
        verdict = verify(Path(item.path), opener=lambda _: either)
        assert (verdict.result, verdict.why) == ("identical", "")
    again = [
        event for event in run_job(either, planned(request, either), FolderSink(tmp_path)) if isinstance(event, Saved)
    ]
    assert all(event.cached for event in again)


def test_verify_names_another_upscaler(changed: Path, tmp_path: Path) -> None:
    backend = Embedded(str(changed))
    (tmp_path / "out").mkdir()
    (saved,) = (
        e
        for e in run_job(backend, planned(ask(backend, size=512), backend), FolderSink(tmp_path / "out"))
        if isinstance(e, Saved)
    )
    save_tiny_upscaler(changed, seed=1)
    verdict = verify(Path(saved.path), opener=lambda _: Embedded(str(changed)))
    assert verdict.result == "different" and verdict.why.startswith("made with upscaler ")


# --- Where the part is missing or broken ------------------------------------------------------------------------------


def test_weights_without_it_are_whole(tiny: Embedded, large: Embedded) -> None:
    can = tiny.capabilities()
    assert can.sizes == (128,) and can.upscaler == "" and large.capabilities().sizes == (128, 512)
    with pytest.raises(Refused) as caught:
        ask(tiny, size=512)
    where = f"512 px need the part 'upscaler', which is not in {tiny.root}"
    assert str(caught.value) == f"size must be 128, not 512; {where}."
    (result,) = artifacts(tiny, ask(tiny))
    assert picture(result).size == (128, 128)
    assert Embedded(str(tiny.root / "nowhere")).capabilities().sizes == (128,), "whoever draws will hear of it"


def test_an_altered_part_is_named(changed: Path) -> None:
    backend = Embedded(str(changed))
    request = ask(backend, size=512)
    weights = next((changed / "upscaler").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(Refused, match=r"upscaler.* is altered or cut short"):
        list(run(backend, request))
    (result,) = artifacts(backend, ask(backend))
    assert picture(result).size == (128, 128), "pictures of the model's own size don't need it"


# --- A picture that is only enlarged ----------------------------------------------------------------------------------


def file(path: Path, width: int, height: int) -> dict[str, str]:
    shape = Image.new("RGBA", (width, height))
    shape.paste((200, 40, 30, 255), (width // 4, height // 4, width // 2, 3 * height // 4))
    shape.save(path)
    return {"path": str(path)}


def test_a_picture_is_enlarged_as_it_is(either: Backend, folder: Path, tmp_path: Path) -> None:
    given = file(tmp_path / "a.png", 128, 128)
    request = resolve(make_request("enlarge", image={"path": given["path"]}, size=512), either.capabilities())
    events = list(run(either, request))
    assert isinstance(events[0], Progress) and events[0].total == 1
    (result,) = (event for event in events if isinstance(event, Artifact))
    assert picture(result).size == (512, 512)
    assert result.score is None or isinstance(either, Fake)
    coarse = np.asarray(Image.open(given["path"])).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(pixels(result)[256, 200], coarse[256, 200])
    assert (pixels(result)[..., 3] != coarse[..., 3]).mean() < 0.05
    if isinstance(either, Embedded):
        network = load_part(Upscaler, "upscaler", folder, either._pipeline.dit.dtype)
        expected = np.asarray(png(network.enlarge(fit(Image.open(given["path"])))))
        assert np.abs(pixels(result).astype(int) - expected).max() <= 1 and len(result.vector) == 128


@pytest.mark.parametrize(("width", "height"), [(128, 64), (9, 30), (200, 256), (300, 400), (512, 512), (900, 300)])
def test_any_input_size_is_enlarged_to_the_requested_size(
    either: Backend, tmp_path: Path, width: int, height: int
) -> None:
    given = file(tmp_path / "a.png", width, height)
    (result,) = artifacts(
        either, resolve(make_request("enlarge", image={"path": given["path"]}, size=512), either.capabilities())
    )
    assert picture(result).size == (512, 512)
    inner, left, top = place((width, height), 512)
    x, y = left + 3 * inner[0] // 8, top + inner[1] // 2
    middle = pixels(result)[y, x].astype(int) - (200, 40, 30, 255)
    assert np.abs(middle).max() <= (0 if width > 9 else 50), "in the middle of what was painted; two pixels ring"
    outside = pixels(result)[: max(0, top - 16)], pixels(result)[:, : max(0, left - 16)]
    assert not any(part[..., 3].any() for part in outside)
    if (width, height) == (512, 512):
        assert np.array_equal(pixels(result), np.asarray(Image.open(given["path"])))


def test_enlarge_ignores_sampling_settings(tmp_path: Path) -> None:
    image = file(tmp_path / "a.png", 64, 64)
    plain = resolve(make_request("enlarge", image={"path": image["path"]}, size=512, model="fake"), CAN)
    output = {"steps": 40, "guidance": 9.0, "seed": 7, "scheduler": "heun", "shape": 8, "best_of": 1}
    other = resolve(make_request("image", image=image, strength=0.0, size=512, model="fake", **output), CAN)
    assert job_id(other, "d") == job_id(plain, "d") and resolve(plain, CAN) == plain
    assert plain.batch_key() != ask(Fake(), size=512, image=image).batch_key()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"count": 2}, "leave count out"),
        ({"negative": "dog"}, "leave negative out"),
        ({"mix": [{"text": "dog"}]}, "leave mix out"),
        ({"expand": 0.2}, "leave expand out"),
        ({"size": 128}, "a strength of 0 only enlarges the picture; give a size of 512."),
    ],
)
def test_refusals_of_enlarge(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    image = file(tmp_path / "a.png", 64, 64)
    assert says in refusal(**{"image": image, "strength": 0.0, "size": 512, **fields})


def test_its_file_does_not_say_that_it_was_drawn(either: Backend, tmp_path: Path) -> None:
    image = file(tmp_path / "a.png", 64, 64)
    model = "fake" if isinstance(either, Fake) else "embedded"
    request = resolve(
        make_request("enlarge", image={"path": image["path"]}, size=512, model=model), either.capabilities()
    )
    (saved,) = (
        event for event in run_job(either, planned(request, either), FolderSink(tmp_path)) if isinstance(event, Saved)
    )
    with Image.open(saved.path) as picture:
        text = picture.text["parameters"]
    assert "Steps" not in text and "Seed" not in text and "Size: 512x512" in text
    assert parse_parameters(text)["size"] == "512x512", "others can read it"
    assert verify(Path(saved.path), opener=lambda _: either).result == "identical"
    file(tmp_path / "a.png", 65, 64)
    with pytest.raises(Refused, match="another one by now"):
        verify(Path(saved.path), opener=lambda _: either)


# --- The doors --------------------------------------------------------------------------------------------------------


def plan_of(path: Path, data: str, can: Any = CAN) -> Plan:
    path.write_text(data)
    desk = Context("fake", can, Fake().digest(), Wildcards(assets() / "prompts" / "wildcards"))
    return plan([Source(path.name, path.read_bytes(), path.parent)], desk)


def test_prompt_files_say_it_as_other_programs_do(tmp_path: Path) -> None:
    flags = ("--w 512 --h 512", "--w 512", "--width 512 --height 512", "--size 512", "--w 64 --size 512")
    for number, flag in enumerate(flags):
        artifacts = plan_of(tmp_path / f"{number}.txt", f"a cat {flag}\n")
        assert [job.request.size for job in artifacts.jobs] == [512], flag
    rows = [{"prompt": "a", "width": 512, "height": 512}, {"prompt": "a", "size": 512}, {"prompt": "a", "w": "512"}]
    artifacts = plan_of(tmp_path / "a.json", json.dumps(rows))
    assert [job.request.size for job in artifacts.jobs] == [512] * 3 and not artifacts.ignored
    artifacts = plan_of(tmp_path / "a.csv", "prompt,width,height\na,512,512\nb,128,128\nc,,\n")
    assert [job.request.size for job in artifacts.jobs] == [512, None, None] and not artifacts.problems


def test_unknown_sizes_of_prompt_files_are_ignored(tmp_path: Path) -> None:
    for flags in ("--w 512 --h 768", "--w 1024 --h 1024", "--width huge", "--w 0512x"):
        artifacts = plan_of(tmp_path / "a.txt", f"a cat {flags}\n")
        assert [job.request.size for job in artifacts.jobs] == [None] and sum(
            artifacts.ignored.values()
        ) == flags.count("--")
    bare = CAN.model_copy(update={"sizes": (128,)})
    assert plan_of(tmp_path / "a.txt", "a cat --w 512 --h 512\n", bare).ignored == {"w": 1, "h": 1}
    (problem,) = plan_of(tmp_path / "a.txt", "a cat --size 1024\n").problems
    assert str(problem.reason) == "size must be 128 or 512, not 1024."
    (problem,) = plan_of(tmp_path / "a.txt", "a cat --upscaler x\n").problems
    assert "there is no setting 'upscaler'" in str(problem.reason)


def test_sizes_of_other_programs_are_restored() -> None:
    text = "a cat\nSteps: 20, Sampler: euler, CFG scale: 3, Seed: 1, Size: {}"
    for output, size, lost in (("512x512", 512, False), ("128x128", 128, False), ("512x768", None, True)):
        matches = restore(parse_parameters(text.format(output)), CAN)
        assert matches.fields.get("size") == size and bool(matches.lost) == lost
    assert list(map(str, matches.lost)) == ["the size 512x768: pictures are 128x128 or 512x512 here."]


def test_a_file_of_ours_is_restored_where_there_is_no_upscaler(tiny: Embedded, large: Embedded) -> None:
    request = ask(large, size=512)
    (artifact,) = artifacts(large, request)
    says = provenance(planned(request, large), artifact)
    data = io.BytesIO(write(artifact.data, artifact.media_type, says))
    with Image.open(data) as picture:
        matches = json.loads(picture.text["studio"])
    again = restore(matches, tiny.capabilities())
    assert not {"size", "upscaler"} & set(again.fields) and again.fields["prompt"] == "a cat"
    assert any("upscaler" in str(message) for message in again.lost)
