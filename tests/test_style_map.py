"""Laws of style maps: what is linear is found, and who names no style gets what coloured ones share."""

import pytest
import torch
import torch.nn.functional as F

from models.data.styles import STYLES
from models.style_map import KERNEL, NAMES, StyleMap, style_number

CHANNELS = 3


def drafts(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(seed))


def drawn(weight: torch.Tensor, bias: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return F.conv2d(of, weight, bias, padding=KERNEL // 2)


@pytest.fixture(scope="module")
def hands() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    made = torch.Generator().manual_seed(1)
    shape = (CHANNELS, CHANNELS, KERNEL, KERNEL)
    return {
        style: (torch.randn(shape, generator=made), torch.randn(CHANNELS, generator=made))
        for style in ("noto", "outline", "black glyph")
    }


@pytest.fixture(scope="module")
def fitted(hands: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> StyleMap:
    given = drafts(300)
    styles = [style for style in hands for _ in range(100)]
    latents = torch.cat([drawn(*hands[style], one[None]) for style, one in zip(styles, given, strict=True)])
    return StyleMap.fit(given, latents, styles)


def test_what_a_hand_does_to_every_draft_is_found(
    fitted: StyleMap, hands: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    new = drafts(4, seed=2)
    for style, hand in hands.items():
        made, meant = fitted(new, torch.full((4,), style_number(style))), drawn(*hand, new)
        assert (made - meant).square().mean() < 0.01 * meant.var(), style


def test_no_style_is_what_coloured_hands_share(
    fitted: StyleMap, hands: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Of the three, black glyphs are colourless: a prompt that names no style wants the mean of the others."""
    assert STYLES["black glyph"].colourless and not STYLES["noto"].colourless
    new = drafts(4, seed=2)
    coloured = torch.stack([drawn(*hands[style], new) for style in ("noto", "outline")]).mean(0)
    made = fitted(new, torch.zeros(4, dtype=torch.long))
    assert (made - coloured).square().mean() < 0.1 * coloured.var()


def test_a_style_without_drawings_changes_nothing(fitted: StyleMap) -> None:
    new = drafts(2, seed=3)
    assert torch.allclose(fitted(new, torch.full((2,), style_number("twemoji"))), new, atol=1e-6)


def test_each_is_mapped_alone_and_nothing_stays_nothing(fitted: StyleMap) -> None:
    new, styles = drafts(3, seed=4), torch.tensor([style_number("noto"), style_number("outline"), style_number("noto")])
    new[1] = 0
    together = fitted(new, styles)
    assert not together[1].any() and together[0].any()
    for row in range(3):
        assert torch.equal(fitted(new[row : row + 1], styles[row : row + 1])[0], together[row])


def test_numbers_are_the_table_s() -> None:
    assert [NAMES[style_number(style)] for style in STYLES] == list(STYLES)
    assert style_number("") == style_number("watercolour") == 0
