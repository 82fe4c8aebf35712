"""Clips by the studio's own models behind the backend's door, on tiny untrained parts."""

from pathlib import Path

import numpy as np
import pytest
from tiny_parts import save_tiny_parts, save_tiny_video

from models.data.pixels import fit
from models.messages import Refused
from models.prompts.still import still_prompt
from studio import media
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.events import Progress, Vector
from studio.media import Artifact
from studio.planner import resolve
from studio.requests import make_request

PROMPT = "a star spins fast"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    before = Embedded(str(root)).capabilities()
    assert "clip" not in before.tasks and not before.video  # weights without the part are whole
    save_tiny_video(root)
    return Embedded(str(root))


def events(backend: Embedded, task: str, **fields: object) -> list[Progress | Artifact]:
    asked = make_request(task, **{"prompt": PROMPT, "seed": 1, "steps": 2, **fields})
    return [
        event
        for event in run(backend, resolve(asked, backend.capabilities()), True)
        if isinstance(event, Progress | Artifact)
    ]


def test_a_clip_from_words_is_the_picture_of_its_words_moved(
    backend: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.pipelines.video.room", lambda _: (1.0, np.zeros(2)))  # as if it needed none
    settings = {"frames": 3, "fps": 4, "loop": False}
    clips = [event for event in events(backend, "clip", count=2, **settings) if isinstance(event, Artifact)]
    said = [(clip.frames, clip.seconds, clip.seed, clip.index, len(clip.vector)) for clip in clips]
    assert said == [(3, 0.75, 1, 0, 128), (3, 0.75, 2, 1, 128)]
    picture = events(backend, "image", prompt=still_prompt(PROMPT), seed=2)[-1]
    assert isinstance(picture, Artifact)
    (file := tmp_path / "star.png").write_bytes(picture.data)
    moved = events(backend, "clip", image={"path": str(file)}, seed=2, **settings)[-1]
    assert isinstance(moved, Artifact) and moved.data == clips[1].data


def test_progress_goes_to_its_end_and_shows_what_moves(backend: Embedded) -> None:
    progress = [event for event in events(backend, "clip", count=2, frames=3) if isinstance(event, Progress)]
    steps = [event.step for event in progress]
    assert steps == sorted(steps) and steps[-1] == progress[-1].total == 2 * (2 + 4)
    shown = media.frames(progress[-1].previews[1])
    assert len(shown) == 3 and not np.array_equal(*map(np.asarray, shown[:2]))


def test_a_clip_is_refused_once_its_generator_is_another(backend: Embedded) -> None:
    asked = resolve(make_request("clip", prompt=PROMPT, seed=1), backend.capabilities())
    save_tiny_video(backend.root, seed=1)
    with pytest.raises(Refused, match="ask again"):
        list(run(backend, asked))


def test_a_clip_goes_on_and_its_vector_is_that_of_the_whole(backend: Embedded, tmp_path: Path) -> None:
    (first,) = (event for event in events(backend, "clip", frames=4, fps=5) if isinstance(event, Artifact))
    (file := tmp_path / "first.webp").write_bytes(first.data)
    given = {"image": {"path": str(file)}, "extend": True, "frames": 4, "loop": False}
    longer, wilder = (events(backend, "clip", **given, motion_strength=strength)[-1] for strength in (1.0, 2.0))
    assert isinstance(longer, Artifact) and isinstance(wilder, Artifact) and longer.data != wilder.data
    assert (longer.frames, longer.seconds) == (7, 1.4)
    before, after = media.frames(first.data), media.frames(longer.data)
    assert all(np.array_equal(fit(one), fit(two)) for one, two in zip(before, after, strict=False))
    (whole := tmp_path / "longer.webp").write_bytes(longer.data)
    asked = resolve(make_request("embed", images=({"path": str(whole)},)), backend.capabilities())
    (vector,) = (event.vector for event in run(backend, asked) if isinstance(event, Vector))
    assert np.allclose(vector, longer.vector, atol=0.02)
