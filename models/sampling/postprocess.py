"""Post-processing of decoded pictures: flattening (areas of one colour), and alpha that is all or nothing.

A decoder that was trained on squared errors answers doubt with a mean: areas of one colour ripple by some levels of
255, and empty areas have a haze of some levels of alpha. L0 gradient minimisation (Xu et al., ACM Transactions on
Graphics 30(6), 2011) finds the picture that changes in the fewest places and is still near to what was decoded:

    argmin_s sum_p |s_p - x_p|^2 + JUMP * #{p: the gradient of s at p is not zero}

by the paper's algorithm 1, half-quadratic splitting, whose quadratic half is solved by Fourier transforms (its eq. 8).
"""

from functools import cache

import torch
from torch import Tensor

from models.data.grammar import Finish
from models.prompts.parsed import ParsedPrompt

JUMP = 0.01  # lambda: what a change costs in a place, in squared colour; a half and a quarter do as well (LOG.md)
FASTER = 2.0  # kappa, the paper's own: with 4 it takes half the time and evens out less
LAST = 1e4  # beta at the end: what would follow changes no level of 255 but here and there
# Alpha between which an edge lies: less is empty, more is opaque. Drawings have no haze to lose; the edges of ink are
# one pixel wide, and decoded they are three.
EDGE = {Finish.SHADED: (6 / 255, 249 / 255), Finish.FLAT: (6 / 255, 249 / 255), Finish.INK: (1 / 3, 2 / 3)}


def finish_of(prompt: ParsedPrompt | None, new: bool) -> Finish:
    """The finish of the style that a prompt asks for. Where it names none, a `new` picture is flat, and one that starts
    from a picture, or from no words, keeps its shades."""
    if prompt is None or not prompt.text:
        return Finish.SHADED
    return prompt.finish or (Finish.FLAT if new else Finish.SHADED)


def postprocessed(picture: Tensor, finish: Finish, flattening: bool = True) -> Tensor:
    """A decoded picture (4, H, W), premultiplied, finished as its style is; colours stay no brighter than alpha. One at
    a time: so its bits do not depend on what is drawn beside it."""
    return sharp_alpha(flattened(picture) if finish is Finish.FLAT and flattening else picture, *EDGE[finish])


def sharp_alpha(picture: Tensor, nothing: float, opaque: float) -> Tensor:
    """A picture (4, H, W) in [0, 1], premultiplied, whose alpha is spread from between the two to [0, 1]."""
    alpha = picture[3:].float()
    spread = ((alpha - nothing) / (opaque - nothing)).clamp(0, 1)
    colours = picture[:3] * (spread / alpha.clamp_min(1e-6))
    return torch.cat([torch.minimum(colours, spread), spread])


def flattened(picture: Tensor) -> Tensor:
    """A picture (4, H, W) in [0, 1], premultiplied, in areas of one colour; colours stay no brighter than alpha."""
    flat, beta, laplacian = picture, 2 * JUMP, _laplacian(*picture.shape[1:]).to(picture.device)
    while beta < LAST:
        across, down = flat.roll(-1, 2) - flat, flat.roll(-1, 1) - flat
        edges = ((across.square() + down.square()).sum(0) >= JUMP / beta).to(flat.dtype)
        across, down = across * edges, down * edges
        divergence = across.roll(1, 2) - across + down.roll(1, 1) - down
        spectrum = torch.view_as_real(torch.fft.rfft2(picture + beta * divergence))  # real: complex division is slow
        spectrum = torch.view_as_complex(spectrum / (1 + beta * laplacian)[..., None])
        flat = torch.fft.irfft2(spectrum, picture.shape[1:])
        beta *= FASTER
    flat = flat.clamp(0, 1)
    return torch.cat([torch.minimum(flat[:3], flat[3:]), flat[3:]])


@cache
def _laplacian(height: int, width: int) -> Tensor:
    """The transform of the negative Laplacian, |F(dx)|^2 + |F(dy)|^2, (H, W / 2 + 1)."""
    step = torch.zeros(2, height, width)
    step[:, 0, 0] = -1
    step[0, 0, -1] = step[1, -1, 0] = 1
    return torch.fft.rfft2(step).abs().square().sum(0)
