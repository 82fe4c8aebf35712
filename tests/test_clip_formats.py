"""Clips in every format: what is read back is what was written, as far as the format can hold it."""

import io
from collections.abc import Iterator

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import over
from PIL import Image, ImageDraw
from tiny_files import artifact_of, job_of

from studio.export.clips import FORMATS, Clip, clip_file, sheet, webm, whole
from studio.metadata.files import read_bytes
from studio.metadata.origin import provenance

FILMS = ("webm", "mp4")
SAYS = provenance(job_of(prompt="一只猫 🐱"), artifact_of())


def faint(shift: int, width: int = 33, height: int = 20) -> Image.Image:
    """A disc that fades to nothing, in a colour for each place."""
    y, x = np.mgrid[:height, :width]
    alpha = np.clip(300 - 30 * np.hypot(x - 12 - shift, y - 9), 0, 255)
    pixels = np.stack([255 - 3 * x, 40 + 10 * y, 90 + 5 * x, alpha], -1) * (alpha > 0)[..., None]
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def clip_of(count: int, plays: int = 0) -> Clip:
    """The second frame equals the first, the last one is empty: both are frames all the same."""
    frames = [faint(max(0, k - 1)) for k in range(count)]
    if count > 2:
        frames[-1] = Image.new("RGBA", frames[0].size)
    return Clip(tuple(frames), tuple([125, 40, 70, 33, 125, 200, 125][:count]), plays)


def decoded(data: bytes) -> Iterator[tuple[int, np.ndarray]]:
    """When each frame of a film begins, in milliseconds, and its pixels (H, W, 4); then when it ends, and nothing."""
    with av.open(io.BytesIO(data)) as film:
        stream = film.streams.video[0]
        alone = stream.codec_context.name == "vp9"  # its usual decoder drops alpha
        decoder = av.CodecContext.create("libvpx-vp9", "r") if alone else stream.codec_context
        for packet in film.demux(stream):
            for frame in decoder.decode(packet):
                pixels = np.full((frame.height, frame.width, 4), 255, np.uint8)
                pixels[..., :3] = frame.to_ndarray(format="rgb24")
                if alone:
                    plane = frame.planes[3]
                    pixels[..., 3] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : frame.width]
                yield round(1000 * frame.pts * stream.time_base), pixels
        yield round(film.duration / 1000), np.zeros(0)


def read_back(data: bytes, kind: str) -> Clip:
    if kind not in FILMS:
        return Clip.read("", data)
    (*starts, end), (*frames, _) = zip(*decoded(data), strict=True)
    times = [after - start for start, after in zip(starts, [*starts[1:], end], strict=True)]
    return Clip(tuple(Image.fromarray(frame, "RGBA") for frame in frames), tuple(times))


def plays_of(data: bytes) -> int:
    """How often a moving AVIF plays, by its track and by the edit list in it, 0 for ever."""
    edit, track = data.index(b"elst"), data.index(b"tkhd")
    one, all_ = (int.from_bytes(data[at : at + 8]) for at in (edit + 12, track + 32))
    return 0 if all_ == 2**64 - 1 else all_ // one if data[edit + 7] else 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("count", "plays"), [(1, 0), (2, 1), (7, 0), (7, 3)])
def test_frames_times_and_plays_are_read_back(kind: str, count: int, plays: int) -> None:
    clip = clip_of(count, plays)
    data = clip_file(clip, kind)
    found = read_back(data, kind)
    assert len(found.frames) == count
    assert found.size == (clip.size if kind != "mp4" else (34, 20)), "MP4 has even sides"
    if kind == "gif":  # hundredths of a second, two at least
        assert found.seconds == pytest.approx(clip.seconds, abs=0.01) and min(found.times) >= 20
    elif kind != "avif" or count > 1:  # one frame is a still picture there
        assert found.times == clip.times
    if kind == "avif" and count > 1:
        assert plays_of(data) == plays
    elif kind not in (*FILMS, "avif"):  # nothing in films says how often they play
        assert found.plays == plays
    for was, now in zip(clip.frames, found.frames, strict=True):
        compare(np.asarray(was, int), np.asarray(now, int)[: clip.size[1], : clip.size[0]], kind)
    assert data == clip_file(clip, kind), "the same clip is the same bytes"


def compare(was: np.ndarray, now: np.ndarray, kind: str) -> None:
    """All that shows is exact where the format is, and near where it is not."""
    alpha = was[..., 3:]
    if kind not in ("gif", "mp4"):
        assert abs(now[..., 3:] - alpha).max() <= 1
    if kind in ("apng", "webp"):
        assert np.array_equal(now * (alpha > 0), was)
    elif kind == "mp4":
        assert abs(now - np.where(alpha < 255, 255 + (was - 255) * alpha // 255, was))[..., :3].mean() < 4
    elif (alpha == 255).any():
        assert abs(now - was)[alpha[..., 0] == 255].mean() < 6


def test_a_gifs_edge_is_dithered_and_stands_still_or_lies_on_a_colour() -> None:
    clip = Clip((faint(0, 40, 40).resize((160, 160)),) * 2, (100, 100))
    assert min(Clip.read("", clip_file(clip.at(200), "gif")).times) == 20, "faster ones are shown slower than said"
    alpha = np.asarray(clip.frames[0], float)[..., 3] / 255
    first, second = (np.asarray(frame)[..., 3] for frame in Clip.read("", clip_file(clip, "gif")).frames)
    assert np.array_equal(first, second) and set(np.unique(first)) == {0, 255}
    assert (first > 0).sum() == pytest.approx(alpha.sum(), rel=0.05), "as much of the edge is seen as there is"
    matte = Clip.read("", clip_file(clip, "gif", matte="#0000ff")).frames[0]
    assert abs(over(matte, "#0000ff") - over(clip.frames[0], "#0000ff")).max() < 24, "no rim on that ground"


@pytest.mark.parametrize("crf", [0, 30])
def test_a_film_with_alpha_has_no_dark_rim(crf: int) -> None:
    disc = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(disc).ellipse((30, 30, 220, 220), fill="#ffdd00")
    disc = disc.resize((64, 64), Image.Resampling.BOX)
    ((_, seen), _) = decoded(webm(Clip((disc,), (100,)), crf))
    for ground in ("white", "#ffdd00"):
        off = over(Image.fromarray(seen, "RGBA"), ground) - over(disc, ground)
        assert off.min() > -20, "nowhere darker than it was"


def test_a_sheet_says_where_each_frame_is() -> None:
    clip = clip_of(7)
    data, about = sheet(clip, SAYS)
    with Image.open(io.BytesIO(data)) as picture:
        for frame, one in zip(clip.frames, about["frames"], strict=True):
            place = one["frame"]
            assert (place["w"], place["h"]) == clip.size
            box = (place["x"], place["y"], place["x"] + place["w"], place["y"] + place["h"])
            assert picture.crop(box).tobytes() == frame.tobytes()
    assert [one["duration"] for one in about["frames"]] == list(clip.times)
    assert about["meta"]["columns"] == 3 and read_bytes(data, "it")["job_id"]


@given(st.lists(st.floats(0.1, 500), max_size=40))
def test_rounding_never_adds_up(times: list[float]) -> None:
    assert abs(sum(whole(times)) - sum(times)) <= 0.5 + 1e-6


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 30))
@settings(max_examples=30)
def test_fewer_more_and_faster_frames(count: int, n: int, fps: int) -> None:
    frames = tuple(Image.new("RGBA", (1, 1), (k, 0, 0, 255)) for k in range(count))
    clip = Clip(frames, whole([1000 / 7] * count), larger=frames)
    fewer, more = clip.every(n), clip.repeated(n)
    assert (len(fewer.frames), len(more.frames)) == (-(-count // n), count * n)
    assert fewer.seconds == more.seconds == clip.seconds and more.every(n) == clip
    assert clip.at(fps).seconds == pytest.approx(count / fps, abs=0.001) and fewer.larger == fewer.frames
    assert clip.lasting(3).seconds == 3
