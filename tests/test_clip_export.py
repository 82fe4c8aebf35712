"""Clips in every format and through every door that exports: what is read back is what was written, within limits."""

import errno
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Output
from hypothesis import given, settings
from hypothesis import strategies as st
from page_kit import client_of
from picture_kit import over
from PIL import Image, ImageDraw
from queue_kit import planned, run_job
from tiny_files import artifact_of, job_of

from models.messages import Refused
from studio.api import v1
from studio.backends.fake import Fake
from studio.export.apps import APPS, clip_within, enlarged, fit, in_size, in_time, rimmed
from studio.export.clips import FORMATS, Clip, clip_file, sheet, webm, whole
from studio.export.drawing import seen_box
from studio.export.pack import Sticker, pack
from studio.metadata.files import provenance_in, read, read_bytes
from studio.metadata.origin import provenance
from studio.planner import resolve
from studio.requests import make_request
from studio.run import FolderSink
from studio.studio import Studio

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
    elif kind != "apng" or count > 1:  # one frame is a still picture there
        assert found.times == clip.times
    if kind not in FILMS:  # nothing in films says how often they play
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


MOVING = {name: app for name, app in APPS.items() if app.moving}
Command = Callable[..., Output]


def ball(count: int, time: int = 125, side: int = 128, plays: int = 0) -> Clip:
    """A ball that rolls from left to right, with a shadow that is half there."""
    frames = []
    for k in range(count):
        frame = Image.new("RGBA", (4 * side, 4 * side))
        draw, x = ImageDraw.Draw(frame), side + 2 * side * k // max(1, count - 1)
        draw.ellipse((x - side, 3 * side, x + side // 2, 3.5 * side), fill=(0, 0, 0, 90))
        draw.ellipse((x - side, side, x + side, 3 * side), fill=(255, 40 + 2 * k, 20))
        frames.append(frame.resize((side, side), Image.Resampling.BOX))
    return Clip(tuple(frames), (time,) * count, plays)


def noise(count: int, side: int) -> Clip:
    chance = np.random.default_rng(count * side)
    frames = [Image.fromarray(chance.integers(0, 256, (side, side, 4), np.uint8), "RGBA") for _ in range(count)]
    return Clip(tuple(frames), (100,) * count)


# --- Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOVING)
def test_a_clip_is_within_all_that_an_app_says(name: str) -> None:
    app = APPS[name]
    rules, clip = app.moving, ball(9)
    data, suffix = fit(clip, app)
    found = read_back(data, rules.kind)
    motion = rules.motion
    assert len(data) <= rules.limit and found.size == rules.sizes[0] and suffix == FORMATS[rules.kind].suffix
    assert motion.frames[0] <= len(found.frames) <= motion.frames[1] and len(found.frames) == 9
    assert found.seconds <= motion.seconds and len(found.frames) / found.seconds <= motion.fps + 1e-9
    assert min(found.times) >= motion.shortest
    assert found.seconds == pytest.approx(1 if motion.whole_seconds else clip.seconds, abs=0.011)
    if motion.all_seconds:
        assert 1 <= found.plays <= motion.all_seconds / found.seconds
    alpha = np.stack([np.asarray(frame)[..., 3] for frame in found.frames])
    assert not alpha[0, 0].max() and alpha.max() == 255, "the ground is transparent"
    if rules.kind != "gif":
        assert ((alpha > 60) & (alpha < 120)).mean() > 0.01, "a shadow that is half there"


@given(st.sampled_from(sorted(MOVING)), st.integers(2, 130), st.integers(5, 900))
@settings(max_examples=150)
def test_times_are_those_of_the_app_or_it_says_how_to_make_them_so(name: str, count: int, time: int) -> None:
    app = APPS[name].moving
    clip = Clip((Image.new("RGBA", (1, 1)),) * count, whole([time + 0.4] * count))
    try:
        found = in_time(clip, app)
    except Refused as refusal:
        assert clip.seconds > app.motion.seconds and app.title in str(refusal)
        fps = int(str(refusal).partition("--fps ")[2].partition(",")[0])
        found = in_time(clip.at(fps), app)
    motion = app.motion
    assert motion.frames[0] <= len(found.frames) <= motion.frames[1] and min(found.times) >= motion.shortest
    assert found.seconds <= motion.seconds + 1e-9 and len(found.frames) / found.seconds <= motion.fps + 1e-6
    if motion.whole_seconds:
        assert found.seconds in (1, 2, 3, 4) and found.plays * found.seconds <= 4


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("limit", [900, 6_000, 30_000])
def test_noise_is_within_a_limit_or_refused(name: str, limit: int) -> None:
    app, clip = replace(APPS[name].moving, limit=limit), noise(8, 32)
    try:
        data = clip_within(clip, app, limit)
    except Refused as refusal:
        assert limit < 6_000 and str(refusal).startswith(f"a clip of 8 frames does not fit into the {limit:,} bytes")
    else:
        assert len(data) <= limit
        found = read_back(data, app.kind)
        assert found.size == (32, 32) and found.seconds == pytest.approx(0.8, abs=0.011)
        assert len(found.frames) >= app.motion.frames[0]


def test_an_app_that_takes_no_clips_says_which_do() -> None:
    with pytest.raises(Refused, match=r"Twitch emote takes no clips; these do: slack, discord-emoji, "):
        fit(ball(2), APPS["twitch"])


# --- Larger, and with a rim -------------------------------------------------------------------------------------------


def test_frames_are_enlarged_alike_and_equal_ones_once() -> None:
    asked: list[bytes] = []

    def larger(path: Path) -> Image.Image:
        asked.append(path.read_bytes())
        with Image.open(path) as frame:
            return frame.resize((512, 512), Image.Resampling.NEAREST)

    clip = ball(3, side=32)
    clip = replace(clip, frames=(*clip.frames, clip.frames[0]), times=(*clip.times, 125))
    made = in_size(enlarged(clip, (512, 512), larger), 512)
    assert len(asked) == 3 and made.size == (512, 512)
    assert made.frames[0].tobytes() == made.frames[3].tobytes() != made.frames[1].tobytes()
    assert enlarged(clip, (32, 32), larger) is clip and len(asked) == 3
    assert enlarged(clip, (512, 512), lambda _: None).larger == ()


def test_what_stands_still_stays_where_it_is() -> None:
    """Neither a rim nor the place on a canvas depends on the single frame."""
    frames = []
    for k in range(3):
        frame = Image.new("RGBA", (64, 64))
        frame.paste("red", (0, 20, 10, 30))
        frame.paste("blue", (20 + 10 * k, 0, 34 + 10 * k, 64))
        frames.append(frame)
    clip = rimmed(Clip(tuple(frames), (100,) * 3))
    fitted = fit(clip, APPS["discord-sticker"])[0]
    for shown in (clip, read_back(fitted, "apng")):
        reds = [np.asarray(frame, int) for frame in shown.frames]
        boxes = [seen_box(((one[..., 0] - one[..., 2] > 200) * 255).astype(np.uint8)) for one in reds]
        assert boxes[0] == boxes[1] == boxes[2]


# --- Doors ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """A clip of the fake model, as a file that says where it comes from."""
    asked = make_request("clip", prompt="a red cat", seed=3, frames=6, fps=8, model="fake")
    (tmp_path / "made").mkdir()
    list(run_job(Fake(), planned(resolve(asked, Fake().capabilities())), FolderSink(tmp_path / "made")))
    return next((tmp_path / "made").iterdir())


@pytest.mark.parametrize("kind", [*FORMATS, "sheet"])
def test_the_command_writes_every_format(studio: Command, clip_path: Path, tmp_path: Path, kind: str) -> None:
    (row,) = studio("export", clip_path, "--format", f".{kind.upper()}", "--out", tmp_path / "out", "--json").json
    path = Path(row["files"][0]["path"])
    assert read(path)["request"]["prompt"] == "a red cat" == studio("info", path, "--json").json["request"]["prompt"]
    assert provenance_in(path) == provenance_in(clip_path)
    if kind == "sheet":
        about = json.loads(Path(row["files"][1]["path"]).read_text())
        assert about["meta"]["image"] == path.name and [one["duration"] for one in about["frames"]] == [125] * 6
    else:
        assert path.suffix == FORMATS[kind].suffix and len(read_back(path.read_bytes(), kind).frames) == 6


def test_the_command_plays_faster_larger_and_on_a_ground(studio: Command, clip_path: Path) -> None:
    (row,) = studio("export", clip_path, "--format", "mp4", "--ground", "#00ff00", "--fps", 24, "--json").json
    (*frames, (end, _)) = decoded(Path(row["files"][0]["path"]).read_bytes())
    assert end == 250 and len(frames) == 6
    assert abs(frames[0][1][0, 0, :3].astype(int) - (0, 255, 0)).max() < 8
    (row,) = studio("export", clip_path, "--size", 64, "--no-metadata", "--json").json
    assert row["files"][0] == {**row["files"][0], "width": 64, "height": 64, "frames": 6, "seconds": 0.75}
    assert read(Path(row["files"][0]["path"])) == {}
    assert studio("export", clip_path, "--for", "slack", "--outline").code == 0
    assert {path.suffix for path in clip_path.parent.iterdir()} == {".webp", ".mp4", ".gif"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--format", "avi"), "no 'avi' files here (did you mean 'avif'?); choose webp, apng, gif, webm, mp4"),
        (("--format", "jpeg"), "a jpeg file does not move; choose webp, apng, gif, webm, mp4, sheet."),
        (("--format", "mp4", "--ground", "greenish"), "'greenish' is no colour; give one as white or #ff8800."),
        (("--fps", "0"), "fps must be between 1 and 50, not 0."),
        (("--size", "99999"), "size must be between 16 and 1024, not 99999."),
        (("--for", "slack", "--format", "gif"), "Slack emoji decides format and size itself"),
        (("--svg",), "moves, and an SVG does not; export one of its frames."),
        (("--for", "twitch"), "Twitch emote takes no clips; these do: slack"),
        (("--for", "telegram", "--fps", "1"), "the clip lasts 6 s and Telegram sticker takes 3 s at most"),
        (("--for", "line", "--pack", "x"), "a pack for LINE sticker has 8 or 16 or 24 pictures, not 1; add 7."),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(studio: Command, clip_path: Path, arguments, sentence) -> None:
    said = studio("export", clip_path, *arguments)
    assert said.code == 2 and said.out == "" and sentence in said.err and said.err.count("\n") == 1
    assert list(clip_path.parent.iterdir()) == [clip_path]


def test_a_picture_takes_formats_and_sizes_too(studio: Command, tmp_path: Path) -> None:
    ball(1).frames[0].save(tmp_path / "ball.png")
    (row,) = studio("export", tmp_path / "ball.png", "--format", "webp", "--size", 64, "--json").json
    assert row["files"][0] == {**row["files"][0], "path": str(tmp_path / "ball-64.webp"), "width": 64, "height": 64}
    assert studio("export", tmp_path / "ball.png", "--format", "gif").code == 0 and (tmp_path / "ball.gif").exists()
    assert "ball.png does not move: --fps is for clips." in studio("export", tmp_path / "ball.png", "--fps", 9).err
    assert "none.png is not there" in studio("export", tmp_path / "none.png", "--format", "gif").err


def test_a_full_disk_or_a_stop_leaves_no_half_file(
    studio: Command, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        assert "is full; make room" in studio("export", clip_path, "--format", "webm").err
    with monkeypatch.context() as broken:
        broken.setattr("studio.export.clips._spread", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert studio("export", clip_path, "--format", "webm").code == 130
    assert list(clip_path.parent.iterdir()) == [clip_path]


def test_python_and_http(house: Studio, tmp_path: Path) -> None:
    (clip,) = house.animate("a red cat", frames=6, fps=8, seed=3, model="fake")
    (path,) = house.export(clip.path, tmp_path / "out", format="gif", matte="white", model="fake")
    assert path.name == f"{Path(clip.path).stem}.gif" and len(read_back(path.read_bytes(), "gif").frames) == 6
    api, sha256 = client_of(v1.router(house, "fake")), Path(clip.path).stem
    address = f"/api/v1/gallery/{sha256}/export"
    answer = api.get(address, params={"format": "gif", "matte": "white"})
    assert (answer.headers["content-type"], answer.content) == ("image/gif", path.read_bytes())
    assert api.get(address, params={"format": "webm"}).headers["content-type"] == "video/webm"
    large = api.get(address, params={"size": 512, "format": "webp"})
    assert read_back(large.content, "webp").size == (512, 512)
    whole = api.get(address, params={"format": "sheet"})
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert [Path(name).suffix for name in archive.namelist()] == [".png", ".json", ".txt"]
    for params, says in (({"format": "avi"}, "choose webp"), ({}, "say what to make"), ({"app": "x"}, "unknown app")):
        refused = api.get(address, params=params)
        assert refused.status_code == 422 and says in refused.json()["error"] and str(tmp_path) not in refused.text


# --- Packs ------------------------------------------------------------------------------------------------------------


def stickers(clips: int, pictures: int = 0) -> list[Sticker]:
    clip = ball(5, side=48)
    still = Sticker(Clip(clip.frames[:1]), "still", facts={"prompt": "a cat", "model": "embedded"})
    return [replace(still, label=f"cat {n}", clip=clip) for n in range(clips)] + [still] * pictures


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_packs_of_clips_and_of_both() -> None:
    line = unpacked(pack(stickers(8), "cats", APPS["line-sticker"]))
    names = [f"{n:02}.png" for n in range(1, 9)]
    assert [name for name in line if "/" not in name] == [*names, "main.png", "tab.png"]
    found = {name: read_back(line[name], "apng") for name in [*names, "main.png", "tab.png"]}
    assert [len(found[name].frames) for name in (names[0], "main.png", "tab.png")] == [5, 5, 1]
    assert (found["main.png"].size, found["tab.png"].size) == ((240, 240), (96, 74))
    both = unpacked(pack(stickers(1, 1), "cats", APPS["slack"]))
    assert [name for name in both if "/" not in name] == ["cat_0_01.gif", "still_02.png"]
    with pytest.raises(Refused, match="a pack for WhatsApp sticker has only clips or only pictures, not both"):
        pack(stickers(2, 1), "cats", APPS["whatsapp"])


def test_whatsapp_is_told_that_a_pack_moves(studio: Command, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.webp" for n in range(3)]
    for path in paths:
        path.write_bytes(clip_file(ball(2, side=420), "webp"))  # large enough not to be enlarged
    row = studio("export", *paths, "--for", "whatsapp", "--pack", "cats", "--out", tmp_path, "--json").json[0]
    files = unpacked(Path(row["path"]).read_bytes())
    said = json.loads(files["contents.json"])["sticker_packs"][0]
    assert said["animated_sticker_pack"] is True
    for sticker in said["stickers"]:
        found = read_back(files[sticker["image_file"]], "webp")
        assert (found.size, len(found.frames)) == ((512, 512), 2)
