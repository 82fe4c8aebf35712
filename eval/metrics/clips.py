"""Clips of held-out pairs of concept and motion, from the picture at rest and a caption, beside their controls.

A still clip has the best consistency, a shuffled one the best pictures, and code that moves the whole picture the right
direction: no figure means anything without what these get.

Shapes: N clips of T frames, premultiplied uint8 (N, T, 128, 128, 4).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval import sets
from eval.context import Context
from eval.generator import SPACE, ClipPrompt
from eval.metrics.image import NEIGHBOURS, psnr_on_white
from eval.rows import SEED, Row, beside, mean_row, missing_where, share_row
from eval.statistics import concept_matches, cosine, expected_recall, nearest, places, same
from models.data.captions import display_name
from models.data.clips import (
    FRAMES,
    MOTIONS,
    PLAIN_TRIES,
    Clip,
    Track,
    centroids,
    direction_of,
    direction_seen,
    plain_clip,
    pose,
    posed,
)
from models.data.pixels import SIZE
from models.data.stored import stored
from models.data.world import World
from models.prompts.still import named_moves
from models.space import MOTION

KINDS = tuple(MOTIONS)
DIRECTED = tuple(name for name in MOTIONS if direction_of(name))
TRAIN_SEED = 10**9  # of the real clips that the classifier learns from
LEARNT = 60  # real clips a kind
ALIVE = ("pulse", "swing", "bounce")  # motions that keep a thing where it is, of clips from words alone
K = 10
MOMENTS = 10


@dataclass(frozen=True)
class ClipSet:
    """True clips, their prompts, and clips of each source by its name."""

    clips: list[Clip]
    prompts: list[ClipPrompt]
    sources: dict[str, np.ndarray]


def clip_rows(context: Context) -> Iterator[Row]:
    """Direction, kind, given picture, consistency, loops."""
    directed = _clip_set(context, DIRECTED, SEED)
    yield _direction(context, directed)
    every = _clip_set(context, KINDS, 2 * SEED)
    yield _kind(context, every)
    yield _given(context, every)
    yield _consistency(context, every)
    yield _loops(context, every)
    yield _middle(context)


@missing_where(ValueError)
def _held_out(context: Context, count: int, motions: tuple[str, ...], seed: int) -> list[Clip]:
    """MissingError where the world is too small for them."""
    return list(plain_clips(context.world, count, "test", motions, seed))


def _clip_set(context: Context, motions: tuple[str, ...], seed: int) -> ClipSet:
    clips = _held_out(context, context.sizes.clips, motions, seed)
    prompts = [prompt_of(context.world, clip, SEED) for clip in clips]
    real = np.stack([clip.render(context.world) for clip in clips])
    sources = {"": context.generate(prompts), "real": real, "the picture warped by code": warped(prompts)}
    return ClipSet(clips, prompts, {**sources, "still": still(prompts), "shuffled": shuffled(real)})


def _direction(context: Context, clips: ClipSet) -> Row:
    right = {
        name: np.array([direction_seen(one) == clip.direction for one, clip in zip(frames, clips.clips, strict=True)])
        for name, frames in clips.sources.items()
    }
    against = (("chance", 0.25), *beside(right))
    name = "direction, by the way of the middle of alpha"
    return share_row(name, right[""], against=against, goal=0.8, **context.origin())


def _kind(context: Context, clips: ClipSet) -> Row:
    """By a classifier that saw real training clips alone, of numbers that say how alpha and brightness move."""
    learn = partial(plain_clips, context.world, LEARNT * len(KINDS), "train", KINDS, TRAIN_SEED)
    path = context.cache and context.cache / f"moments-{context.world.digest[:12]}-{LEARNT}.npy"
    numbers = stored(path, lambda: np.stack([moments(clip.render(context.world)) for clip in learn()]))
    tell = motion_classifier(np.asarray(numbers), np.arange(len(numbers)) % len(KINDS))
    truth = np.arange(len(clips.clips)) % len(KINDS)
    right = {name: tell(np.stack(list(map(moments, frames)))) == truth for name, frames in clips.sources.items()}
    against = (("chance", 1 / len(KINDS)), *beside(right))
    note = f"{len(KINDS)} kinds; a small network on the moments of {len(numbers):,} real clips"
    return share_row("kind of motion", right[""], against=against, goal=0.6, note=note, **context.origin())


def _given(context: Context, clips: ClipSet) -> Row:
    """PSNR of the first frame against the picture that was given, where the motion begins with it."""
    rest = np.stack([prompt.picture for prompt in clips.prompts if prompt.picture is not None])
    begins = difference(clips.sources["real"][:, 0], rest) < 0.002
    against = {}
    if context.can("autoencoder") and begins.any():
        against["autoencoder"] = psnr_on_white(context.reconstruct(rest[begins]), rest[begins])
    psnr = psnr_on_white(clips.sources[""][:, 0][begins], rest[begins])
    return mean_row("first frame on white", psnr, unit="dB", against=beside(against), goal=25.0, **context.origin())


def _consistency(context: Context, clips: ClipSet) -> Row:
    """What changes from frame to frame that should not: what is shown."""
    drift = {}
    for name, frames in clips.sources.items():
        features = _features(context, frames)
        drift[name] = _unlike(features[:, 1:], features[:, :-1])
    name = "drift of EffLite0 features from frame to frame"
    return mean_row(name, drift[""], against=beside(drift), lower_is_better=True, **context.origin())


def _features(context: Context, clips: np.ndarray) -> np.ndarray:
    """(N, T, 1280)."""
    return context.features(clips.reshape(-1, *clips.shape[2:])).reshape(*clips.shape[:2], -1)


def _unlike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - cosine of features (N, T, D), its mean over the frames (N,)."""
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (1 - (a * b).sum(-1) / np.maximum(norms, 1e-9)).mean(-1)


def _loops(context: Context, clips: ClipSet) -> Row:
    looping = [number for number, clip in enumerate(clips.clips) if clip.loop]
    steps = {name: np.array([seam(frames[number]) for number in looping]) for name, frames in clips.sources.items()}
    against = tuple((name, float(np.median(values))) for name, values in steps.items() if name in ("real", "shuffled"))
    ends = np.median(steps[""])
    return Row(
        "loops: the step from the last frame to the first over the median of the others", float(ends), len(looping),
        against=against, goal=1.3, lower_is_better=True, note="median of the clips", **context.origin(),
    )  # fmt: skip


def _middle(context: Context) -> Row:
    """From words alone: is the concept among the ten drawings nearest to the middle frame, as to the first?"""
    pictures = sets.per_concept(sets.cells(context.world, context.sizes.clips // 2))
    verbs = [MOTIONS[ALIVE[number % len(ALIVE)]].en[0][0] for number in range(len(pictures))]
    prompts = [
        ClipPrompt(f"a {display_name(p, 'en')} {verb}", loop=True) for p, verb in zip(pictures, verbs, strict=True)
    ]
    drawn = context.generate(prompts)
    matches = {
        number: concept_matches(
            pictures,
            context.drawings,
            nearest(context.features(drawn[:, number]), context.drawing_features, NEIGHBOURS),
        )
        for number in (0, FRAMES // 2)
    }
    against, goal = (("the first frame", float(matches[0].mean())),), 0.9 * float(matches[0].mean())
    name = "from words: concept among the 10 drawings nearest to the middle frame"
    return share_row(name, matches[FRAMES // 2], against=against, goal=goal, **context.origin())


def retrieval_rows(context: Context) -> Iterator[Row]:
    """Words to real clips of held-out pairs of concept and motion in the semantic space."""
    clips = _held_out(context, 5 * context.sizes.clips // 2, KINDS, 4 * SEED)
    embedder = context.generator.weights.embedder
    real = [clip.render(context.world) for clip in clips]
    vectors, mixed = (embedder.clip(some).numpy() for some in (real, list(shuffled(real))))
    texts = embedder.text([clip.caption(context.world, SEED, "en") for clip in clips]).numpy()
    scores, right = cosine(texts, vectors), np.eye(len(clips), dtype=bool)
    concepts = [context.world.pictures[clip.tracks[0].picture].concept for clip in clips]
    loose = places(scores, same(concepts, concepts)).recall(K).mean()
    stills = embedder.image(np.stack([clip.rest(context.world) for clip in clips])).numpy()
    by_still, by_shuffled = (float(places(cosine(texts, one), right).recall(K).mean()) for one in (stills, mixed))
    yield mean_row(
        f"words to clips R@{K} of {len(clips)}, the very clip", places(scores, right).recall(K), goal=0.6,
        against=(
            ("chance", expected_recall(right, K)), ("by its still picture", by_still), ("shuffled", by_shuffled),
        ),
        note=f"any clip of the concept {loose:.3f}", seeds=f"captions {SEED}", parts=(*SPACE, MOTION),
    )  # fmt: skip


# --- True clips ---------------------------------------------------------------------------------------------------


def plain_clips(world: World, count: int, split: str, motions: Sequence[str], seed: int) -> Iterator[Clip]:
    """`count` plain clips of pairs of concept and motion of one split, the motions in turn. ValueError for a small
    world."""
    return (plain_clip(world, seed + n * PLAIN_TRIES, split, motions[n % len(motions)]) for n in range(count))


def prompt_of(world: World, clip: Clip, seed: int) -> ClipPrompt:
    """The request of a true clip: its picture at rest and its caption."""
    return ClipPrompt(clip.caption(world, seed, "en"), clip.rest(world), clip.loop, clip.fps)


# --- Controls ---------------------------------------------------------------------------------------------------------


def still(prompts: Sequence[ClipPrompt]) -> np.ndarray:
    """The given pictures, which don't move."""
    return np.stack([np.repeat(given(prompt)[None], FRAMES, 0) for prompt in prompts])


def shuffled(clips: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The same frames in another order, another one for each clip."""
    rng = np.random.default_rng(0)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def warped(prompts: Sequence[ClipPrompt]) -> np.ndarray:
    """A control without a network: the whole picture, moved by the law of the motion that the text names."""
    clips = []
    for prompt in prompts:
        track = Track(0, SIZE, SIZE / 2, SIZE / 2, named_moves(prompt.text, prompt.loop)[0])
        times = np.arange(FRAMES) / (FRAMES if prompt.loop else FRAMES - 1)
        poses = pose(track.move, times, FRAMES / prompt.fps)
        clips.append(np.stack([posed(given(prompt), track, numbers) for numbers in poses]))
    return np.stack(clips)


def given(prompt: ClipPrompt) -> np.ndarray:
    assert prompt.picture is not None, "this control moves a given picture"
    return prompt.picture


# --- What is seen in a clip -------------------------------------------------------------------------------------------


def moments(clip: np.ndarray) -> np.ndarray:
    """A clip (T, H, W, 4) as (T, MOMENTS) numbers that describe how it moves, and little of what it shows.

    Mass, centre, spread and opacity of the alpha, and the centre of brightness; centres and sizes are relative to the
    first frame.
    """
    x, y, mass = centroids(clip)
    alpha, bright = clip[..., 3] / 255.0, clip[..., :3].mean(-1) / 255.0
    down, across = np.mgrid[: clip.shape[1], : clip.shape[2]].astype(np.float64)
    dx, dy = across - x[:, None, None], down - y[:, None, None]
    weight = alpha / np.maximum(alpha.sum((1, 2), keepdims=True), 1e-6)
    light = bright / np.maximum(bright.sum((1, 2), keepdims=True), 1e-6)
    spread = [(weight * part).sum((1, 2)) for part in (dx * dx, dy * dy, dx * dy)]
    offset = [(light * part).sum((1, 2)) for part in (dx, dy)]
    side = np.sqrt(max(spread[0][0] + spread[1][0], 1.0))
    size = [np.sign(part) * np.sqrt(np.abs(part)) / side for part in spread]
    share = mass / max(mass[0], mass.max() / 10, 1.0)
    numbers = [x / side, y / side, *(part / side for part in offset), *size, share, alpha.max((1, 2))]
    table = np.stack([*numbers, weight.max((1, 2)) * side * side], 1)
    return table - np.where(np.arange(MOMENTS) < 7, table[:1], 0)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference in [0, 1] of frames (..., H, W, 4)."""
    return np.abs(a.astype(np.float32) - b.astype(np.float32)).mean((-1, -2, -3)) / 255


def seam(clip: np.ndarray) -> float:
    """The step from the last frame of a clip (T, H, W, 4) to its first, over the median of the others."""
    steps = difference(clip[1:], clip[:-1])
    return float(difference(clip[-1], clip[0]) / max(np.median(steps), 1e-6))


def motion_classifier(clips: np.ndarray, kinds: np.ndarray, steps: int = 600) -> Callable[..., np.ndarray]:
    """A small network trained on `moments` (N, T, MOMENTS) of real clips and their kinds (N,) -> a function from
    moments (M, T, MOMENTS) to kinds (M,)."""
    torch.manual_seed(0)
    inputs, labels = torch.from_numpy(clips).float(), torch.from_numpy(kinds)
    mean, deviation = inputs.mean((0, 1)), inputs.std((0, 1)) + 1e-3
    network = _Kinds(clips.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (128,))
        logits = network((inputs[rows] - mean) / deviation)
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    return lambda others: network((torch.from_numpy(others).float() - mean) / deviation).argmax(1).numpy()


class _Kinds(nn.Module):
    """A classifier of moments: convolutions over time, pooled, beside the numbers themselves."""

    def __init__(self, frames: int, kinds: int, width: int = 64) -> None:
        super().__init__()
        sizes = (MOMENTS, width, width, width)
        layers = [nn.Sequential(nn.Conv1d(a, b, 3, padding=1), nn.SiLU()) for a, b in pairwise(sizes)]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(3 * width + frames * MOMENTS, 128), nn.SiLU(), nn.Linear(128, kinds)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolutions(x.transpose(1, 2))
        return self.head(torch.cat([maps.mean(2), maps.amax(2), maps.std(2), x.flatten(1)], 1))
