"""Laws of the captioner: at first it is the backbone, a picture is read once, a hidden picture is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import awaken, save_tiny_parts

from models.captioner import ASKS, Captioner, CaptionerConfig, Seen, ask_token
from models.data.pixels import to_tensor
from models.eyes import RETRIEVED, Looker
from models.language import LanguageModel
from models.memory import Memory
from models.presets import preset
from models.space import Embedder

WORLD = fixture_world()
EYES = ("vision", "retrieved", "second")


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    embedder = Embedder.load(save_tiny_parts(tmp_path_factory.mktemp("parts")))
    return Looker(embedder, Memory.of(WORLD, embedder)[0])


def captioner(looker: Looker, awake: bool = True, eyes: tuple[str, ...] = EYES) -> Captioner:
    torch.manual_seed(0)
    language = looker.embedder.language
    width = looker.embedder.vision.config.width
    widths = {eye: width if eye == "second" else looker.width(eye) for eye in eyes}
    sizes = {**preset("language", "tiny"), **preset("captioner", "tiny"), "vocab_size": language.config.vocab_size}
    made = Captioner(CaptionerConfig(**{**sizes, "eyes": widths}, own_eyes={"second": preset("vision", "tiny")}))
    if awake:
        awaken(made)
    return made.attach(language).eval()


def seen_by(made: Captioner, looker: Looker, rows: slice, shown: torch.Tensor | None = None) -> Seen:
    pixels = to_tensor(WORLD.pixels[rows])
    return made.look(looker.look(pixels, EYES)[0], pixels, shown)


def prompts(count: int) -> torch.Tensor:
    asked = [ask_token(*ASKS[number % len(ASKS)]) for number in range(count)]
    return torch.tensor([[1, ask] for ask in asked])


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_at_first_it_is_the_backbone(looker: Looker) -> None:
    made, ids = captioner(looker, awake=False), torch.randint(3, 60, (2, 9))
    assert torch.equal(made(ids, seen=seen_by(made, looker, slice(2))).logits, looker.embedder.language(ids).logits)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "num_return_sequences": 3}])
def test_cached_equals_uncached_and_the_backbone_is_left_as_it_was(looker: Looker, settings: dict) -> None:
    made, language, ids = captioner(looker), looker.embedder.language, prompts(2)
    before, seen = language(ids).logits, seen_by(made, looker, slice(2))
    written = made.generate(ids, seen=seen, max_new_tokens=12, do_sample=False, **settings)
    assert written.equal(made.generate(ids, seen=seen, max_new_tokens=12, do_sample=False, use_cache=False, **settings))
    assert torch.equal(language(ids).logits, before)


def test_what_is_asked_for_is_heard(looker: Looker) -> None:
    made, ids = captioner(looker), prompts(len(ASKS))
    said = made(ids, seen=seen_by(made, looker, slice(1))).logits[:, -1]
    assert all((said[n] - said[m]).abs().max() > 1e-4 for n in range(len(ASKS)) for m in range(n))


def test_token_by_token_equals_all_at_once(looker: Looker) -> None:
    made, ids = captioner(looker), torch.randint(3, 60, (6, 5))
    seen, parts, cache = seen_by(made, looker, slice(2)), [], None
    for start in range(5):
        output = made(ids[:, start : start + 1], seen=seen, cache=cache, use_cache=True)
        parts.append(output.logits)
        cache = output.cache
    assert torch.allclose(torch.cat(parts, 1), made(ids, seen=seen).logits, atol=1e-5)


def test_candidates_share_what_was_read_of_their_picture(looker: Looker) -> None:
    made, ids = captioner(looker), prompts(6)
    shared = made(ids, seen=seen_by(made, looker, slice(2))).logits
    apart = made(ids, seen=seen_by(made, looker, slice(2)).rows(torch.tensor([0, 0, 0, 1, 1, 1]))).logits
    assert torch.allclose(shared, apart, atol=1e-5)
    assert not torch.allclose(shared[0], made(ids, seen=seen_by(made, looker, slice(1, 3))).logits[0], atol=1e-4)


def test_a_hidden_picture_is_none_and_every_eye_is_read(looker: Looker) -> None:
    made, ids = captioner(looker), prompts(2)
    hidden = made(ids, seen=seen_by(made, looker, slice(2), torch.tensor([False, True]))).logits
    blind, shown = made(ids, seen=made.blind(2)).logits, made(ids, seen=seen_by(made, looker, slice(2))).logits
    assert torch.allclose(hidden[0], blind[0], atol=1e-5) and torch.allclose(hidden[1], shown[1], atol=1e-5)
    pixels = to_tensor(WORLD.pixels[:2])
    sight = looker.look(pixels, EYES)[0]
    for eye in ("vision", "retrieved"):
        other = {**sight, eye: (torch.randn_like(sight[eye][0]), sight[eye][1])}
        assert not torch.allclose(made(ids, seen=made.look(other, pixels)).logits, shown, atol=1e-4)
    assert not torch.allclose(made(ids, seen=made.look(sight, torch.rand_like(pixels))).logits, shown, atol=1e-4)


def test_only_what_is_added_is_stored(looker: Looker, tmp_path: Path) -> None:
    made, ids = captioner(looker), prompts(2)
    made.save_pretrained(tmp_path)
    stored = Captioner.from_pretrained(tmp_path)
    assert not [name for name, _ in stored.named_parameters() if "embed_tokens" in name or "mixture" in name]
    again = stored.attach(looker.embedder.language).eval()
    seen, own = seen_by(made, looker, slice(2)), seen_by(again, looker, slice(2))
    assert torch.equal(made(ids, seen=seen).logits, again(ids, seen=own).logits)
    with pytest.raises(ValueError, match="hidden_size"):
        stored.attach(LanguageModel(looker.embedder.language.config.__class__(**preset("language", "sticker"))))


def test_the_nearest_things_are_remembered_once_and_the_left_out_are_not(looker: Looker, tmp_path: Path) -> None:
    torch.manual_seed(1)
    names, things = looker.memory.names, looker.memory.things
    vectors = torch.nn.functional.normalize(torch.randn(len(things), 128), dim=-1)
    memory = Memory((127 * vectors).round().to(torch.int8), things, names)
    found, cosines = memory.nearest(vectors[:5], RETRIEVED)
    assert found[:, 0].equal(things[:5])
    assert all(len(set(row)) == RETRIEVED for row in found.tolist()) and (cosines.diff() <= 0).all()
    without = things == found[:, :1]
    assert found[:, 1:].equal(memory.nearest(vectors[:5], RETRIEVED - 1, without)[0])
    assert (memory.nearest(vectors[:5], 2, torch.ones_like(without))[0] == -1).all()  # nothing is left
    memory.save(tmp_path, "space")
    again = Memory.load(tmp_path)
    assert again.names == memory.names and again.vectors.equal(memory.vectors) and again.things.equal(memory.things)
