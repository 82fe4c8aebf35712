"""Clips as what requests are given: a first frame, a clip that goes on, one that is embedded, described, looked for."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Output, refusal
from page_kit import client_of
from PIL import Image
from queue_kit import made
from test_clip_inputs import STEP, frame, written

from models.data.pixels import fit
from models.messages import languages
from studio import inputs, media
from studio.api import v1
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.backends.inputs import ClipEnds
from studio.events import Vector
from studio.mcp import jobs_result
from studio.page.polling import Poll
from studio.planner import resolve
from studio.requests import make_request
from studio.studio import Studio

CAN = Fake().capabilities()
Command = Callable[..., Output]


def asked(task: str = "clip", **fields: Any) -> Any:
    given = {name: {"path": str(value)} if isinstance(value, Path) else value for name, value in fields.items()}
    return resolve(make_request(task, **{"model": "fake", "seed": 1, **given}), CAN)


def frames_of(request: Any) -> list[np.ndarray]:
    (artifact,) = made(Fake(), request)
    return [np.asarray(one) for one in media.frames(artifact.data)]


@pytest.fixture
def gif(tmp_path: Path) -> Path:
    return written(tmp_path, "gif")


# --- First and last frames --------------------------------------------------------------------------------------------


def test_first_and_last_frames_of_any_size_are_fitted_and_one_frame_of_a_clip_is_taken(
    gif: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (640, 480), "red").save(tmp_path / "photo.jpg")
    webm = written(tmp_path, "webm")
    for first, last, notes in (
        (tmp_path / "photo.jpg", tmp_path / "photo.jpg", []),
        (tmp_path / "photo.jpg", webm, ["of the clip given as last only the first frame is taken."]),
        (gif, tmp_path / "photo.jpg", ["of the clip given as image only the first frame is taken."]),
    ):
        request = asked(image=first, last=last, frames=3)
        assert [str(note) for note in inputs.notes(request)] == notes and len(frames_of(request)) == 3
    frame(0).save(tmp_path / "first.png")
    assert [one.tolist() for one in frames_of(asked(image=gif, frames=2))] == [
        one.tolist() for one in frames_of(asked(image=tmp_path / "first.png", frames=2))
    ]
    for task, code in (("image", "clip.first_frame"), ("caption", "clip.middle_frame")):
        (note,) = inputs.notes(asked(task, image=gif))
        assert note.code == code and len({note.text(language) for language in languages()}) == 2


def test_what_is_taken_is_said_at_every_door(studio: Command, gif: Path, tmp_path: Path) -> None:
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
    usual = [fit(one) for one in media.frames(gif.read_bytes())]
    for loop, new in ((False, 4), (True, 3)):
        request = asked(image=gif, extend=True, frames=5, loop=loop)
        assert request.fps == 1 / STEP and inputs.notes(request) == []
        whole = frames_of(request)
        assert len(whole) == len(usual) + new
        assert all(np.array_equal(fit(Image.fromarray(one)), two) for one, two in zip(whole, usual, strict=False))
        assert ClipEnds.of(request, comes_back=False).last is None, "what leads away is not asked to come back"
    faster = frames_of(asked(image=gif, extend=True, frames=5, loop=False, fps=20))
    assert len(faster) == 2 * len(usual) + 4, "what was there keeps its pace"
    again = tmp_path / "again.webp"
    again.write_bytes(made(Fake(), asked(image=gif, extend=True, frames=5))[0].data)
    assert len(frames_of(asked(image=again, extend=True, frames=5))) == len(usual) + 3 + 3


def test_what_can_not_go_on(gif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame(0).save(tmp_path / "still.png")
    assert "does not move, so it can't be continued" in refusal(
        lambda: asked(image=tmp_path / "still.png", extend=True)
    )
    assert "extend is about a picture to start from" in refusal(lambda: asked(prompt="a cat", extend=True))
    for loop, least in ((True, 3), (False, 2)):
        result = refusal(lambda loop=loop, least=least: asked(image=gif, extend=True, loop=loop, frames=least - 1))
        assert result.startswith(f"frames must be between {least} and 64")
    monkeypatch.setattr("studio.planner.CONTINUED", 6)
    assert "has 7 frames; a clip of at most 6" in refusal(lambda: asked(image=gif, extend=True))
    request = asked(prompt="a cat", image=gif, frames=2)
    gif.write_bytes(written(tmp_path, "webp").read_bytes())
    assert "was changed" in refusal(lambda: frames_of(request))


# --- Doors ------------------------------------------------------------------------------------------------------------


def test_a_clip_with_every_setting_is_made_again_from_its_file(studio: Command, gif: Path, tmp_path: Path) -> None:
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
    taken = [one["path"] for one in studio("frames", longer["path"], "--number", 2, "--json").json]
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
    assert [one.kind for one in matches] == ["text", "image", "clip", "image"]
    assert matches[1].vector == matches[3].vector
    frames = [tmp_path / f"{number}.png" for number in range(7)]
    for path, one in zip(frames, media.frames(clip.read_bytes()), strict=True):
        one.save(path)
    request = make_request("embed", images=tuple({"path": str(path)} for path in frames))
    alone = [one.vector for one in run(tiny, resolve(request, tiny.capabilities())) if isinstance(one, Vector)]
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
