"""The pairwise losses of the semantic space, for one process or for many.

Shapes: N pictures, M captions (over all processes), D = 128. Vectors have unit length.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.nn.functional import all_gather as all_gather_with_gradients

# Labels of a picture of the right concept that differs in what the caption names: style, skin tone, gender.
OTHER_ATTRIBUTE = (0.2, 0.4, 0.4)
OTHER_COLOUR = 0.4  # and in its colour
PICTURE_STYLE = 0.6  # label of two pictures of one concept in two styles
CONTRAST = 0.2  # label of a scene and its contrast, which differ in one attribute: near, and told apart all the same


def gather(x: Tensor) -> Tensor:
    """Rows of all processes, in rank order, with gradients; the rows themselves where there is one process.

    Every process then computes the whole loss. The backward pass sums over processes and DistributedDataParallel
    averages over them, so the parameters get the gradient that one process would compute.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    if not x.is_floating_point():
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather_with_gradients(x.contiguous()))


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over all processes' rows, as a number whose average over processes is that mean."""
    total = weights.detach().sum()
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
        total = total / dist.get_world_size()
    return (values * weights).sum() / total.clamp_min(1e-6)


@dataclass(frozen=True)
class Facts:
    """What is known of rows, as integers, so that labels can be read off for all pairs."""

    concepts: Tensor  # (N, 4) concept numbers of what is in the picture, -1 where fewer
    attributes: Tensor  # (N, 3) style, skin tone and gender as numbers, -1 where there is none or a caption names none
    colours: Tensor  # (N,) main colours as a set of bits
    scene: Tensor  # (N,) number of the scene, -1 for a single picture

    def followed_by(self, other: "Facts") -> "Facts":
        return Facts(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def gather(self) -> "Facts":
        return Facts(*map(gather, vars(self).values()))


def pair_labels(pictures: Facts, captions: Facts) -> tuple[Tensor, Tensor]:
    """Labels (N, M) in [0, 1] of "this caption fits this picture", and weights (N, M).

    The vector is searched with and generated from. Search wants all drawings of a concept together; a generator that
    reads the vector needs its style, colours and count. So the labels are graded: 1 for the right concept where the
    caption names nothing that the picture lacks, less for each thing that it does (OTHER_ATTRIBUTE, OTHER_COLOUR):
    nearer than another concept, further than what was asked for. A scene fits its own captions, and those of its
    contrast (numbers 2n and 2n + 1) as little as CONTRAST says. A scene and a single picture of something in it are
    neither match nor mismatch: weight 0.
    """
    overlap = _share_a_concept(pictures.concepts, captions.concepts)
    left_scene, right_scene = pictures.scene[:, None], captions.scene[None]
    single = (left_scene < 0) & (right_scene < 0)
    named = captions.attributes[None]
    other = (named >= 0) & (named != pictures.attributes[:, None])  # (N, M, 3)
    graded = torch.where(other, torch.tensor(OTHER_ATTRIBUTE), 1.0).prod(-1)
    lacking = (captions.colours[None] & ~pictures.colours[:, None]) != 0
    graded = graded * torch.where(lacking, OTHER_COLOUR, 1.0)
    labels = (single & overlap) * graded + _scene_labels(left_scene, right_scene)
    mixed = (left_scene < 0) != (right_scene < 0)
    return labels, 1.0 - (mixed & overlap).float()


def _scene_labels(left: Tensor, right: Tensor) -> Tensor:
    """1 for one scene, CONTRAST for a scene and its contrast, 0 for all else; -1 is no scene."""
    paired = (left // 2 == right // 2) & (left >= 0)
    return paired * torch.where(left == right, 1.0, CONTRAST)


def picture_labels(pictures: Facts) -> tuple[Tensor, Tensor]:
    """Labels and weights (N, N) of "these two pictures show the same": 1 for one concept in one style, PICTURE_STYLE
    across styles. A picture and itself say nothing."""
    overlap = _share_a_concept(pictures.concepts, pictures.concepts)
    single = pictures.scene < 0
    both = single[:, None] & single[None]
    style = pictures.attributes[:, 0]
    labels = (both & overlap) * torch.where(style[:, None] == style[None], 1.0, PICTURE_STYLE)
    labels = labels + _scene_labels(pictures.scene[:, None], pictures.scene[None])
    mixed = (single[:, None] != single[None]) & overlap
    return labels, 1.0 - (mixed | torch.eye(len(style), dtype=torch.bool)).float()


def _share_a_concept(left: Tensor, right: Tensor) -> Tensor:
    """(N, 4) and (M, 4) concept numbers -> (N, M) whether any number but -1 is in both."""
    equal = left[:, None, :, None] == right[None, :, None, :]  # (N, M, 4, 4)
    return (equal & (left >= 0)[:, None, :, None]).flatten(2).any(-1)


def sigmoid_loss(left: Tensor, right: Tensor, labels: Tensor, weights: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Sum over pairs / N of the binary cross-entropy of `scale * cosine + bias` (SigLIP, arXiv 2303.15343, eq. 1).

    left (N, D) and right (M, D); labels and weights (N, M). Labels may lie between 0 and 1.
    """
    logits = scale * left @ right.T + bias
    return F.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum") / len(left)


def agreeing(cosines: Tensor, deviations: float = 3.0) -> Tensor:
    """Mask (N,) of the pairs to keep: those whose own cosine is not far below the batch's.

    A caption that does not describe its picture pulls both away from where they belong. Once the space is warm such a
    pair lies many deviations below the median; the median absolute deviation is robust against the outliers sought.
    """
    median = cosines.median()
    spread = 1.4826 * (cosines - median).abs().median()  # equals the standard deviation of a normal distribution
    return cosines >= median - deviations * spread.clamp_min(0.02)
