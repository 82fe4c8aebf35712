"""Clips as input: frame by frame reading, limits, starting, extending and describing."""

import base64
import io
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import Command, refusal
from page_kit import client_of
from PIL import Image
from queue_kit import artifacts
from waiting import bounded

from models.data.pixels import fit
from models.messages import languages
from studio import clips, inputs, media
from studio.api import v1
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.backends.inputs import ClipEnds
from studio.clips import ClipFile, moves, picture_of, pixels_of, resampled
from studio.events import Vector
from studio.mcp import jobs_result
from studio.page.polling import Poll
from studio.planner import resolve
from studio.requests import make_request
from studio.studio import Studio

COUNT, SIZE, STEP = 7, (32, 24), 0.1
# Container and pixel format of each codec, and what the colours and the alpha of a frame may lose.
VIDEOS = {
    "webm": ("libvpx-vp9", "yuva420p", 6, 1),
    "mkv": ("libx264", "yuv420p", 6, 0),
    "mp4": ("libx264", "yuv420p", 6, 0),
    "mov": ("png", "rgba", 0, 0),
}
PEAK = r"""
import av, re, sys
from studio.clips import pixels_of
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
before = peak()
assert [len(pixels_of(path, 16)) for path in sys.argv[1:]] == [16, 16]
print(peak() - before)
"""
PILLOW = {"gif": (2, 0), "webp": (0, 0), "png": (0, 0), "avif": (8, 1)}


def frame(number: int, alpha: int = 255) -> Image.Image:
    """A grey that encodes its number; the right half has alpha `alpha`."""
    picture = Image.new("RGBA", SIZE, (20 + 30 * number,) * 3)
    picture.paste((20 + 30 * number,) * 3 + (alpha,), (SIZE[0] // 2, 0, *SIZE))
    return picture


def shade(picture: Image.Image) -> int:
    return int(np.asarray(picture.convert("RGBA"))[2, 2, 0])


def video(path: Path, frames: list[Image.Image], codec: str, form: str, step: float = STEP, **how: Any) -> Path:
    """Frames as a video file, each for `step` seconds."""
    with av.open(str(path), "w", **how) as container:
        stream = container.add_stream(codec, rate=Fraction(1 / step).limit_denominator(1000))
        (stream.width, stream.height), stream.pix_fmt = frames[0].size, form
        if codec == "libvpx-vp9":
            stream.options = {"lossless": "1"}
        for number, picture in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(np.asarray(picture), "rgba")
            shown.pts, shown.time_base = round(number * step * 1000), Fraction(1, 1000)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


def written(folder: Path, kind: str, count: int = COUNT) -> Path:
    """A clip of `count` frames as a file of any kind, seen through where the kind allows it."""
    path = folder / f"clip.{kind}"
    if kind in VIDEOS:
        codec, form, *_ = VIDEOS[kind]
        return video(path, [frame(n, 100 if "a" in form else 255) for n in range(count)], codec, form)
    pictures = [frame(n, 255 if kind == "gif" else 100) for n in range(count)]
    how: dict[str, Any] = {"lossless": True} if kind == "webp" else {"quality": 100} if kind == "avif" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=round(1000 * STEP), loop=0, **how)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {kind: written(folder, kind) for kind in (*PILLOW, *VIDEOS)}


def test_every_format_is_read_frame_by_frame(files: dict[str, Path], subtests: pytest.Subtests) -> None:
    for kind, path in files.items():
        colours, alphas = VIDEOS[kind][2:] if kind in VIDEOS else PILLOW[kind]
        with subtests.test(kind=kind):
            clip = ClipFile.open(path)
            assert (clip.count, clip.width, clip.height) == (COUNT, *SIZE)
            assert clip.seconds == pytest.approx(COUNT * STEP)
            hits = [(item.number, item.time, item.seconds, item.picture()) for item in clip.frames()]
            assert [item[0] for item in hits] == [1, 2, 3, 4, 5, 6, 7]
            assert [item[1:3] for item in hits] == [pytest.approx((n * STEP, STEP)) for n in range(COUNT)]
            seen = kind in ("webm", "mov", "webp", "png", "avif")
            for number, (*_, picture) in enumerate(hits):
                wanted = np.asarray(frame(number, 100 if seen else 255), int)
                lost = np.abs(np.asarray(picture, int) - wanted)
                assert picture.mode == "RGBA" and lost[..., :3].max() <= colours and lost[..., 3].max() <= alphas


def test_frames_are_selected_from_a_clip(files: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("gif", "webm", "mp4"):
        shades = [shade(picture_of(files[kind], place)) for place in ("first", "middle", "last")]
        assert shades == pytest.approx([20, 110, 200], abs=6)
        assert moves(files[kind]) and pixels_of(files[kind], 16).shape == (7, 128, 128, 4)
        assert pixels_of(files[kind], 3)[:, 64, 2, 0] == pytest.approx([20, 110, 200], abs=6)
        assert resampled(files[kind], 10).shape[0] == 7 and resampled(files[kind], 20).shape[0] == 14
    frame(3).save(tmp_path / "still.png")
    for still in (tmp_path / "still.png", written(tmp_path, "webm", 1)):
        assert not moves(still) and pixels_of(still, 16).shape == (1, 128, 128, 4) and ClipFile.open(still).seconds == 0
        assert picture_of(still, "last").size == SIZE


def test_frames_are_chosen(files: dict[str, Path]) -> None:
    clip = ClipFile.open(files["webp"])
    assert clip.choice() == [1, 2, 3, 4, 5, 6, 7] and clip.choice(every=3) == [1, 4, 7]
    assert clip.choice(number=2) == [1, 7] and clip.choice(number=100) == clip.choice()
    assert [clip.choice(at=time) for time in (0, 0.09, 0.101, 0.69)] == [[1], [1], [2], [7]]
    for how, says in (
        ({"at": 0.9}, "plays for 0.7 seconds; there is nothing at 0.9"),
        ({"at": -1}, "nothing at -1"),
        ({"every": 0}, "every must be 1 or more"),
        ({"number": -1}, "number must be 1 or more"),
        ({"every": 1, "at": 0}, "exclude each other"),
    ):
        assert says in refusal(lambda how=how: clip.choice(**how))


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_clips_over_a_limit_are_refused_before_decoding(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(clips, "_decoder", decoded)
    for kind in ("webm", "mp4", "mkv"):
        long = video(tmp_path / f"long.{kind}", [frame(0)] * 3, *VIDEOS[kind][:2], step=3600)
        output = refusal(lambda long=long: ClipFile.open(long))
        assert re.search(r"plays for [\d,]+ seconds; clips of at most 120 are read", output)
    live = {"format": "webm", "options": {"live": "1"}}  # a header that does not say how long it is
    long = video(tmp_path / "live.webm", [frame(n) for n in range(9)], "libvpx-vp9", "yuv420p", step=20, **live)
    assert "clips of at most 120 are read" in refusal(lambda: ClipFile.open(long))
    for limit, most, says in (
        ("MAX_BYTES", 10, "is larger than"),
        ("MAX_FRAMES", COUNT - 1, "has more than 6 frames"),
        ("MAX_PIXELS", 700, "has 32 x 24 pixels; at most 700"),
        ("MAX_DECODED", 7 * 700, "too much to read"),
    ):
        with monkeypatch.context() as limited:
            limited.setattr(clips, limit, most)
            for path in files.values():
                assert says in refusal(lambda path=path: ClipFile.open(path)), path


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_clip_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """A hundred megabytes of frames, as a video and as a GIF, read by a process that has done nothing else."""
    frames = [Image.new("P", (512, 512), number % 2) for number in range(100)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    video(tmp_path / "a.mp4", [item.convert("RGBA") for item in frames[:2]] * 50, "mpeg4", "yuv420p", 0.04)
    done = subprocess.run([sys.executable, "-c", PEAK, *tmp_path.iterdir()], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50 * 1024


# --- Broken files -----------------------------------------------------------------------------------------------------


@bounded()
def test_damaged_clips_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    chance = np.random.default_rng(0)

    def read(path: Path) -> None:
        for item in ClipFile.open(path).frames():
            item.picture()

    for kind, path in files.items():
        whole, broken = path.read_bytes(), tmp_path / f"broken.{kind}"
        for cut in range(1, len(whole) * 2 // 3, 1 if kind == "gif" else 1 + len(whole) // 20):
            broken.write_bytes(whole[:cut])
            output = refusal(lambda broken=broken: read(broken))
            assert "\n" not in output and (str(broken) in output or kind == "gif"), (kind, cut)
        for _ in range(20):
            changed = np.frombuffer(whole, np.uint8).copy()
            changed[chance.integers(0, len(whole), 8)] = chance.integers(0, 256, 8)
            broken.write_bytes(changed.tobytes())
            assert "\n" not in refusal(lambda broken=broken: read(broken))


def test_files_without_frames_are_refused(tmp_path: Path) -> None:
    sound = io.BytesIO()
    with av.open(sound, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux([*stream.encode(silence), *stream.encode()])
    (tmp_path / "sound.mkv").write_bytes(sound.getvalue())
    video(tmp_path / "old.mkv", [frame(0)] * 2, "ffv1", "yuv420p")
    (tmp_path / "text.mp4").write_text("just words")
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n")
    for name, says in {
        "sound.mkv": "holds no moving pictures",
        "old.mkv": "not read here (ffv1)",
        "text.mp4": "is not a picture",
        "playlist.mp4": "is not a picture",
        "gone.mp4": "does not exist",
        ".": "is a folder",
    }.items():
        assert says in refusal(lambda name=name: ClipFile.open(tmp_path / name))
        if says.startswith("is not") or "exist" in says:  # also of one that is given as a picture
            assert "GIF, AVIF, WebM, MKV, MP4, MOV" in refusal(lambda name=name: picture_of(tmp_path / name))


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_the_command_writes_frames(studio: Command, files: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("webm", "gif"):
        rows = studio("frames", files[kind], "--number", 3, "--out", tmp_path, "--json").json
        assert [(Path(row["path"]).name, row["frame"], row["time"]) for row in rows] == [
            (f"clip-{n:04}.png", n, round((n - 1) * STEP, 3)) for n in (1, 4, 7)
        ]
        for row in rows:
            shown = picture_of(Path(row["path"]))
            assert shown.mode == "RGBA" and shade(shown) == pytest.approx(30 * row["frame"] - 10, abs=6)
        again = studio("frames", files[kind], "--number", 3, "--out", tmp_path)
        assert again.code == 0 and len(again.out.splitlines()) == 3
        for row in rows:
            Path(row["path"]).unlink()
    (tmp_path / "clip-0001.png").write_text("another")
    output = studio("frames", files["mp4"], "--every", 2, "--out", tmp_path)
    assert output.code == 2 and "is another file" in output.err and len(list(tmp_path.iterdir())) == 1


def test_the_command_says_what_a_clip_is(studio: Command, files: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in files.items():
        output = studio("info", path, "--json").json["clip"]
        assert (output["frames"], output["seconds"], output["fps"], output["width"]) == (COUNT, 0.7, 10, SIZE[0])
        assert output["format"].lower() == kind
    assert "codec: vp9" in studio("info", files["webm"]).out
    frame(0).save(tmp_path / "still.png")
    assert "holds no settings" in studio("info", tmp_path / "still.png").err
    (tmp_path / "cut.webm").write_bytes(files["webm"].read_bytes()[:300])
    assert "damaged or cut short" in studio("info", tmp_path / "cut.webm").err


CAN = Fake().capabilities()


def resolved(task: str = "clip", **fields: Any) -> Any:
    given = {name: {"path": str(value)} if isinstance(value, Path) else value for name, value in fields.items()}
    return resolve(make_request(task, **{"model": "fake", "seed": 1, **given}), CAN)


def frames_of(request: Any) -> list[np.ndarray]:
    (artifact,) = artifacts(Fake(), request)
    return [np.asarray(item) for item in media.frames(artifact.data)]


@pytest.fixture
def gif(tmp_path: Path) -> Path:
    return written(tmp_path, "gif")


# --- First and last frames --------------------------------------------------------------------------------------------


def test_first_and_last_frames_are_fitted_and_clips_give_a_frame(gif: Path, tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), "red").save(tmp_path / "photo.jpg")
    webm = written(tmp_path, "webm")
    for first, last, notes in (
        (tmp_path / "photo.jpg", tmp_path / "photo.jpg", []),
        (tmp_path / "photo.jpg", webm, ["of the clip given as last only the first frame is taken."]),
        (gif, tmp_path / "photo.jpg", ["of the clip given as image only the first frame is taken."]),
    ):
        request = resolved(image=first, last=last, frames=3)
        assert [str(note) for note in inputs.notes(request)] == notes and len(frames_of(request)) == 3
    frame(0).save(tmp_path / "first.png")
    assert [item.tolist() for item in frames_of(resolved(image=gif, frames=2))] == [
        item.tolist() for item in frames_of(resolved(image=tmp_path / "first.png", frames=2))
    ]
    for task, code in (("image", "clip.first_frame"), ("caption", "clip.middle_frame")):
        (note,) = inputs.notes(resolved(task, image=gif))
        assert note.code == code and len({note.text(language) for language in languages()}) == 2


def test_notes_about_clips_reach_every_client(studio: Command, gif: Path, tmp_path: Path) -> None:
    result = studio("animate", "--image", gif, "--frames", 2, "--model", "fake", "--out", tmp_path)
    assert result.code == 0 and result.err == "studio: of the clip given as image only the first frame is taken.\n"
    with Studio(tmp_path / "house") as house:
        api = client_of(v1.router(house, "fake"))
        for kind in ("gif", "webm"):
            data = base64.b64encode(written(tmp_path, kind).read_bytes()).decode()
            body = {"task": "clip", "image": {"data": data}, "frames": 2, "motion_strength": 1.5}
            answer = api.post("/api/v1/jobs", json=body).json()
            assert answer["notes"] == ["of the clip given as image only the first frame is taken."]
            assert answer["request"]["motion_strength"] == 1.5
        assert answer["notes"][0] in Poll(house).stage(answer["id"]).html()
        assert answer["notes"][0] in jobs_result(house, [house.queue.job(answer["id"])]).content[0].text
        data = base64.b64encode(written(tmp_path, "webm").read_bytes()[:300]).decode()
        refused = api.post("/api/v1/jobs", json={"task": "clip", "image": {"data": data}})
        assert refused.status_code == 422 and refused.json()["error"].startswith("image is damaged or cut short")


# --- A clip that goes on ----------------------------------------------------------------------------------------------


def test_a_clip_goes_on_from_its_last_frame(gif: Path, tmp_path: Path) -> None:
    usual = [fit(item) for item in media.frames(gif.read_bytes())]
    for loop, new in ((False, 4), (True, 3)):
        request = resolved(image=gif, extend=True, frames=5, loop=loop)
        assert request.fps == 1 / STEP and inputs.notes(request) == []
        whole = frames_of(request)
        assert len(whole) == len(usual) + new
        assert all(np.array_equal(fit(Image.fromarray(item)), two) for item, two in zip(whole, usual, strict=False))
        assert ClipEnds.of(request, comes_back=False).last is None, "what leads away is not asked to come back"
    faster = frames_of(resolved(image=gif, extend=True, frames=5, loop=False, fps=20))
    assert len(faster) == 2 * len(usual) + 4, "what was there keeps its pace"
    again = tmp_path / "again.webp"
    again.write_bytes(artifacts(Fake(), resolved(image=gif, extend=True, frames=5))[0].data)
    assert len(frames_of(resolved(image=again, extend=True, frames=5))) == len(usual) + 3 + 3


def test_refusals_of_extend(gif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame(0).save(tmp_path / "still.png")
    assert "does not move, so it can't be continued" in refusal(
        lambda: resolved(image=tmp_path / "still.png", extend=True)
    )
    assert "extend is about a picture to start from" in refusal(lambda: resolved(prompt="a cat", extend=True))
    for loop, least in ((True, 3), (False, 2)):
        result = refusal(lambda loop=loop, least=least: resolved(image=gif, extend=True, loop=loop, frames=least - 1))
        assert result.startswith(f"frames must be between {least} and 64")
    monkeypatch.setattr("studio.planner.CONTINUED", 6)
    assert "has 7 frames; a clip of at most 6" in refusal(lambda: resolved(image=gif, extend=True))
    request = resolved(prompt="a cat", image=gif, frames=2)
    gif.write_bytes(written(tmp_path, "webp").read_bytes())
    assert "was changed" in refusal(lambda: frames_of(request))


# --- Doors ------------------------------------------------------------------------------------------------------------


def test_a_clip_with_every_setting_is_verified_and_batched(studio: Command, gif: Path, tmp_path: Path) -> None:
    frame(3).save(tmp_path / "last.png")
    settings = {"frames": 3, "fps": 5, "motion_strength": 0.5, "seed": 4}
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    pictures = ["--image", gif, "--last", tmp_path / "last.png", "--model", "fake"]
    (row,) = studio("animate", "a cat", *flags, "--no-loop", *pictures, "--out", tmp_path, "--json").json
    (result,) = [studio("info", row["path"], "--json").json["request"]]
    assert {name: result[name] for name in (*settings, "loop", "extend")} == {
        **settings,
        "loop": False,
        "extend": False,
    }
    (longer,) = studio("animate", "--extend", *flags, *pictures[:2], *pictures[4:], "--out", tmp_path, "--json").json
    taken = [item["path"] for item in studio("frames", longer["path"], "--number", 2, "--json").json]
    assert studio("verify", row["path"], longer["path"], *taken).out.count("identical") == 4
    (tmp_path / "a.csv").write_text("task,prompt,frames,fps,motion_strength,loop,seed,image,last\n")
    with (tmp_path / "a.csv").open("a") as table:
        table.write(f"clip,a cat,3,5,0.5,false,4,{gif},{tmp_path / 'last.png'}\n")
    done = studio("batch", tmp_path / "a.csv", "--model", "fake", "--out", tmp_path / "batch", "--json").json
    assert (done["done"], done["failed"]) == (1, 0), done
    (results,) = (tmp_path / "batch").rglob("*.webp")
    assert media.frames(results.read_bytes())[2].tobytes() == media.frames(Path(row["path"]).read_bytes())[2].tobytes()


# --- The semantic space -----------------------------------------------------------------------------------------------


def test_a_clip_has_a_vector_that_is_its_frames_mean(tiny: Embedded, tmp_path: Path) -> None:
    clip, still = written(tmp_path, "webp"), tmp_path / "still.png"
    frame(2).save(still)
    pictures = tuple({"path": str(path)} for path in (still, clip, still))
    request = resolve(make_request("embed", texts=("a cat",), images=pictures), tiny.capabilities())
    matches = [event for event in run(tiny, request) if isinstance(event, Vector)]
    assert [item.kind for item in matches] == ["text", "image", "clip", "image"]
    assert matches[1].vector == matches[3].vector
    frames = [tmp_path / f"{number}.png" for number in range(7)]
    for path, item in zip(frames, media.frames(clip.read_bytes()), strict=True):
        item.save(path)
    request = make_request("embed", images=tuple({"path": str(path)} for path in frames))
    alone = [item.vector for item in run(tiny, resolve(request, tiny.capabilities())) if isinstance(item, Vector)]
    mean = np.mean(alone, 0)
    assert np.allclose(matches[2].vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_clip_is_embedded_described_and_shown_by_its_frames(studio: Command, house: Studio, tmp_path: Path) -> None:
    webm = written(tmp_path, "webm")
    (row,) = studio("embed", "--image", webm, "--model", "fake", "--json").json
    assert (row["kind"], row["input"], len(row["vector"])) == ("clip", str(webm), 128)
    hues = [Image.new("RGB", (32, 32), hue) for hue in ("red", "blue", "lime")]
    hues[0].save(tmp_path / "hues.webp", save_all=True, append_images=hues[1:], lossless=True)
    (caption,) = studio("caption", tmp_path / "hues.webp", "--model", "fake", "--out", tmp_path, "--json").json
    assert caption["caption"].startswith("a blue face")
    (clip,) = house.animate("a cat", frames=4, model="fake")
    api = client_of(v1.router(house, "fake"))
    shown = media.frames(Path(clip.path).read_bytes())
    place = f"/api/v1/gallery/{Path(clip.path).stem}/frames"
    for number in (1, 4):
        answer = api.get(f"{place}/{number}")
        assert answer.headers["content-type"] == "image/png"
        assert media.frames(answer.content)[0].tobytes() == shown[number - 1].tobytes()
    gone = api.get(f"{place}/5")
    assert gone.status_code == 404 and gone.json()["error"] == "the clip has 4 frames; there is no number 5."
