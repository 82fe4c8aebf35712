"""Clips of held-out pairs of concept and motion, from the picture at rest and a caption, beside their controls.

A still clip has the best consistency, a shuffled one the best pictures, and code that moves the whole picture the best
sharpness: no figure means anything without what these get. "Apart" are frames of the same generator that don't see each
other.

Shapes: N clips of T frames, premultiplied uint8 (N, T, 128, 128, 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval import sets
from eval.clips import (
    DIRECTED,
    ClipPrompt,
    difference,
    moments,
    motion_classifier,
    plain_clips,
    prompt_of,
    seam,
    shuffled,
    still,
    warped,
)
from eval.context import Context
from eval.generator import SPACE
from eval.metrics.image import NEIGHBOURS, psnr_on_white
from eval.neighbours import concept_matches, cosine, expected_recall, nearest, places, same
from eval.rows import SEED, Row, beside, mean_row, missing_where, share_row
from eval.statistics import kernel_distance
from models.data.captions import display_name
from models.data.clips import FRAMES, MOTIONS, Clip, direction_seen
from models.data.stored import stored
from models.space import MOTION

KINDS = tuple(MOTIONS)
TRAIN_SEED = 10**9  # of the real clips that the classifier learns from
LEARNT = 60  # real clips a kind
ALIVE = ("pulse", "swing", "bounce")  # motions that keep a thing where it is, of clips from words alone
K = 10


@dataclass(frozen=True)
class ClipSet:
    """True clips, their prompts, and clips of each source by its name."""

    clips: list[Clip]
    prompts: list[ClipPrompt]
    sources: dict[str, np.ndarray]


def clip_rows(context: Context) -> Iterator[Row]:
    """Direction, kind, given picture, consistency, loops, and the distance from real clips."""
    directed = _clip_set(context, DIRECTED, SEED)
    if context.can("drafts"):
        directed.sources["without a draft"] = context.generate(directed.prompts, drafted=False)
    yield _direction(context, directed)
    every = _clip_set(context, KINDS, 2 * SEED)
    if context.can("drafts"):
        every.sources["apart"] = context.generate(every.prompts, apart=True)
    yield _kind(context, every)
    yield _given(context, every)
    yield from _consistency(context, every)
    yield _loops(context, every)
    yield _distance(context, every)
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


def _consistency(context: Context, clips: ClipSet) -> Iterator[Row]:
    """What changes from frame to frame that should not: what is shown, and what lies between neighbours."""
    features = {name: _features(context, frames) for name, frames in clips.sources.items()}
    drift = {name: _unlike(values[:, 1:], values[:, :-1]) for name, values in features.items()}
    far = {name: _unlike(values[:, -1:], values[:, :1]) for name, values in features.items()}
    between = {name: _between(frames) for name, frames in clips.sources.items()}
    for name, values in {
        "drift of EffLite0 features from frame to frame": drift,
        "the same from the first frame to the last": far,
        "frames against the mean of their neighbours": between,
    }.items():
        yield mean_row(name, values[""], against=beside(values), lower_is_better=True, **context.origin())


def _features(context: Context, clips: np.ndarray) -> np.ndarray:
    """(N, T, 1280)."""
    return context.features(clips.reshape(-1, *clips.shape[2:])).reshape(*clips.shape[:2], -1)


def _unlike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - cosine of features (N, T, D), its mean over the frames (N,)."""
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (1 - (a * b).sum(-1) / np.maximum(norms, 1e-9)).mean(-1)


def _between(clips: np.ndarray) -> np.ndarray:
    """Mean absolute difference (N,) of frames from the mean of their neighbours."""
    values = clips.astype(np.float32)
    return np.array([difference(one[1:-1], (one[2:] + one[:-2]) / 2).mean() for one in values])


def _loops(context: Context, clips: ClipSet) -> Row:
    looping = [number for number, clip in enumerate(clips.clips) if clip.loop]
    steps = {name: np.array([seam(frames[number]) for number in looping]) for name, frames in clips.sources.items()}
    against = tuple((name, float(np.median(values))) for name, values in steps.items() if name in ("real", "shuffled"))
    ends = np.median(steps[""])
    return Row(
        "loops: the step from the last frame to the first over those beside it", float(ends), len(looping),
        against=against, goal=1.1, lower_is_better=True, note="median of the clips", **context.origin(),
    )  # fmt: skip


def _distance(context: Context, clips: ClipSet) -> Row:
    """Of mean, spread and steps of the frames' features, from real clips of other things that move alike."""
    other = plain_clips(context.world, len(clips.clips), "train", KINDS, 3 * SEED)
    real = _video_features(context, np.stack([clip.render(context.world) for clip in other]))
    distances = {
        name: 1000 * kernel_distance(_video_features(context, frames), real, seed=SEED)[0]
        for name, frames in clips.sources.items()
    }
    name = "KID-Video-EffLite0 x 1000"
    return Row(
        name, distances[""], len(clips.clips), against=beside(distances), lower_is_better=True, **context.origin()
    )


def _video_features(context: Context, clips: np.ndarray) -> np.ndarray:
    """(N, 3840)."""
    features = _features(context, clips)
    return np.concatenate([features.mean(1), features.std(1), np.abs(np.diff(features, axis=1)).mean(1)], 1)


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
