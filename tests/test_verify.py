"""Verification: pictures are regenerated and compared."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from queue_kit import artifacts, picture, planned
from tiny_files import SUFFIXES
from tiny_parts import save_tiny_parts

from models.messages import Refused
from studio import media
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.export.clips import FORMATS, Clip, clip_file
from studio.export.make import Wanted, exported
from studio.media import Artifact
from studio.metadata.files import encoded, write
from studio.metadata.origin import provenance, version
from studio.planner import Job, resolve
from studio.requests import ImageRequest, make_request
from studio.verify import Verdict, verify

CAN = Fake().capabilities()


def drawn(task: str = "image", **fields: Any) -> tuple[Job, list[Artifact]]:
    request = resolve(make_request(task, **{"prompt": "a cat", "seed": 5, "model": "fake", **fields}), CAN)
    return planned(request, Fake()), artifacts(Fake(), request)


def save(path: Path, job: Job, result: Artifact, kind: str = "png", shown: Image.Image | None = None) -> Path:
    """The file of an artifact, optionally with another picture."""
    path.write_bytes(encoded(shown or picture(result), provenance(job, result), kind))
    return path


def retold(path: Path, **changes: Any) -> Path:
    """The same picture with another record in its file."""
    with Image.open(path) as picture:
        record = {**json.loads(picture.text["studio"]), **changes}
        info = PngInfo()
        info.add_itxt("studio", json.dumps(record))
        picture.save(path, pnginfo=info)
    return path


def test_every_picture_of_a_job_is_verified(tmp_path: Path) -> None:
    job, results = drawn(prompt="戴帽子的小狗 🐶", seed=2**32 - 3, count=6, style="noto")
    assert len({picture(result).tobytes() for result in results}) == 6
    for result in results:
        verdict = verify(save(tmp_path / "a.png", job, result))
        assert (verdict.result, verdict.psnr, verdict.why) == ("identical", None, "")


def test_a_real_model_is_verified_alone_and_in_a_batch(tmp_path: Path) -> None:
    backend = Embedded(str(save_tiny_parts(tmp_path / "parts")))
    for count in (1, 3):
        query = make_request(prompt="a cat", seed=1, steps=2, count=count)
        request = resolve(query, backend.capabilities())
        job, results = planned(request, backend), artifacts(backend, request)
        for result in results:
            verdict = verify(save(tmp_path / "a.png", job, result), opener=lambda model: backend)
            assert (verdict.result, verdict.why) == ("identical", "")
        wrong = retold(save(tmp_path / "a.png", job, results[-1]), seed=99)
        assert verify(wrong, opener=lambda model: backend).result == "different"


@pytest.mark.parametrize("kind", SUFFIXES)
def test_every_format_is_compared_as_it_was_written(tmp_path: Path, kind: str) -> None:
    job, (result,) = drawn()
    assert verify(save(tmp_path / "a", job, result, kind)).result == "identical"


def test_pictures_with_input_pictures_are_verified(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    red = {"path": str(tmp_path / "red.png")}
    # The fake draws from the path too; a model reads the pixels.
    job, (result,) = drawn(mix=[{"text": "dog"}, {"text": "cat", "weight": -0.5}])
    assert verify(save(tmp_path / "a.png", job, result)).result == "identical"
    job, (result,) = drawn(like=red)
    path = save(tmp_path / "b.png", job, result)
    assert verify(path).result == "identical"
    Image.new("RGBA", (9, 9), "blue").save(tmp_path / "red.png")
    with pytest.raises(Refused, match=r"b.png can't be made again: the picture 'red.png' .* is another one by now"):
        verify(path)
    (tmp_path / "red.png").unlink()
    with pytest.raises(Refused, match="is not beside it"):
        verify(path)


def test_a_picture_that_was_painted_on_is_different(tmp_path: Path) -> None:
    job, (result,) = drawn()
    for size in (1, 3, 20):
        painted = picture(result).copy()
        painted.paste((255, 255, 0, 255), (60, 60, 60 + size, 60 + size))
        verdict = verify(save(tmp_path / "a.png", job, result, shown=painted))
        assert verdict.result == "different" and verdict.why == "the pixels were changed after it was made"
        assert verdict.psnr is not None and verdict.psnr < 60


def test_a_picture_of_other_settings_is_different(tmp_path: Path) -> None:
    job, (result,) = drawn()
    path = save(tmp_path / "a.png", job, result)
    fields = job.request.model_dump(mode="json")
    verdict = verify(retold(path, request={**fields, "prompt": "a dog"}))
    assert (verdict.result, verdict.why) == ("different", "the settings were changed after it was made")
    assert verify(retold(path, request=fields)).result == "identical"


def test_a_picture_that_was_resized_is_different(tmp_path: Path) -> None:
    job, (result,) = drawn()
    verdict = verify(save(tmp_path / "a.png", job, result, shown=picture(result).resize((64, 64))))
    assert (verdict.result, verdict.psnr, verdict.why) == ("different", None, "it is 64x64 and was made as 128x128")


def noisy(picture: Image.Image, levels: int) -> Image.Image:
    pixels = np.asarray(picture).astype(int)
    change = np.random.default_rng(0).integers(-levels, levels + 1, pixels.shape)
    return Image.fromarray((pixels + change * (pixels[..., 3:] == 255)).clip(0, 255).astype(np.uint8), "RGBA")


def test_a_picture_of_another_processor_is_close(tmp_path: Path) -> None:
    job, (result,) = drawn()
    verdict = verify(save(tmp_path / "a.png", job, result, shown=noisy(picture(result), 1)))
    assert (verdict.result, verdict.why) == ("close", "the last bits differ, as they do on another processor")
    assert verdict.psnr is not None and verdict.psnr > 45
    assert verify(save(tmp_path / "a.png", job, result, shown=noisy(picture(result), 40))).result == "different"


def test_a_lossy_copy_is_close(tmp_path: Path) -> None:
    job, (result,) = drawn()
    file = io.BytesIO(encoded(picture(result), None, "avif"))
    verdict = verify(save(tmp_path / "a.png", job, result, shown=Image.open(file)))
    assert verdict.result == "close" and verdict.psnr is not None and verdict.psnr >= 40


def test_colours_that_can_not_be_seen_do_not_count_as_different(tmp_path: Path) -> None:
    job, (result,) = drawn()
    hidden = picture(result).copy()
    hidden.putpixel((0, 0), (9, 9, 9, 0))
    verdict = verify(save(tmp_path / "a.png", job, result, shown=hidden))
    assert (verdict.result, verdict.psnr, verdict.why) == ("close", None, "only the colours of invisible pixels differ")


class Other(Fake):
    """Another model of the same name with another number type."""

    def digest(self) -> str:
        return "e" * 64

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
        for number, event in super()._images(requests, previews):
            if isinstance(event, Artifact):
                other = media.image(noisy(picture(event), 2))
                event = replace(event, data=other.data, how={"dtype": "bfloat16"})
            yield number, event


def test_differences_of_model_version_and_dtype_are_named(tmp_path: Path) -> None:
    job, (result,) = drawn()
    path = retold(save(tmp_path / "a.png", job, result), version="0.0.1", how={"dtype": "float32"})
    verdict = verify(path, opener=lambda model: Other())
    assert verdict.result == "close"
    assert verdict.why.split("; ") == [
        f"made with another model ({Fake().digest()[:10]}, here eeeeeeeeee)",
        f"made by version 0.0.1, this is {version()}",
        "made with dtype float32, here bfloat16",
    ]
    assert verify(path).result == "identical", "another version that draws the same is as good"


def test_the_recorded_shape_is_used(tmp_path: Path) -> None:
    shapes = []

    class Shaped(Fake):
        def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
            shapes.extend((request.shape, request.count, request.seed) for request in requests)
            return super()._images(requests, previews)

    job, results = drawn(count=5)
    path = save(tmp_path / "a.png", job, results[3])
    verify(path, opener=lambda model: Shaped())
    verify(retold(path, how={"batch": 1}), opener=lambda model: Shaped())
    assert shapes == [(8, 1, 8), (1, 1, 8)]


def test_refusals_of_verify(tmp_path: Path) -> None:
    job, (result,) = drawn()
    Image.new("RGBA", (9, 9)).save(tmp_path / "plain.png")
    a1111 = PngInfo()
    a1111.add_text("parameters", "a\nSteps: 1, Seed: 2, Size: 3x3")
    Image.new("RGBA", (9, 9)).save(tmp_path / "other.png", pnginfo=a1111)
    for name in ("plain.png", "other.png"):
        with pytest.raises(Refused, match="holds no record of the studio's own"):
            verify(tmp_path / name)
    path = tmp_path / "a.png"
    fields = job.request.model_dump(mode="json")
    for change, says in (
        ({"model": "fake:9"}, "say which model is to make it again with --model"),
        ({"model": "gone"}, "say which model"),
        ({"style": "gone"}, "can't be made again: unknown style 'gone'"),
        ({"steps": 10**9}, "can't be made again: steps must be"),
        ({"task": "song"}, "can't be made again: it is no picture but 'song'"),
        ({"task": "clip"}, "there is no setting"),
    ):
        with pytest.raises(Refused, match=says):
            verify(retold(save(path, job, result), request={**fields, **change}))
    assert verify(retold(save(path, job, result), request={**fields, "model": "fake:0"}), "fake").result == "identical"


def test_every_frame_counts(tmp_path: Path) -> None:
    job, (result,) = drawn()
    path = tmp_path / "a"
    moving = Clip((picture(result), noisy(picture(result), 90)), (125, 125))
    path.write_bytes(clip_file(moving, "apng", provenance(job, result)))
    verdict = verify(path)
    assert (verdict.result, verdict.why) == ("different", "it is 128x128, 2 frames and was made as 128x128")
    job, (result,) = drawn("clip", frames=20)  # more than the face has places: some neighbours are equal
    path.write_bytes(write(result.data, result.media_type, provenance(job, result)))
    assert verify(path).result == "identical"
    job, (result,) = drawn("clip", frames=3)
    webp = tmp_path / "clip.webp"
    webp.write_bytes(write(result.data, result.media_type, provenance(job, result)))
    ways: list[dict[str, Any]] = [{"matte": "white"}, {"ground": "#204060"}, *({} for _ in FORMATS)]
    for kind, how in zip(("gif", "mp4", *FORMATS), ways, strict=True):
        ((_, data),) = exported(webp, Wanted(format=kind, **how), lambda _: None).items()
        path.write_bytes(data)
        assert verify(path) == Verdict("identical", None, ""), kind
    path.write_bytes(clip_file(Clip.read(webp), "webm", provenance(job, result), crf=4))
    assert verify(path).result == "close" and verify(path).psnr > 40
    frames = media.frames(result.data)
    for edited, says in (
        ([*frames[:2], noisy(frames[2], 90)], None),
        (frames[1:], "it is 128x128, 2 frames and was made as 128x128, 3 frames"),
    ):
        path.write_bytes(write(media.clip(edited, 8).data, "image/webp", provenance(job, result)))
        verdict = verify(path)
        assert verdict.result == "different" and (says is None or verdict.why == says)


def test_a_caption_is_compared_word_for_word(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    request = resolve(make_request("caption", image={"path": str(tmp_path / "red.png")}, model="fake"), CAN)
    job, (result,) = planned(request, Fake()), artifacts(Fake(), request)
    path = tmp_path / "a.txt"
    path.write_bytes(write(result.data, result.media_type, provenance(job, result)))
    assert verify(path) == Verdict("identical", None, "")
    path.write_bytes(path.read_bytes().replace(b"red", b"blue", 1))
    assert verify(path) == Verdict("different", None, "the content was changed after it was made")
    other, (shown,) = drawn()
    still = retold(save(tmp_path / "a.png", other, shown), request=job.request.model_dump(mode="json"))
    assert verify(still).result == "different", "a picture is no caption"
    path.write_bytes(write(b"", "text/plain", provenance(other, shown)))
    assert verify(path).result == "different", "nor is no caption a picture"


# --- The command ------------------------------------------------------------------------------------------------------


def test_the_command(studio: Callable, tmp_path: Path) -> None:
    rows = studio("generate", "a cat", "--count", 2, "--seed", 3, "--model", "fake", "--out", tmp_path, "--json").json
    paths = [row["path"] for row in rows]
    first = studio("verify", paths[0], "--json")
    assert (first.code, first.json) == (0, {"path": paths[0], "result": "identical", "psnr": None, "why": ""})
    both = studio("verify", *paths)
    assert both.code == 0 and both.out.splitlines() == [f"{path}\tidentical" for path in paths]
    before = [Path(path).read_bytes() for path in paths]
    job, (result,) = drawn(prompt="a dog")
    edited = save(tmp_path / "edited.png", job, result, shown=noisy(picture(result), 90))
    output = studio("verify", *paths, edited, "--json")
    assert output.code == 1 and [row["result"] for row in output.json] == ["identical", "identical", "different"]
    assert "edited.png\tdifferent (" in studio("verify", edited).out and studio("verify", edited).code == 1
    output = studio("verify", paths[0], tmp_path / "none.png", "--json")
    assert output.code == 1 and len(output.json) == 1 and "none.png is not there" in output.err
    output = studio("verify", tmp_path / "none.png", "--json")
    assert (output.code, output.out) == (2, "")
    assert [Path(path).read_bytes() for path in paths] == before, "nothing is written"
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_stopped_it_says_what_it_knows(studio: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, (result,) = drawn()
    paths = [save(tmp_path / name, job, result) for name in ("a.png", "b.png", "c.png")]
    draw, calls = Fake._images, []

    def stopped(fake: Fake, requests: Sequence[ImageRequest], previews: bool) -> Any:
        calls.append(requests)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(fake, requests, previews)

    monkeypatch.setattr(Fake, "_images", stopped)
    output = studio("verify", *paths, "--json")
    assert output.code == 130 and [row["result"] for row in output.json] == ["identical"] and len(calls) == 2
