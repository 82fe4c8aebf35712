"""Clips through every door that exports: within the limits of apps, in every format, as packs; nothing half written."""

import errno
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Output
from hypothesis import given, settings
from hypothesis import strategies as st
from page_kit import client_of
from PIL import Image, ImageDraw
from queue_kit import planned, run_job
from test_clip_formats import decoded, read_back

from models.messages import Refused
from studio.api import v1
from studio.backends.fake import Fake
from studio.export.apps import APPS, clip_within, enlarged, fit_clip, in_size, in_time, rimmed
from studio.export.clips import FORMATS, Clip, clip_file, whole
from studio.export.drawing import seen_box
from studio.export.pack import Sticker, pack
from studio.metadata.files import provenance_in, read
from studio.planner import resolve
from studio.requests import make_request
from studio.run import FolderSink
from studio.studio import Studio

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
    data, suffix = fit_clip(clip, app)
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
        fit_clip(ball(2), APPS["twitch"])


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
    fitted = fit_clip(clip, APPS["discord-sticker"])[0]
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
        (
            ("--format", "avi"),
            "no 'avi' files here (did you mean 'avif'?); choose webp, apng, avif, gif, webm, mp4",
        ),
        (("--format", "jpeg"), "a jpeg file does not move; choose webp, apng, avif, gif, webm, mp4, sheet."),
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
    still = Sticker(clip.frames[0], "still", facts={"prompt": "a cat", "model": "embedded"})
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
