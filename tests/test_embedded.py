"""The studio's own models behind the backend's door, on tiny untrained parts: same laws, seconds instead of hours."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import one_sentence
from PIL import Image
from prompt_kit import FEW, parser_of_concepts
from queue_kit import ask_of as ask
from queue_kit import picture, planned, run_job

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data.grammar import STYLES
from models.data.pixels import fit
from models.dit import DiT
from models.messages import Refused
from models.pipelines.sticker import StickerPipeline
from models.prompts.parser import PromptParser
from models.prompts.vocabulary import Vocabulary, Words
from models.sampling.schedulers import DEFAULT_SCHEDULER, SCHEDULERS
from models.vision import VisionEncoder
from models.weights import load_part, part_digests, save_part, weights_digest
from studio.backends.base import run
from studio.backends.embedded import PARTS, Embedded, phrase
from studio.capabilities import FAST
from studio.events import Progress, Saved
from studio.media import Artifact
from studio.metadata.files import read
from studio.run import FolderSink


@pytest.fixture(scope="module")
def backend(parts: Path) -> Embedded:
    return Embedded(str(parts))


@pytest.fixture
def broken(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts, tmp_path / "broken"))


def pictures(backend: Embedded, **fields: object) -> list[np.ndarray]:
    events = run(backend, ask(backend, **fields))
    return [np.asarray(picture(event)) for event in events if isinstance(event, Artifact)]


def test_it_offers_what_the_models_know() -> None:
    can = Embedded().capabilities()
    assert [style.name for style in can.styles] == list(STYLES)
    assert set(can.schedulers) == {*SCHEDULERS, FAST} and can.schedulers[0] == DEFAULT_SCHEDULER
    assert can.style("立体") == can.style("3D Rendered") == "fluent 3d"


def test_the_digest_is_that_of_the_parts(backend: Embedded, parts: Path) -> None:
    assert backend.digest() == weights_digest(PARTS, parts)


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


def test_it_draws_what_the_pipeline_draws(backend: Embedded, parts: Path) -> None:
    pipe = StickerPipeline.assemble(parts)
    pipe.set_progress_bar_config(disable=True)
    (made,) = pictures(backend, style="noto")
    drawn = pipe("a cat, noto style", seeds=[1], num_inference_steps=2, scheduler=DEFAULT_SCHEDULER)
    assert np.array_equal(made, np.asarray(drawn.images[0]))


def test_the_same_request_is_the_same_picture_and_each_part_of_it_counts(backend: Embedded, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    like = {"path": str(tmp_path / "red.png")}
    asked = [
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
    made = [pictures(backend, **fields)[0] for fields in asked]
    assert np.array_equal(made[0], pictures(backend)[0])
    assert len({picture.tobytes() for picture in made}) == len(asked)


def test_weights_move_the_picture_and_not_what_it_is_measured_by(backend: Embedded) -> None:
    plain, weighted, one = (pictures(backend, prompt=prompt)[0] for prompt in ("a cat", "a (cat:1.6)", "a (cat:1)"))
    assert np.array_equal(plain, one) and not np.array_equal(plain, weighted)
    (result,) = (event for event in run(backend, ask(backend, prompt="a (cat:1.6)")) if isinstance(event, Artifact))
    backend.load()
    embedder = backend._pipeline.embedder
    seen = embedder.image(fit(picture(result))[None])[0]
    assert result.score == pytest.approx(float(seen @ embedder.text(["a cat"])[0]), abs=0.02)


def test_what_it_was_not_taught_is_said(backend: Embedded, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "models.prompts.vocabulary.NEAR", {"en": -2.0}
    )  # weights that were never trained: nothing is near
    said = [event.unknown for event in run(backend, ask(backend, prompt="an axolotl")) if isinstance(event, Progress)]
    assert said[0] == (), "these weights came without a vocabulary"
    backend.load()
    embedder = backend._pipeline.embedder
    concepts = {"en": ["cat", "dog"], "zh": ["猫", "狗"]}
    words = Words(frozenset({"cat"}), frozenset({"an"}), frozenset({"猫"}))
    Vocabulary(embedder, words, concepts, embedder.text(["cat", "dog"]), 2.0).save(broken)
    taught = Embedded(str(broken))
    (one,) = next(run(taught, ask(taught, prompt="a cat", mix=[{"text": "an axolotl"}]))).unknown
    assert (one.word, set(one.nearest)) == ("axolotl", {"cat", "dog"})
    assert taught.digest() == backend.digest(), "words to speak of are no part of what draws"
    (same,) = next(run(taught, ask(taught, prompt="an (axo(lotl:1.2)) [cat]"))).unknown
    assert same == one, "marks are no part of a word"
    assert next(run(taught, ask(taught, prompt="a kawaii axolotl in a spacesuit"))).unknown == (one,), "others are read"
    (broken / "vocabulary" / "vocabulary.json").write_text("{}")
    assert "altered or cut short" in refusal(broken)


def test_an_alias_is_known_only_word_for_word(backend: Embedded, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a prompt that is parsed, a word that some concept is called by is named where nothing of it is drawn."""
    backend.load()
    embedder = backend._pipeline.embedder
    concepts = {"en": ["cat"], "zh": ["猫"]}
    Vocabulary(
        embedder, Words(frozenset({"cat"}), frozenset(), frozenset()), concepts, embedder.text(["cat"]), 2.0
    ).save(broken)
    taught = Embedded(str(broken))
    taught.load()
    taught._pipeline.parser, taught._pipeline.references = parser_of_concepts(FEW, {"dog": ("golden retriever",)}), None
    for prompt, named in (("a retriever cat", {"retriever"}), ('"a retriever cat"', set())):
        said = next(run(taught, ask(taught, prompt=prompt))).unknown
        assert {one.word for one in said} == named, prompt


def test_what_is_read_of_a_prompt_is_said_and_drawn(backend: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(backend, prompt="a burger", style="noto")
    assert {event.read_as for event in run(backend, asked) if isinstance(event, Progress)} == {""}
    literal = pictures(backend, prompt="hamburger", style="noto")[0]
    own = backend._pipeline.parser
    parser = PromptParser(own.embedder, own.linker, own.common)  # one that remembers nothing
    monkeypatch.setattr(backend._pipeline, "parser", parser)
    monkeypatch.setattr(parser, "encoded", lambda text: text.replace("a burger", "hamburger"))
    events = list(run(backend, asked))
    assert {event.read_as for event in events if isinstance(event, Progress)} == {"hamburger, noto style"}
    drawn = next(np.asarray(picture(event)) for event in events if isinstance(event, Artifact))
    assert np.array_equal(drawn, literal)


def test_files_carry_the_shape_they_were_made_in(backend: Embedded, tmp_path: Path) -> None:
    saved = [
        event
        for event in run_job(backend, planned(ask(backend), backend), FolderSink(tmp_path))
        if isinstance(event, Saved)
    ]
    found = read(Path(saved[0].path))
    assert found["how"]["batch"] == 1 and "float" in found["how"]["dtype"] and found["digest"] == backend.digest()


def test_styles_are_said_in_the_language_of_the_prompt() -> None:
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
    return one_sentence(lambda: Embedded(str(parts)).load())


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
    made_with = part_digests(("autoencoder", "space"), broken)
    save_part(DiT(**preset("dit", "tiny")), "dit", broken, made_with)
    assert load_part(DiT, "dit", broken)
    save_part(Autoencoder(**preset("autoencoder", "tiny")), "autoencoder", broken)
    assert "trained with another part 'autoencoder'" in refusal(broken)


def test_other_weights_are_another_job(broken: Path, backend: Embedded) -> None:
    save_part(VisionEncoder(**preset("vision", "tiny")), "vision", broken)
    assert Embedded(str(broken)).digest() != backend.digest()
