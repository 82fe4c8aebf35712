"""The captioner: untrained it equals the backbone; caches, masks, storage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import awaken, save_tiny_parts

from models.assets import preset
from models.captioner import (
    FEATURES,
    NAME_TOKENS,
    TASKS,
    Captioner,
    CaptionerConfig,
    Entity,
    PictureContext,
    PictureEncoder,
    task_token,
)
from models.data.pixels import to_tensor
from models.language import LanguageModel
from models.space import Embedder

WORLD = fixture_world()
TOLD = [[Entity(("ball", "球"), 0.2, 0.3), Entity(("star", ""))], [Entity(("face", "脸"))], []]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> PictureEncoder:
    embedder = Embedder.load(save_tiny_parts(tmp_path_factory.mktemp("parts")))
    return PictureEncoder(embedder, None)


def captioner(encoder: PictureEncoder, awake: bool = True) -> Captioner:
    torch.manual_seed(0)
    language = encoder.embedder.language
    widths = {name: encoder.width(name) for name in FEATURES}
    sizes = {**preset("language", "tiny"), **preset("captioner", "tiny"), "vocab_size": language.config.vocab_size}
    network = Captioner(CaptionerConfig(**{**sizes, "features": widths}))
    if awake:
        awaken(network)
    return network.attach(language).eval()


def context_of(
    network: Captioner, encoder: PictureEncoder, rows: slice, shown: torch.Tensor | None = None
) -> PictureContext:
    looked = encoder.encode(to_tensor(WORLD.pixels[rows]))
    return network.read(encoder.features(looked.tokens, TOLD[rows]), shown)


def prompts(count: int) -> torch.Tensor:
    requests = [task_token(*TASKS[number % len(TASKS)]) for number in range(count)]
    return torch.tensor([[1, ask] for ask in requests])


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_at_first_it_is_the_backbone(encoder: PictureEncoder) -> None:
    network, ids = captioner(encoder, awake=False), torch.randint(3, 60, (2, 9))
    assert torch.equal(
        network(ids, picture=context_of(network, encoder, slice(2))).logits, encoder.embedder.language(ids).logits
    )


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "num_return_sequences": 3}])
def test_cached_equals_uncached_and_the_backbone_is_left_as_it_was(encoder: PictureEncoder, settings: dict) -> None:
    network, language, ids = captioner(encoder), encoder.embedder.language, prompts(2)
    before, seen = language(ids).logits, context_of(network, encoder, slice(2))
    written = network.generate(ids, picture=seen, max_new_tokens=12, do_sample=False, **settings)
    assert written.equal(
        network.generate(ids, picture=seen, max_new_tokens=12, do_sample=False, use_cache=False, **settings)
    )
    assert torch.equal(language(ids).logits, before)


def test_each_task_token_changes_the_logits(encoder: PictureEncoder) -> None:
    network, ids = captioner(encoder), prompts(len(TASKS))
    result = network(ids, picture=context_of(network, encoder, slice(1))).logits[:, -1]
    assert all((result[n] - result[m]).abs().max() > 1e-4 for n in range(len(TASKS)) for m in range(n))


def test_token_by_token_equals_all_at_once(encoder: PictureEncoder) -> None:
    network, ids = captioner(encoder), torch.randint(3, 60, (6, 5))
    seen, parts, cache = context_of(network, encoder, slice(2)), [], None
    for start in range(5):
        output = network(ids[:, start : start + 1], picture=seen, cache=cache, use_cache=True)
        parts.append(output.logits)
        cache = output.cache
    assert torch.allclose(torch.cat(parts, 1), network(ids, picture=seen).logits, atol=1e-5)


def test_candidates_share_what_was_read_of_their_picture(encoder: PictureEncoder) -> None:
    network, ids = captioner(encoder), prompts(6)
    shared = network(ids, picture=context_of(network, encoder, slice(2))).logits
    apart = network(ids, picture=context_of(network, encoder, slice(2)).rows(torch.tensor([0, 0, 0, 1, 1, 1]))).logits
    assert torch.allclose(shared, apart, atol=1e-5)
    assert not torch.allclose(
        shared[0], network(ids, picture=context_of(network, encoder, slice(1, 3))).logits[0], atol=1e-4
    )


def test_a_hidden_picture_is_none_and_every_eye_is_read(encoder: PictureEncoder) -> None:
    network, ids = captioner(encoder), prompts(2)
    hidden = network(ids, picture=context_of(network, encoder, slice(2), torch.tensor([False, True]))).logits
    blind, shown = (
        network(ids, picture=network.blind(2)).logits,
        network(ids, picture=context_of(network, encoder, slice(2))).logits,
    )
    assert torch.allclose(hidden[0], blind[0], atol=1e-5) and torch.allclose(hidden[1], shown[1], atol=1e-5)
    sight = encoder.features(encoder.encode(to_tensor(WORLD.pixels[:2])).tokens, TOLD[:2])
    for eye in FEATURES:
        other = {**sight, eye: (torch.randn_like(sight[eye][0]), sight[eye][1])}
        assert not torch.allclose(network(ids, picture=network.read(other)).logits, shown, atol=1e-4)


def test_names_are_read_token_by_token_and_where_they_are(encoder: PictureEncoder) -> None:
    tokens, mask = encoder.names(TOLD)
    assert tokens.shape == (3, mask.shape[1], encoder.width("names")) and not mask[2].any()
    by_name = mask.view(3, -1, 2, NAME_TOKENS)
    assert by_name[0, :2].any(-1).all() and not by_name[0, 2:].any()  # two things, each in both languages
    moved = encoder.names([[Entity(("ball", "球"), 0.8, 0.3), TOLD[0][1]]])[0]
    changed = (moved[0] != tokens[0]).any(-1).view(-1, 2 * NAME_TOKENS)
    assert changed[0].all() and not changed[1:].any()
    longest = encoder.names([[Entity(("a very long name that has far too many words for a name", ""))]])
    assert longest[1].view(-1, 2, NAME_TOKENS)[0].all()


def test_only_what_is_added_is_stored(encoder: PictureEncoder, tmp_path: Path) -> None:
    network, ids = captioner(encoder), prompts(2)
    network.save_pretrained(tmp_path)
    stored = Captioner.from_pretrained(tmp_path)
    assert not [name for name, _ in stored.named_parameters() if "embed_tokens" in name or "mixture" in name]
    again = stored.attach(encoder.embedder.language).eval()
    seen, this = context_of(network, encoder, slice(2)), context_of(again, encoder, slice(2))
    assert torch.equal(network(ids, picture=seen).logits, again(ids, picture=this).logits)
    with pytest.raises(ValueError, match="hidden_size"):
        stored.attach(LanguageModel(encoder.embedder.language.config.__class__(**preset("language", "sticker"))))
