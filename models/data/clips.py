"""Clips: stickers and scenes moved by the laws of `models.data.motion`, so that every pose is known exactly.

`make_clip` draws the truth from a seed, `Clip.render` makes its frames, `Clip.caption` says it in words. At rest
a thing stands as it was drawn: that is the first frame, unless the motion begins elsewhere ("fades in").

Shapes: T frames; pixels are premultiplied uint8 (T, 128, 128, 4); a pose is seven numbers (`pose`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image

from models.data.captions import subject
from models.data.colours import ground, hue_shift
from models.data.grammar import CHINESE_SHARE, GROUNDS, Language, article, spread_case, stream
from models.data.motion import EN, MOTIONS, SPEEDS, ZH, Motion, Move, Speed, motion_caption
from models.data.pixels import SIZE, put, resized
from models.data.scenes import HELD_OUT, SCENE_SPLITS, Background, Material, Scene, make_scene, material
from models.data.splits import held_out_split
from models.data.world import Picture, World

FRAMES = 16
SECONDS = 2.0  # in which a motion's law runs once at normal speed
RATES = {8: 0.6, 6: 0.1, 12: 0.2, 16: 0.1}  # frames a second, and how often
FASTEST = 3.2  # frames a period takes at least: with fewer, what swings seems to stand still
KIND_WEIGHTS = {"one": 0.65, "two": 0.15, "scene": 0.2}
WHOLE_SHARE = 0.5  # of single things that fill the frame, as a picture does that somebody wants to see moving
GROUND_SHARE = 0.25  # of clips of one or two things
LOOP_SHARE = 0.5  # of motions that can
STRENGTHS = (0.6, 1.5)  # of the amplitudes, normal is 1
NORMAL_SHARE = 0.5  # of clips of normal strength
POSE = 6  # right and down (in sides of the thing), turn (radians, clockwise, after scaling), width, height, opacity
REST = np.array([0, 0, 0, 1, 1, 1], np.float32)
NO_GROUND = Background()
LEAST_WIDTH = 0.03  # of what is seen edge on
_TRIES = 200
PLAIN_TRIES = 1000  # seeds looked at for a plain clip
_DIRECTIONS = {(0, -1): "left", (0, 1): "right", (1, -1): "up", (1, 1): "down"}
_AFFINE = Image.Transform.AFFINE

Ease = Literal["even", "soft", "late", "early"]
Direction = Literal["left", "right", "up", "down"]


def motion_split(concept: str, motion: str) -> str:
    """Split of a concept in a motion, by hash: both were seen in training, together only those of "train"."""
    return held_out_split(HELD_OUT, "clip", concept, motion)


# --- The laws --------------------------------------------------------------------------------------------------------


def eased(t: np.ndarray, ease: Ease) -> np.ndarray:
    """Time in [0, 1] as it is felt: even, soft at both ends, slow at first, or slow at last."""
    return {"even": t, "soft": t * t * (3 - 2 * t), "late": t * t, "early": t * (2 - t)}[ease]


def phase(row: Motion, speed: Speed, loop: bool, seconds: float) -> float:
    """u at the end of a clip, in periods; a whole number of them where it loops, and none faster than FASTEST."""
    end = row.cycles * SPEEDS[speed] * seconds / SECONDS
    if row.curve == "ramp":
        return end
    end = min(end, FRAMES / FASTEST)
    return max(1.0, round(end)) if loop else end


def pose(move: Move, times: np.ndarray, seconds: float, strength: float = 1.0, ease: Ease = "even") -> np.ndarray:
    """Poses (T, POSE) of a motion at `times` in [0, 1] of a clip.

    Displacement, width and height are in sides of the thing, the turn is about its middle, and whole turns count on.
    `strength` multiplies all amplitudes but those of whole turns.
    """
    row = MOTIONS[move.motion]
    u = phase(row, move.speed, move.loop, seconds) * eased(times, ease)
    value = {
        "ramp": np.minimum(u, 1.0), "cycle": u, "sine": np.sin(2 * np.pi * u), "hop": np.abs(np.sin(np.pi * u)),
        "swell": (1 - np.cos(2 * np.pi * u)) / 2, "circle": u,
    }[row.curve]  # fmt: skip
    whole = row.curve == "cycle" or abs(row.turn) >= 360
    turn = np.radians(row.turn * value) * (1.0 if whole else strength)
    scale = np.maximum(1 + row.scale * strength * value, 0.15)
    ratio = np.sqrt(1 + row.squash * strength * value)
    across, down = scale / ratio * np.cos(np.pi * row.flip * value), scale * ratio
    opacity = (0.0 if row.opacity > 0 else 1.0) + row.opacity * value
    return np.column_stack([strength * _displacement(row, value), turn, across, down, opacity]).astype(np.float32)


def _displacement(row: Motion, value: np.ndarray) -> np.ndarray:
    """(T, 2). What circles starts from where it rests."""
    if row.curve != "circle":
        return value[:, None] * np.array(row.move)
    cos, sin = np.cos(2 * np.pi * value), np.sin(2 * np.pi * value)
    x, y = row.move
    return np.stack([x * (cos - 1) - y * sin, x * sin + y * (cos - 1)], 1)


def linear_map(numbers: np.ndarray) -> np.ndarray:
    """(2, 2) of a pose (POSE,): scaled, then turned; y is downwards. Never quite flat, so it has an inverse."""
    turn, width, height = numbers[2:5].astype(float)
    width = math.copysign(max(abs(width), LEAST_WIDTH), width)
    cos, sin = math.cos(turn), math.sin(turn)
    return np.array([[cos * width, -sin * height], [sin * width, cos * height]])


def direction_of(motion: str) -> Direction | None:
    """Where a motion leads to, if it does."""
    row = MOTIONS[motion]
    axis = int(abs(row.move[1]) > abs(row.move[0]))
    if row.curve != "ramp" or not row.move[axis] or abs(row.move[axis]) < 2 * abs(row.move[1 - axis]):
        return None
    return _DIRECTIONS[axis, int(math.copysign(1, row.move[axis]))]  # type: ignore[return-value]


def centroids(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y (T,) in pixels of the middle of the alpha of a clip (T, H, W, 4), and how much alpha there is."""
    alpha = clip[..., 3].astype(np.float64)
    mass = alpha.sum((1, 2))
    total = np.maximum(mass, 1e-6)
    return alpha.sum(1) @ np.arange(alpha.shape[2]) / total, alpha.sum(2) @ np.arange(alpha.shape[1]) / total, mass


def direction_seen(clip: np.ndarray) -> str:
    """Where a clip (T, H, W, 4) goes: the larger component of the way of its middle, "" where it stays."""
    x, y, mass = centroids(clip)
    seen = np.flatnonzero(mass > 0.1 * mass[0])  # what has left the frame has no middle
    way = (x[seen[-1]] - x[0], y[seen[-1]] - y[0]) if len(seen) else (0.0, 0.0)
    axis = int(abs(way[1]) > abs(way[0]))
    return _DIRECTIONS[axis, int(np.sign(way[axis]))] if abs(way[axis]) >= 2 else ""


# --- A clip ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Track:
    """One thing of a clip and how it moves."""

    picture: int  # row in the world
    side: int  # of the thing at rest, in pixels
    x: float  # its middle
    y: float
    move: Move
    colour: str | None = None  # what it is painted with, None where it keeps its own colours


@dataclass(frozen=True)
class Clip:
    """The exact truth of a clip."""

    seed: int
    split: str  # whose pairs of concept and motion it shows
    tracks: tuple[Track, ...]  # the things, nearest last
    background: Background = NO_GROUND
    fps: int = 8  # frames a second; with FRAMES of them a clip lasts FRAMES / fps
    strength: float = 1.0  # of the amplitudes
    ease: Ease = "even"
    loop: bool = False  # whether the last frame runs into the first
    scene: Scene | None = None  # whose objects move, all in one way; None for one or two things with own motions

    @property
    def seconds(self) -> float:
        return FRAMES / self.fps

    @property
    def direction(self) -> Direction | None:
        """Where all of it goes, None where it goes nowhere or several ways."""
        found = {direction_of(track.move.motion) for track in self.tracks}
        return found.pop() if len(found) == 1 else None

    def poses(self, track: Track, frames: int = FRAMES) -> np.ndarray:
        """(T, POSE) of a track. A loop's frames divide its period; other clips end where the motion does."""
        times = np.arange(frames) / (frames if self.loop else max(frames - 1, 1))
        return pose(track.move, times, self.seconds, self.strength, self.ease)

    def render(self, world: World, frames: int = FRAMES, poses: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Premultiplied uint8 (T, 128, 128, 4). `world` must be the one that the clip was made from.

        `poses`, one (T, POSE) a track, take the place of the clip's own.
        """
        canvas = np.repeat(ground(self.background.colours)[None], frames, 0)
        for track, own in zip(self.tracks, poses or [self.poses(t, frames) for t in self.tracks], strict=True):
            source = _source(world, track)
            for frame, numbers in zip(canvas, own, strict=True):
                put(frame, posed(source, track, numbers), 0, 0)
        return canvas

    def rest(self, world: World) -> np.ndarray:
        """The picture that is given: everything as it stands before it moves, (128, 128, 4)."""
        canvas = ground(self.background.colours)
        for track in self.tracks:
            put(canvas, posed(_source(world, track), track, REST), 0, 0)
        return canvas

    def owners(self, world: World, cells: int) -> np.ndarray:
        """Which motion each cell of the picture at rest has: 0 none, 1 the first one, 2 the second; (cells, cells).

        On a ground those are the cells that things cover; where nothing is behind them, the cells nearest to them.
        """
        middles = (np.arange(cells) + 0.5) * SIZE / cells
        owner = np.zeros((cells, cells), np.uint8)
        nearest = np.full((cells, cells), np.inf)
        for number, track in enumerate(self.tracks):
            away = np.hypot(middles[None] - track.x, middles[:, None] - track.y) / track.side
            if self.background.colours:
                alpha = posed(_source(world, track), track, REST)[..., 3].reshape(cells, SIZE // cells, cells, -1)
                away = np.where(alpha.mean((1, 3)) > 0.05 * 255, -float(number), np.inf)
            own = away < nearest
            owner[own], nearest = 1 if self.scene else number + 1, np.minimum(away, nearest)
        return owner

    def caption(self, world: World, seed: int, language: Language | None = None) -> str:
        """The clip in words; another seed, another wording."""
        things = [world.pictures[track.picture] for track in self.tracks]
        move = replace(self.tracks[0].move, loop=self.loop)
        if self.scene or len(things) == 1:
            return motion_caption(self.scene or things[0], seed, language, move)
        rng = stream("clip caption", self.seed, seed)
        chinese = rng.random() < CHINESE_SHARE if language is None else language == "zh"
        return spread_case(_together(things, self.tracks, rng, chinese), rng, shout=False)


def _together(things: list[Picture], tracks: tuple[Track, ...], rng: random.Random, chinese: bool) -> str:
    """Two things, each with its own motion: "a cat spins and a dog jumps"."""
    if chinese:
        return "，".join(
            subject(thing, rng, "zh") + rng.choice(ZH["speeds"][track.move.speed])
            + rng.choice(MOTIONS[track.move.motion].zh)
            for thing, track in zip(things, tracks, strict=True)
        )  # fmt: skip
    return " and ".join(
        f"{article(subject(thing, rng, 'en'))} {rng.choice(MOTIONS[track.move.motion].en)[0]} "
        f"{rng.choice(EN['speeds'][track.move.speed])}".strip()
        for thing, track in zip(things, tracks, strict=True)
    )


def _source(world: World, track: Track) -> np.ndarray:
    """The thing of a track in its size and colour, premultiplied uint8 (side, side, 4)."""
    picture = resized(world.pixels[track.picture], track.side, track.side)
    return hue_shift(picture, track.colour) if track.colour else picture


def posed(source: np.ndarray, track: Track, numbers: np.ndarray) -> np.ndarray:
    """The thing alone in one pose, premultiplied uint8 (128, 128, 4)."""
    back, middle = np.linalg.inv(linear_map(numbers)), track.side / 2
    centre = np.array([track.x, track.y]) + track.side * numbers[:2]
    shift = middle - back @ centre
    image = Image.frombuffer("RGBa", source.shape[1::-1], np.ascontiguousarray(source), "raw", "RGBa", 0, 1)
    matrix = (*back[0], shift[0], *back[1], shift[1])
    moved = np.asarray(image.transform((SIZE, SIZE), _AFFINE, matrix, Image.Resampling.BICUBIC)).astype(np.float32)
    moved *= float(np.clip(numbers[-1], 0, 1))
    moved[..., :3] = np.minimum(moved[..., :3], moved[..., 3:])  # a bicubic edge rings past alpha
    return np.round(moved).astype(np.uint8)


# --- Drawing one by seed ---------------------------------------------------------------------------------------------


def make_clip(world: World, seed: int, split: str = "train", motion: str = "") -> Clip:
    """Draw a clip of training pictures: the same world and arguments give the same one.

    Args:
        split: "train", "val" or "test": whose pairs of concept and motion (`motion_split`) it shows.
        motion: what a single thing is to do; a clip of one thing then. "" draws it.
    """
    if split not in SCENE_SPLITS:
        raise ValueError(f"unknown clip split {split!r}; there are {', '.join(SCENE_SPLITS)}")
    rng = stream("clip", split, "train", motion, seed)
    kind = "one" if motion else rng.choices(tuple(KIND_WEIGHTS), tuple(KIND_WEIGHTS.values()))[0]
    fps = rng.choices(tuple(RATES), tuple(RATES.values()))[0]
    strength = 1.0 if rng.random() < NORMAL_SHARE else math.exp(rng.uniform(*map(math.log, STRENGTHS)))
    base = Clip(seed, split, (), fps=fps, strength=strength, loop=rng.random() < LOOP_SHARE)
    for _ in range(_TRIES):
        drawn = _MAKERS[kind](world, base, rng, motion)
        if drawn and _in_split(world, drawn):
            return _finished(drawn, rng)
    raise ValueError(f"no clip of split {split!r} of {kind} after {_TRIES} draws; use a larger world")


def plain_clip(world: World, seed: int, split: str, motion: str) -> Clip:
    """The first from `seed` on of one thing on nothing, of normal strength and at most 8 frames a second, so that its
    motion is seen. ValueError as in `make_clip`."""
    drawn = (make_clip(world, seed + n, split, motion=motion) for n in range(PLAIN_TRIES))
    return next(clip for clip in drawn if not clip.background.colours and clip.strength == 1 and clip.fps <= 8)


def _in_split(world: World, clip: Clip) -> bool:
    """Whether every pair is of the clip's split; for a held-out one it is enough that one is, and the rest is seen."""
    splits = {motion_split(world.pictures[track.picture].concept, track.move.motion) for track in clip.tracks}
    return clip.split in splits and splits <= {clip.split, "train"}


def _finished(clip: Clip, rng: random.Random) -> Clip:
    """With the easing drawn, and a loop only where all of it can."""
    rows = [MOTIONS[track.move.motion] for track in clip.tracks]
    loop = clip.loop and all(row.loops for row in rows)
    ease: Ease = rng.choices(get_args(Ease), (5, 3, 1, 1))[0] if all(row.curve == "ramp" for row in rows) else "even"
    tracks = tuple(replace(track, move=replace(track.move, loop=loop)) for track in clip.tracks)
    return replace(clip, tracks=tracks, loop=loop, ease=ease)


def _move(rng: random.Random, names: tuple[str, ...] = tuple(MOTIONS)) -> Move:
    return Move(rng.choice(names), rng.choices(tuple(SPEEDS), (1, 2, 1))[0])


def _one(world: World, base: Clip, rng: random.Random, motion: str) -> Clip:
    """A sticker, as large as it was drawn or smaller."""
    shown = rng.choice(world.split("train"))
    move = _move(rng, (motion,) if motion else tuple(MOTIONS))
    side = SIZE if rng.random() < WHOLE_SHARE else rng.randint(60, 104)
    clip = replace(base, tracks=(Track(shown.index, side, SIZE / 2, SIZE / 2, move),))
    if side < SIZE:
        x, y = _place(clip, rng)
        clip = replace(clip, tracks=(replace(clip.tracks[0], x=x, y=y),))
    return replace(clip, background=_ground(shown.colours, rng))


def _place(clip: Clip, rng: random.Random) -> tuple[float, float]:
    """Where a thing starts so that it stays in the frame on its way; where it can't, its way is in the middle."""
    track = clip.tracks[0]
    way = track.side * clip.poses(track)[:, :2]
    low, high = track.side / 2 - way.min(0), SIZE - track.side / 2 - way.max(0)
    x, y = (rng.uniform(a, b) if a <= b else (a + b) / 2 for a, b in zip(low, high, strict=True))
    return x, y


def _two(world: World, base: Clip, rng: random.Random, motion: str) -> Clip:
    """Two things side by side, each with a motion of its own."""
    stock: Material = material(world, "train")
    shown = [rng.choice(stock.by_concept[concept]) for concept in rng.sample(stock.concepts, 2)]
    sides = [rng.randint(48, 62) for _ in shown]
    middle, order = SIZE / 2 + rng.uniform(-14, 14), rng.sample((0.25, 0.75), 2)
    tracks = tuple(
        Track(picture.index, side, SIZE * at + rng.uniform(-2, 2), middle, _move(rng))
        for picture, side, at in zip(shown, sides, order, strict=True)
    )
    taken = shown[0].colours + shown[1].colours
    return replace(base, tracks=tracks, background=_ground(taken, rng))


def _scene(world: World, base: Clip, rng: random.Random, motion: str) -> Clip:
    """A scene whose objects move together."""
    scene = make_scene(world, rng.randrange(2**31))
    move = _move(rng, _MOVED_WHOLE)
    tracks = tuple(
        Track(o.picture, o.box[2], o.box[0] + o.box[2] / 2, o.box[1] + o.box[3] / 2, move, o.colour)
        for o in sorted(scene.objects, key=lambda item: item.z)
    )
    return replace(base, tracks=tracks, background=scene.background, scene=scene)


_MAKERS = {"one": _one, "two": _two, "scene": _scene}
# Motions that shift things or change their opacity: a scene does them as one.
_MOVED_WHOLE = tuple(name for name, row in MOTIONS.items() if not (row.turn or row.scale or row.squash or row.flip))


def _ground(taken: tuple[str, ...], rng: random.Random) -> Background:
    """Mostly none; else a plain colour or a gradient that hides nothing."""
    free = [name for name in GROUNDS if name not in taken]
    count = rng.choice((1, 1, 2))
    return Background(tuple(rng.sample(free, count)) if rng.random() < GROUND_SHARE and len(free) >= count else ())
