"""Artifacts of every kind: bytes that read back as they were made, kept in folders and in the gallery."""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from queue_kit import made, of_kind, run_job

from studio import maintenance, media
from studio.backends.fake import Fake
from studio.events import Saved
from studio.home import Home
from studio.media import Artifact
from studio.planner import Job, plan
from studio.requests import make_request
from studio.run import FolderSink, GallerySink

FRAMES = [Image.new("RGBA", (9, 7), colour) for colour in ("red", "red", (0, 0, 255, 80), "red")]


def seen(picture: Image.Image) -> bytes:
    """All that shows of a picture: transparent pixels have no colour."""
    pixels = np.array(picture.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels.tobytes()


def large(artifact: Artifact) -> Artifact:
    """The same artifact three hundred pixels wide."""
    frames = [frame.resize((300, 150)) for frame in media.frames(artifact.data)]
    return media.clip(frames, len(frames) / artifact.seconds) if len(frames) > 1 else media.image(frames[0])


# --- The bytes --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_frames_of_a_clip_read_back_equal(count: int, fps: int, width: int, height: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 256, (count, height, width, 4), np.uint8) * chance.integers(0, 2, (count, 1, 1, 1))
    frames = [Image.fromarray(one.astype(np.uint8), "RGBA") for one in pixels]
    clip = media.clip(frames, fps)
    assert [seen(frame) for frame in media.frames(clip.data)] == [seen(frame) for frame in frames]
    assert media.read(clip.data, clip.media_type) == clip, "what it says of itself is what its bytes say"
    assert (clip.suffix, clip.frames, clip.width, clip.height) == (".webp", count, width, height)
    seconds = count / fps if count > 1 else 0.0
    assert clip.kind == ("clip" if count > 1 else "image") and abs(clip.seconds - seconds) <= count * 0.0005 + 1e-9


def test_frames_that_are_equal_stay_frames_and_each_can_be_decoded_alone() -> None:
    clip = media.clip(FRAMES, 8)
    assert [seen(frame) for frame in media.frames(clip.data)] == [seen(frame) for frame in FRAMES]
    chunks = [clip.data[i - 4 : i + 20] for i in range(len(clip.data)) if clip.data[i - 4 : i] == b"ANMF"]
    sizes = [tuple(1 + int.from_bytes(chunk[k : k + 3], "little") for k in (14, 17)) for chunk in chunks]
    assert sizes == [(9, 7)] * 4, "no frame is stored as a difference"


@pytest.mark.parametrize(("loop", "times"), [(True, 0), (False, 1)])
def test_a_clip_plays_for_ever_or_once(loop: bool, times: int) -> None:
    with Image.open(io.BytesIO(media.clip(FRAMES, 8, loop).data)) as picture:
        assert picture.info["loop"] == times


def test_a_picture_and_a_text_read_back_equal() -> None:
    picture, text = media.image(FRAMES[2]), media.caption("一只猫 🐱\nand more", [("a dog", 0.5)])
    assert media.read(picture.data, "image/png") == picture and seen(media.frames(picture.data)[0]) == seen(FRAMES[2])
    again = media.read(text.data, text.media_type)
    assert (again.kind, again.text, again.data, text.candidates) == ("text", text.text, text.data, (("a dog", 0.5),))
    assert (text.kind, text.suffix, text.width, text.seconds) == ("text", ".txt", 0, 0.0)


@pytest.mark.parametrize(("data", "media_type"), [(b"junk", "image/png"), (b"", "image/webp"), (b"\xff", "text/plain")])
def test_what_is_not_of_its_type_is_no_artifact(data: bytes, media_type: str) -> None:
    with pytest.raises((ValueError, OSError)):
        media.read(data, media_type)


def test_small_previews_are_of_the_artifacts_kind() -> None:
    assert {media.thumbnail(one) for one in (media.image(FRAMES[0]), media.clip(FRAMES, 8), media.caption("x"))} == {
        b""
    }
    for artifact in (large(media.image(FRAMES[0])), large(media.clip(FRAMES, 8))):
        small = media.read(media.thumbnail(artifact), "image/webp")
        assert (small.kind, small.width, small.height) == (artifact.kind, 128, 64)
        assert (small.frames, small.seconds) == (artifact.frames, artifact.seconds)


def test_every_ending_is_known() -> None:
    types = media.media_types()
    assert {media.media_type_of(Path(f"a{suffix.upper()}")) for suffix in types} == set(types.values())
    with pytest.raises(KeyError):
        media.media_type_of(Path("a.exe"))


# --- Into a folder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def red(tmp_path: Path) -> Path:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def job_of(task: str, red: Path, **fields: Any) -> Job:
    """A job of the fake model."""
    asked = {"image": {"path": str(red)}} if task == "caption" else {"prompt": "a red cat", "seed": 3}
    (job,) = plan(make_request(task, **{"model": "fake", **asked, **fields}), Fake())
    return job


@pytest.mark.parametrize("task", ["image", "clip", "caption"])
def test_a_file_that_was_cut_short_is_made_again_and_no_other(task: str, red: Path) -> None:
    job = job_of(task, red)
    (first,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    (artifact,) = made(Fake(), job.request)
    assert (first.kind, first.media_type, first.text) == (artifact.kind, artifact.media_type, artifact.text)
    (again,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    assert again.cached and (again.path, again.kind, again.text) == (first.path, first.kind, first.text)
    path, whole = Path(first.path), Path(first.path).read_bytes()
    path.write_bytes(whole[:-10])
    (third,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    assert not third.cached and path.read_bytes() == whole


# --- Into the gallery -------------------------------------------------------------------------------------------------


def rows(home: Home) -> list[tuple[object, ...]]:
    names = "sha256, file, bytes, width, height, job, position, seed, score, prompt, style, model, digest, star, note"
    sql = f"SELECT {names}, kind, media_type, frames, seconds, text, space, hex(vector), hex(webp) FROM artifacts"
    joined = (
        f"{sql} LEFT JOIN vectors ON vectors.artifact = number LEFT JOIN thumbnails ON thumbnails.artifact = number"
    )
    return [tuple(row) for row in home.database.rows(f"{joined} ORDER BY file")]


def test_the_database_is_made_again_from_the_files_of_every_kind(tmp_path: Path, red: Path) -> None:
    home = Home(tmp_path / "home")
    for job in (job_of("image", red, size=512), job_of("clip", red, fps=7), job_of("caption", red, language="zh")):
        list(run_job(Fake(), job, GallerySink(home.gallery)))
    digests = {kept.kind: kept.sha256 for kept in home.gallery.page()}
    home.gallery.mark([digests["text"]], star=True, note="true")
    before = rows(home)
    home.database.close()
    for path in home.root.glob("studio.db*"):
        path.unlink()
    shutil.rmtree(home.root / "cache")
    assert maintenance.rebuild(home.root).pictures == 3
    again = Home(home.root)
    assert rows(again) == before and set(digests) == {"image", "clip", "text"}
    assert again.gallery.get(digests["text"]).star and again.search("红色")[0].picture.sha256 == digests["text"]
    assert all(hashlib.sha256(kept.path.read_bytes()).hexdigest() == kept.sha256 for kept in again.gallery.page())
    assert list(maintenance.inspect(again)) == []
