"""The embedded backend on tiny untrained parts: pictures, clips and captions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import sentence_of
from fixture_world import fixture_world
from PIL import Image
from prompt_kit import few
from queue_kit import ask_of as ask
from queue_kit import picture
from tiny_parts import save_tiny_captioner, save_tiny_parts, save_tiny_video

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data.grammar import STYLES
from models.data.pixels import fit, png
from models.dit import DiT
from models.messages import Refused
from models.pipelines import caption
from models.pipelines.sticker import StickerPipeline
from models.prompts.still import still_prompt
from models.sampling.schedulers import DEFAULT_SCHEDULER, SCHEDULERS
from models.vision import VisionEncoder
from models.weights import load_part, part_digests, record_part, save_part
from studio import media
from studio.backends.base import run, run_batch
from studio.backends.embedded import Embedded, phrase
from studio.capabilities import FAST
from studio.clips import ClipFile
from studio.events import Progress, Vector
from studio.media import Artifact
from studio.planner import plan_with, resolve
from studio.requests import make_request
from studio.run import FolderSink, run_jobs


@pytest.fixture(scope="module")
def backend(parts: Path) -> Embedded:
    return Embedded(str(parts))


@pytest.fixture
def broken(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts, tmp_path / "broken"))


def pictures(backend: Embedded, **fields: object) -> list[np.ndarray]:
    events = run(backend, ask(backend, **fields))
    return [np.asarray(picture(event)) for event in events if isinstance(event, Artifact)]


def test_capabilities() -> None:
    can = Embedded().capabilities()
    assert [style.name for style in can.styles] == list(STYLES)
    assert set(can.schedulers) == {*SCHEDULERS, FAST} and can.schedulers[0] == DEFAULT_SCHEDULER
    assert can.style("立体") == can.style("3D Rendered") == "fluent 3d"


def test_a_job_goes_step_by_step_to_transparent_pictures(backend: Embedded) -> None:
    events = list(run(backend, ask(backend, count=2, steps=3), previews=True))
    progress = [event for event in events if isinstance(event, Progress)]
    results = [event for event in events if isinstance(event, Artifact)]
    assert [event.step for event in progress] == [1, 2, 3] and {event.total for event in progress} == {3}
    assert progress[0].previews[1].startswith(b"\x89PNG")
    assert [(event.index, event.seed) for event in results] == [(0, 1), (1, 2)]
    for event in results:
        assert (picture(event).mode, picture(event).size) == ("RGBA", (128, 128))
        assert event.score is not None and -1 <= event.score <= 1 and event.how["batch"] >= 2


def test_pictures_equal_the_pipeline(backend: Embedded, parts: Path) -> None:
    pipe = StickerPipeline.assemble(parts)
    pipe.set_progress_bar_config(disable=True)
    (created,) = pictures(backend, style="noto")
    drawn = pipe("a cat, noto style", seeds=[1], num_inference_steps=2, scheduler=DEFAULT_SCHEDULER)
    assert np.array_equal(created, np.asarray(drawn.images[0]))


def test_every_field_changes_the_picture(backend: Embedded, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    like = {"path": str(tmp_path / "red.png")}
    query = [
        {},
        {"seed": 2},
        {"negative": "dog"},
        {"style": "noto"},
        {"guidance": 7.0},
        {"steps": 3},
        {"scheduler": "euler"},
        {"like": like},
        {"like": like, "prompt": ""},
        {"mix": [{"text": "dog", "weight": 0.5}, {"picture": like}]},
        {"mix": [{"text": "dog", "weight": -0.5}, {"picture": like}]},
    ]
    created = [pictures(backend, **fields)[0] for fields in query]
    assert np.array_equal(created[0], pictures(backend)[0])
    assert len({picture.tobytes() for picture in created}) == len(query)


def test_weights_move_the_picture_and_not_what_it_is_measured_by(backend: Embedded) -> None:
    plain, weighted, item = (pictures(backend, prompt=prompt)[0] for prompt in ("a cat", "a (cat:1.6)", "a (cat:1)"))
    assert np.array_equal(plain, item) and not np.array_equal(plain, weighted)
    (result,) = (event for event in run(backend, ask(backend, prompt="a (cat:1.6)")) if isinstance(event, Artifact))
    backend.load()
    embedder = backend._pipeline.embedder
    seen = embedder.image(fit(picture(result))[None])[0]
    assert result.score == pytest.approx(float(seen @ embedder.text(["a cat"])[0]), abs=0.02)


def test_words_that_are_not_drawn_are_reported(backend: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    output = [event.unknown for event in run(backend, ask(backend, prompt="an axolotl")) if isinstance(event, Progress)]
    assert output[0] == (), "these weights know no concepts"
    monkeypatch.setattr(backend._pipeline, "parser", few())
    monkeypatch.setattr(backend._pipeline, "references", None)
    for prompt in ("a cat, an axolotl", "an (axo(lotl:1.2)) [cat]", "a cute axolotl and a cat"):
        (item,) = next(run(backend, ask(backend, prompt=prompt))).unknown
        assert item.word == "axolotl" and item.nearest == (), "marks are no part of a word, and nothing is near to it"
    assert [one.word for one in next(run(backend, ask(backend, prompt="a cat dancing"))).unknown] == ["dancing"]
    assert next(run(backend, ask(backend, prompt='"an axolotl"'))).unknown == ()


def test_the_parsed_prompt_is_reported_and_drawn(backend: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    query = ask(backend, prompt="a burger", style="noto")
    assert {event.read_as for event in run(backend, query) if isinstance(event, Progress)} == {""}
    literal = pictures(backend, prompt="hamburger", style="noto")[0]
    monkeypatch.setattr(backend._pipeline, "parser", few())
    monkeypatch.setattr(backend._pipeline, "references", None)
    events = list(run(backend, query))
    assert {event.read_as for event in events if isinstance(event, Progress)} == {"hamburger, noto style"}
    drawn = next(np.asarray(picture(event)) for event in events if isinstance(event, Artifact))
    assert np.array_equal(drawn, literal)


def test_style_phrases_follow_the_language_of_the_prompt() -> None:
    assert phrase("a cat", "") == "a cat"
    assert phrase("a cat", "fluent 3d") == "a cat, fluent 3d style"
    assert phrase("猫", "fluent 3d") == "猫，fluent 3d风格"
    assert phrase("", "noto") == "noto style"
    assert phrase(' "a cat" ', "noto") == '"a cat, noto style"' and phrase("「猫」", "noto") == "「猫，noto风格」"


def test_a_mix_that_cancels_out_is_refused(backend: Embedded) -> None:
    with pytest.raises(Refused, match="cancel"):
        pictures(backend, mix=[{"text": "cat", "weight": 1.0}, {"text": "cat", "weight": -1.0}])


# --- Weights that are not as they should be ---------------------------------------------------------------------------


def refusal(parts: Path) -> str:
    return sentence_of(lambda: Embedded(str(parts)).load())


def weights(parts: Path) -> Path:
    return next((parts / "dit").glob("*.safetensors"))


def test_missing_weights_are_named(broken: Path, tmp_path: Path) -> None:
    assert "manifest.json is missing" in refusal(tmp_path / "nowhere")
    weights(broken).unlink()
    assert "dit" in refusal(broken) and "is missing" in refusal(broken)
    (broken / "manifest.json").write_text("{")
    assert "manifest.json is damaged" in refusal(broken)
    (broken / "manifest.json").write_text("{}")
    assert "lists no part 'language'" in refusal(broken)


def test_weights_that_were_trained_beside_others_are_named(broken: Path) -> None:
    results_with = part_digests(("autoencoder", "space"), broken)
    save_part(DiT(**preset("dit", "tiny")), "dit", broken, results_with)
    assert load_part(DiT, "dit", broken)
    save_part(Autoencoder(**preset("autoencoder", "tiny")), "autoencoder", broken)
    assert "trained with another part 'autoencoder'" in refusal(broken)


def test_other_weights_are_another_job(broken: Path, backend: Embedded) -> None:
    save_part(VisionEncoder(**preset("vision", "tiny")), "vision", broken)
    assert Embedded(str(broken)).digest() != backend.digest()


PROMPT = "a star spins fast"


@pytest.fixture(scope="module")
def clip_backend(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    before = Embedded(str(root)).capabilities()
    assert "clip" not in before.tasks and not before.video  # weights without the part are whole
    save_tiny_video(root)
    return Embedded(str(root))


def events(clip_backend: Embedded, task: str, **fields: object) -> list[Progress | Artifact]:
    query = make_request(task, **{"prompt": PROMPT, "seed": 1, "steps": 2, **fields})
    return [
        event
        for event in run(clip_backend, resolve(query, clip_backend.capabilities()), True)
        if isinstance(event, Progress | Artifact)
    ]


def test_a_clip_from_words_is_the_picture_of_its_words_moved(
    clip_backend: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.pipelines.video.with_room", lambda picture, *_: picture)  # as if it needed none
    settings = {"frames": 3, "fps": 4, "loop": False}
    clips = [event for event in events(clip_backend, "clip", count=2, **settings) if isinstance(event, Artifact)]
    output = [(clip.frames, clip.seconds, clip.seed, clip.index, len(clip.vector)) for clip in clips]
    assert output == [(3, 0.75, 1, 0, 128), (3, 0.75, 2, 1, 128)]
    picture = events(clip_backend, "image", prompt=still_prompt(PROMPT), seed=2)[-1]
    assert isinstance(picture, Artifact)
    (file := tmp_path / "star.png").write_bytes(picture.data)
    moved = events(clip_backend, "clip", image={"path": str(file)}, seed=2, **settings)[-1]
    assert isinstance(moved, Artifact) and moved.data == clips[1].data


def test_progress_goes_to_its_end_and_shows_what_moves(clip_backend: Embedded) -> None:
    progress = [event for event in events(clip_backend, "clip", count=2, frames=3) if isinstance(event, Progress)]
    steps = [event.step for event in progress]
    assert steps == sorted(steps) and steps[-1] == progress[-1].total == 2 * (2 + 4)
    shown = media.frames(progress[-1].previews[1])
    assert len(shown) == 3 and not np.array_equal(*map(np.asarray, shown[:2]))


def test_what_a_verb_is_drawn_as_is_said_and_what_leads_away_plays_once(clip_backend: Embedded) -> None:
    *steps, dancing = events(clip_backend, "clip", prompt="a star dances", frames=3)
    assert isinstance(dancing, Artifact) and "waving and bouncing" in dancing.read_as
    assert {event.read_as for event in steps if isinstance(event, Progress)} == {dancing.read_as}
    plays = {}
    for verb in ("spins", "slides left"):
        (*_, clip) = events(clip_backend, "clip", prompt=f"a star {verb}", frames=3)
        assert isinstance(clip, Artifact)
        plays[verb] = ClipFile.open("", clip.data).plays
    assert plays == {"spins": 0, "slides left": 1}


def test_slow_motions_have_smaller_steps_where_no_rate_is_given(clip_backend: Embedded) -> None:
    can = clip_backend.capabilities()
    slow, lengths = "a star spins slowly", []
    for fields in ({"prompt": slow}, {"prompt": slow, "fps": 8}, {"prompt": "a star spins"}):
        query = resolve(make_request("clip", **fields), can)
        lengths.append((query.frames, query.fps))
    assert lengths == [(32, 16), (16, 8), (16, 8)]


def test_a_clip_is_refused_once_its_generator_is_another(clip_backend: Embedded) -> None:
    query = resolve(make_request("clip", prompt=PROMPT, seed=1), clip_backend.capabilities())
    save_tiny_video(clip_backend.root, seed=1)
    with pytest.raises(Refused, match="ask again"):
        list(run(clip_backend, query))


def test_a_clip_goes_on_and_its_vector_is_that_of_the_whole(clip_backend: Embedded, tmp_path: Path) -> None:
    (first,) = (event for event in events(clip_backend, "clip", frames=4, fps=5) if isinstance(event, Artifact))
    (file := tmp_path / "first.webp").write_bytes(first.data)
    given = {"image": {"path": str(file)}, "extend": True, "frames": 4, "loop": False, "prompt": "a star jumps"}
    longer, wilder = (events(clip_backend, "clip", **given, motion_strength=strength)[-1] for strength in (1.0, 2.0))
    assert isinstance(longer, Artifact) and isinstance(wilder, Artifact) and longer.data != wilder.data
    assert (longer.frames, longer.seconds) == (7, 1.4)
    before, after = media.frames(first.data), media.frames(longer.data)
    assert all(np.array_equal(fit(item), fit(two)) for item, two in zip(before, after, strict=False))
    (whole := tmp_path / "longer.webp").write_bytes(longer.data)
    query = resolve(make_request("embed", images=({"path": str(whole)},)), clip_backend.capabilities())
    (vector,) = (event.vector for event in run(clip_backend, query) if isinstance(event, Vector))
    assert np.allclose(vector, longer.vector, atol=0.02)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "LONGEST", 6)


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    before = Embedded(str(root)).capabilities()
    assert "caption" not in before.tasks and not before.languages  # weights without the part are whole
    save_tiny_captioner(root)
    return Embedded(str(root))


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    png(fixture_world().pixels[0]).save(file := tmp_path_factory.mktemp("picture") / "apple.png")
    return file


def described(captioner: Embedded, apple: Path, **fields: object) -> Artifact:
    query = make_request("caption", image={"path": str(apple)}, **fields)
    *_, created = run(captioner, resolve(query, captioner.capabilities()))
    assert isinstance(created, Artifact)
    return created


def test_captions_are_ranked_and_repeatable(captioner: Embedded, apple: Path) -> None:
    created = described(captioner, apple, seed=3, candidates=5)
    scores = [created.score or 0, *(score for _, score in created.candidates)]
    assert (created.kind, created.seed, len(created.vector)) == (
        "text",
        3,
        128,
    ) and created.data == created.text.encode()
    assert scores == sorted(scores, reverse=True) and len(scores) <= 5
    assert described(captioner, apple, seed=3, candidates=5) == created
    others = [{"seed": 4}, {"long": True}, {"tags": True}, {"language": "zh"}]
    assert all(described(captioner, apple, candidates=5, **other).text for other in others)
    assert described(captioner, apple, candidates=5, **others[0]) != created


def test_batched_captions_equal_single_captions(captioner: Embedded, apple: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "blue.png")
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    can, digest = captioner.capabilities(), captioner.digest()
    files = (apple, tmp_path / "blue.png", apple, tmp_path / "clear.png")
    query = [make_request("caption", image={"path": str(item)}, seed=n, candidates=2) for n, item in enumerate(files)]
    jobs = plan_with(query, can, digest)
    assert caption.SHAPES == can.described == (1, 16)
    assert {job.request.shape for job in jobs} == {16} and len({job.batch_key for job in jobs}) == 1
    (alone,) = plan_with([query[0].model_copy(update={"shape": 16})], can, digest)
    assert alone == jobs[0] and plan_with([query[0]], can, digest)[0].request.shape == 1
    other = plan_with([item.model_copy(update={"language": "zh"}) for item in query[:2]], can, digest)
    assert other[0].batch_key != jobs[0].batch_key
    together = [
        item for _, item in run_batch(captioner, [job.request for job in jobs[:3]]) if isinstance(item, Artifact)
    ]
    for job, created in zip(jobs, together, strict=False):
        assert [event for event in run(captioner, job.request) if isinstance(event, Artifact)] == [created]
        assert created.how["batch"] == 16
    list(run_jobs(captioner, jobs, FolderSink(tmp_path), previews=False))
    assert len(list(tmp_path.glob("*.txt"))) == 3, "what can't be described spoils none of the others"


def test_captions_below_the_threshold_are_unknown(captioner: Embedded, apple: Path, tmp_path: Path) -> None:
    config = captioner.root / "captioner" / "config.json"
    before = config.read_text()
    never = {"cosine": 0, "agreement": 0, "likelihood": 0, "nearest": 0, "bias": 0, "threshold": 0.9}
    config.write_text(json.dumps({**json.loads(before), "ranking": {"single": never}}))
    record_part("captioner", captioner.root)
    again = Embedded(str(captioner.root))
    guess = described(again, apple).candidates[0][0]
    created = described(again, apple)
    assert (created.text, created.known) == (f"I don't know this; it may be: {guess}", False)
    assert described(again, apple, language="zh").text.startswith("我不认识")
    config.write_text(before)
    record_part("captioner", captioner.root)


def test_bad_requests_are_refused(captioner: Embedded, apple: Path) -> None:
    with pytest.raises(Refused, match="not both"):
        make_request("caption", image={"path": str(apple)}, long=True, tags=True)
    query = resolve(make_request("caption", image={"path": str(apple)}), captioner.capabilities())
    save_tiny_captioner(captioner.root, seed=1)
    with pytest.raises(Refused, match="ask again"):
        list(run(captioner, query))


@pytest.mark.parametrize("size", [(1, 1), (1, 900)])
@pytest.mark.parametrize("mode", ["RGBA", "1", "CMYK", "I;16", "P"])
def test_any_picture_is_described(captioner: Embedded, tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    file = tmp_path / ("odd.jpg" if mode == "CMYK" else "odd.png")
    Image.new(mode, size, "red" if mode == "RGBA" else 0).save(file)
    created = described(captioner, file, candidates=1)
    assert created.kind == "text" and created.known == (size != (1, 1)), "of one colour all over is a apple of nothing"


def test_a_picture_of_nothing_is_refused(captioner: Embedded, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    with pytest.raises(Refused, match="transparent all over"):
        described(captioner, tmp_path / "clear.png")
