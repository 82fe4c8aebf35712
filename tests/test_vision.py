"""The vision encoder, the semantic space, its losses, the embedder.

Byte equality holds for the kernels of a single process.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixture_world import fixture_world

from models.assets import preset
from models.space import DIM, Embedder, SemanticSpace
from models.train.language_space import (
    CONTRAST,
    OTHER_ATTRIBUTE,
    OTHER_COLOUR,
    PICTURE_STYLE,
    Facts,
    agreeing,
    pair_labels,
    picture_labels,
    sigmoid_loss,
)
from models.vision import VisionEncoder


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(**preset("vision", "tiny")).eval()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(3, 4, 128, 128, generator=torch.Generator().manual_seed(1))


def test_a_picture_becomes_64_tokens(encoder, pictures):
    tokens = encoder(pictures)
    assert tokens.shape == (3, 64, encoder.config["width"])
    assert torch.allclose(tokens.mean(-1), torch.zeros(3, 64), atol=1e-5)  # normed


def test_pictures_do_not_see_each_other(encoder, pictures):
    assert torch.allclose(encoder(pictures)[1], encoder(pictures[1:2])[0], atol=1e-5)


def test_keeping_all_tokens_changes_nothing(encoder, pictures):
    everything = torch.arange(64).expand(3, 64)
    assert torch.allclose(encoder(pictures, everything), encoder(pictures), atol=1e-6)


def test_a_dropped_token_is_not_seen(encoder, pictures):
    keep = torch.arange(0, 32).expand(3, 32)  # the upper half
    changed = pictures.clone()
    changed[:, :, 96:] = 0  # far enough below that no convolution reaches the upper half
    assert torch.allclose(encoder(pictures, keep), encoder(changed, keep), atol=1e-6)
    assert not torch.allclose(encoder(pictures)[:, :32], encoder(changed)[:, :32], atol=1e-4)


def test_tokens_know_their_place(encoder):
    """A blank picture differs between tokens by position alone, and tokens go row by row."""
    blank = torch.zeros(1, 4, 128, 128)
    marked = blank.clone()
    marked[:, :, 28:44, 60:76] = 1  # around the middle of token row 2, column 4
    before, after = encoder.stem(blank), encoder.stem(marked)
    assert int((after - before).abs().sum(-1).argmax()) == 2 * 8 + 4
    assert encoder(blank)[0].std(0).min() > 1e-3


def test_alpha_matters_where_colour_does_not(encoder):
    """Opaque black differs from transparent."""
    nothing, black = torch.zeros(1, 4, 128, 128), torch.zeros(1, 4, 128, 128)
    black[:, 3, 32:96, 32:96] = 1
    assert not torch.allclose(encoder(nothing), encoder(black), atol=1e-3)


def test_a_wrong_shape_is_named(encoder):
    with pytest.raises(ValueError, match=r"\(1, 3, 64, 64\).*\(B, 4, 128, 128\)"):
        encoder(torch.zeros(1, 3, 64, 64))


# --- The space --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def space() -> SemanticSpace:
    torch.manual_seed(0)
    return SemanticSpace(width=32, heads=2).eval()


@pytest.fixture(scope="module")
def embedder(parts: Path) -> Embedder:
    return Embedder.load(parts)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def facts(concepts, style=None, colours=None, scene=None) -> Facts:
    n = len(concepts)
    table = torch.full((n, 4), -1)
    table[:, 0] = torch.tensor(concepts)
    attributes = torch.full((n, 3), -1)
    attributes[:, 0] = torch.tensor(style or [-1] * n)
    return Facts(table, attributes, torch.tensor(colours or [0] * n), torch.tensor(scene or [-1] * n))


# --- the heads -------------------------------------------------------------------------------------------------------


def test_vectors_are_unit_and_128(space):
    states, mask = torch.randn(3, 7, 32), torch.ones(3, 7, dtype=torch.bool)
    for vectors in (space.text(states, mask), space.image(torch.randn(3, 64, 32))):
        assert vectors.shape == (3, DIM)
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(3), atol=1e-5)


def test_padding_is_not_read(space):
    states, mask = torch.randn(2, 7, 32), torch.ones(2, 7, dtype=torch.bool)
    mask[:, 4:] = False
    changed = states.clone()
    changed[:, 4:] = 100
    assert torch.allclose(space.text(states, mask), space.text(changed, mask), atol=1e-6)
    assert torch.allclose(space.text(states, mask), space.text(states[:, :4], mask[:, :4]), atol=1e-5)


def test_calibration_starts_where_the_config_says():
    """From there a cosine of 0.8 is a match and one of 0.2 is none."""
    scale, bias = SemanticSpace(scale=16, bias=-8).calibration()
    assert (scale.item(), bias.item()) == pytest.approx((16, -8), rel=1e-4)
    assert torch.sigmoid(scale * 0.8 + bias) > 0.98
    assert torch.sigmoid(scale * 0.2 + bias) < 0.02


# --- the losses ------------------------------------------------------------------------------------------------------


def test_sigmoid_loss_is_the_papers():
    """arXiv 2303.15343, algorithm 1: -sum log sigmoid(z * (t x y + b)) / n with z = 1 on the diagonal, -1 elsewhere."""
    left, right = unit(5, 16, seed=1), unit(5, 16, seed=2)
    z = 2 * torch.eye(5) - 1
    expected = -F.logsigmoid(z * (10 * left @ right.T - 3)).sum() / 5
    result = sigmoid_loss(left, right, torch.eye(5), torch.ones(5, 5), torch.tensor(10.0), torch.tensor(-3.0))
    assert float(result) == pytest.approx(float(expected), rel=1e-5)


def test_a_weight_of_zero_takes_a_pair_out():
    left, right, labels = unit(3, 8, seed=1), unit(3, 8, seed=2), torch.eye(3)
    weights = torch.ones(3, 3)
    weights[0, 1] = 0
    losses = [
        sigmoid_loss(left, right, changed, weights, torch.tensor(10.0), torch.tensor(0.0))
        for changed in (labels, labels.index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(1.0)))
    ]
    assert losses[0] == losses[1]


def test_labels_grade_what_a_caption_names():
    pictures = facts([0, 0, 1], style=[0, 1, 0], colours=[0b01, 0b10, 0b01])
    captions = facts([0, 0, 0], style=[-1, 0, -1], colours=[0, 0, 0b01])
    labels, weights = pair_labels(pictures, captions)
    expected = [[1, 1, 1], [1, OTHER_ATTRIBUTE[0], OTHER_COLOUR], [0, 0, 0]]
    assert torch.allclose(labels, torch.tensor(expected, dtype=torch.float))
    assert weights.min() == 1


def test_labels_of_scenes():
    pictures = facts([0, 0, 0], scene=[-1, 6, 7])
    labels, weights = pair_labels(pictures, facts([0, 0, 5], scene=[-1, 6, 9]))
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, pytest.approx(CONTRAST), 0]]
    assert weights.tolist() == [[1, 0, 1], [0, 1, 1], [0, 1, 1]]


def test_labels_of_pictures_of_the_same_concept():
    labels, weights = picture_labels(facts([0, 0, 1], style=[0, 1, 0]))
    assert labels[0].tolist() == pytest.approx([1, PICTURE_STYLE, 0])
    assert weights.diagonal().tolist() == [0, 0, 0]


def test_the_filter_drops_what_disagrees_and_little_else():
    cosines = 0.6 + 0.05 * torch.randn(500, generator=torch.Generator().manual_seed(0))
    cosines[:10] = 0.0
    stored = agreeing(cosines)
    assert not stored[:10].any()
    assert stored[10:].float().mean() > 0.98
    assert agreeing(torch.full((8,), 0.3)).all()  # nothing stands out


# --- the door --------------------------------------------------------------------------------------------------------


def test_a_vector_does_not_depend_on_the_batch(embedder):
    """To the last bit."""
    words = ["a red cat", "猫", "two stars"]
    assert torch.equal(embedder.text(words)[1], embedder.text(["x", "猫", *["y"] * 40])[1])
    assert torch.equal(embedder.states(words)[0][2], embedder.states(words[2:])[0][0])
    pixels = fixture_world().pixels
    assert torch.equal(embedder.image(pixels[:3])[1], embedder.image(pixels[[7, 1, *range(20, 40)]])[1])


def test_states_and_text_agree(embedder):
    states, mask, vectors = embedder.states(["a cat", "a much longer text about a cat"])
    assert states.shape[:2] == mask.shape == (2, 32)
    assert torch.equal(vectors, embedder.text(["a cat", "a much longer text about a cat"]))
    assert not states[~mask].any()


def test_empty_inputs_give_empty_vectors(embedder):
    assert embedder.text([]).shape == (0, DIM)
    assert embedder.clip([]).shape == (0, DIM)
    assert embedder.image(np.zeros((0, 128, 128, 4), np.uint8)).shape == (0, DIM)


def test_wrong_pictures_are_named(embedder):
    with pytest.raises(ValueError, match=r"float32.*load_picture"):
        embedder.image(np.zeros((1, 128, 128, 4), np.float32))
    with pytest.raises(ValueError, match=r"\(2, 64, 64, 4\)"):
        embedder.image(np.zeros((2, 64, 64, 4), np.uint8))
