"""Clips: stickers and scenes moved by a table of motions, so that every pose is known exactly; and their captions.

`make_clip` draws the truth from a seed, `Clip.render` makes its frames, `Clip.caption` says it in words. At rest
a thing stands as it was drawn: that is the first frame, unless the motion begins elsewhere ("fades in").

A row of the table gives the words and the law of a motion. With the clip's time t running from 0 to 1 and
u = cycles x speed x t, a picture is moved, turned, scaled and faded by curve(u) times the row's amplitudes.

Shapes: T frames; pixels are premultiplied uint8 (T, 128, 128, 4); a pose is six numbers (`POSE`).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from models.data.captions import subject
from models.data.colours import ground, hue_shift
from models.data.grammar import CHINESE_SHARE, GROUNDS, LANGUAGES, Language, article, fit, spread_case, stream, style_of
from models.data.pixels import SIZE, put, resized
from models.data.scenes import HELD_OUT, TRIES, Background, Scene, make_scene, material
from models.data.world import Picture, World, held_out_split

Speed = Literal["slow", "normal", "fast"]
# ramp: u once and then still; cycle: u modulo 1; sine: sin(2 pi u); hop: |sin(pi u)|; swell: (1 - cos(2 pi u)) / 2;
# circle: the motion vector turned by 2 pi u.
Curve = Literal["ramp", "cycle", "sine", "hop", "swell", "circle"]


Ease = Literal["even", "soft", "late", "early"]
Direction = Literal["left", "right", "up", "down"]

FRAMES = 16
SECONDS = 2.0  # in which a motion's law runs once at normal speed
RATES = {8: 0.6, 6: 0.1, 12: 0.2, 16: 0.1}  # frames a second, and how often
FASTEST = 3.2  # frames a period takes at least: with fewer, what swings seems to stand still
KIND_WEIGHTS = {"one": 0.65, "two": 0.15, "scene": 0.2}
WHOLE_SHARE = 0.5  # of single things that fill the frame
GROUND_SHARE = 0.25  # of clips of one or two things
LOOP_SHARE = 0.5  # of motions that can
STRENGTHS = (0.6, 1.5)  # of the amplitudes, normal is 1
NORMAL_SHARE = 0.5  # of clips of normal strength
POSE = 6  # right and down (in sides of the thing), turn (radians, clockwise, after scaling), width, height, opacity
REST = np.array([0, 0, 0, 1, 1, 1], np.float32)
NO_GROUND = Background()
LEAST_WIDTH = 0.03  # of what is seen edge on
PLAIN_TRIES = 1000  # seeds looked at for a plain clip
_DIRECTIONS = {(0, -1): "left", (0, 1): "right", (1, -1): "up", (1, 1): "down"}
_AFFINE = Image.Transform.AFFINE


@dataclass(frozen=True)
class Motion:
    en: tuple[tuple[str, str], ...]  # (third person, participle): ("slides to the left", "sliding to the left")
    zh: tuple[str, ...]  # verbs
    curve: Curve  # how its phase runs
    move: tuple[float, float] = (0.0, 0.0)  # displacement (right, down) in sides of the picture, at curve value 1
    turn: float = 0.0  # degrees, clockwise
    scale: float = 0.0  # change of size; 0.2 is a fifth larger at curve value 1
    squash: float = 0.0  # change of height against width at equal area
    flip: float = 0.0  # half turns about the upright axis: the width is multiplied by its cosine
    opacity: float = 0.0  # change of opacity, added to 1 (or to 0 where it is positive)
    cycles: float = 1.0  # periods in one clip at normal speed
    loops: bool = True  # whether the last frame runs into the first


def _motion(en: str, zh: str, move: Sequence[float] = (0.0, 0.0), **law: Any) -> Motion:
    """A row of the file: `en` is "slides left/sliding left, ...", `zh` verbs with "，" between them."""
    pairs = tuple((verb, participle) for verb, _, participle in (pair.partition("/") for pair in en.split(", ")))
    return Motion(pairs, tuple(zh.split("，")), move=(move[0], move[1]), **law)


_TABLE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("motions.json").read_text(encoding="utf-8"))
# By language. a: subject with article, s: without; verb: "spins", ing: "spinning", both with their speed.
MOTION_TEMPLATES: dict[str, dict[str, Any]] = {language: _TABLE[language] for language in LANGUAGES}
# Words of prompts. heard: of captions' motions, and no caption has them; nearest: of other motions, and those that are
# drawn for them; typical: of things whose motion nobody names, and otherwise: of all others; names: of things, with a
# motion's words in them; nouns: no motions at all.
MOTION_WORDS: dict[str, Any] = _TABLE
MOTIONS = {name: _motion(**row) for name, row in _TABLE.pop("motions").items()}

SPEEDS: dict[Speed, float] = {"slow": 0.5, "normal": 1.0, "fast": 2.0}
STYLED_SHARE = 0.4


@dataclass(frozen=True)
class Move:
    """A motion with its settings: the key in MOTIONS, its speed, and whether the clip loops."""

    motion: str
    speed: Speed = "normal"
    loop: bool = False


def draw_move(seed: int) -> Move:
    """A motion drawn by seed, half of the time at normal speed; one that can loop does so half of the time."""
    rng = stream("move", seed)
    name = rng.choice(tuple(MOTIONS))
    speed = rng.choices(tuple(SPEEDS), (1, 2, 1))[0]
    return Move(name, speed, MOTIONS[name].loops and rng.random() < 0.5)


def motion_caption(
    thing: Picture | Scene, seed: int, language: Language | None = None, move: Move | None = None
) -> str:
    """What moves and how, in words; a caption names speed and loop where they are not the defaults.

    `seed` draws the wording, the language where it is None, and the motion where `move` is None (`draw_move`).
    """
    move = move or draw_move(seed)
    rng = stream("motion caption", thing.seed if isinstance(thing, Scene) else thing.id, seed)
    if language is None:
        language = "zh" if rng.random() < CHINESE_SHARE else "en"
    templates, other, row = MOTION_TEMPLATES[language], "", MOTIONS[move.motion]
    joint, stop = (", ", ".") if language == "en" else ("，", "。.")
    adverb = rng.choice(templates["speeds"][move.speed])
    if language == "en":
        verb, participle = (f"{form} {adverb}".strip() for form in rng.choice(row.en))
    else:
        verb = participle = adverb + rng.choice(row.zh)
    loop = rng.choice(templates["loop"])
    if isinstance(thing, Scene):
        scene = thing.caption(seed, language, "short").rstrip(stop)
        head = rng.choice(templates["scene"]).format(a=scene, s=scene, verb=verb, ing=participle)
    elif language == "en":
        s = subject(thing, rng, "en")
        head = rng.choice(templates["picture"]).format(s=s, a=article(s), verb=verb, ing=participle)
        other = f"{rng.choice(style_of(thing.style).en)} style" if rng.random() < STYLED_SHARE else ""
    else:
        template = rng.choice(templates["picture"])
        head = template.format(s=subject(thing, rng, "zh"), verb=verb)
        other = f"{rng.choice(style_of(thing.style).zh)}风格" if rng.random() < STYLED_SHARE else ""
    return spread_case(fit(head, (loop if move.loop else "", other), joint), rng, shout=False)


def motion_split(concept: str, motion: str) -> str:
    """Split of a pair of concept and motion, by hash. Training sees both, but together only pairs of "train"."""
    return held_out_split(HELD_OUT, "clip", concept, motion)


# --- The laws --------------------------------------------------------------------------------------------------------


def eased(t: np.ndarray, ease: Ease) -> np.ndarray:
    """Eased time in [0, 1]: even, soft at both ends, slow at first, or slow at last."""
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
    shift = value[:, None] * np.array(row.move)  # (T, 2)
    if row.curve == "circle":  # it starts at rest
        (x, y), cos, sin = row.move, np.cos(2 * np.pi * value), np.sin(2 * np.pi * value)
        shift = np.stack([x * (cos - 1) - y * sin, x * sin + y * (cos - 1)], 1)
    return np.column_stack([strength * shift, turn, across, down, opacity]).astype(np.float32)


def linear_map(numbers: np.ndarray) -> np.ndarray:
    """(2, 2) of a pose (POSE,): scaled, then turned; y is downwards. Never quite flat, so it has an inverse."""
    turn, width, height = numbers[2:5].astype(float)
    width = math.copysign(max(abs(width), LEAST_WIDTH), width)
    cos, sin = math.cos(turn), math.sin(turn)
    return np.array([[cos * width, -sin * height], [sin * width, cos * height]])


def direction_of(motion: str) -> Direction | None:
    """The direction that a motion leads to, None for a motion that stays in place."""
    row = MOTIONS[motion]
    axis = int(abs(row.move[1]) > abs(row.move[0]))
    if row.curve != "ramp" or not row.move[axis] or abs(row.move[axis]) < 2 * abs(row.move[1 - axis]):
        return None
    return _DIRECTIONS[axis, int(math.copysign(1, row.move[axis]))]  # type: ignore[return-value]


def centroids(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y (T,) in pixels of the alpha's centroid in a clip (T, H, W, 4), and the sum of alpha (T,)."""
    alpha = clip[..., 3].astype(np.float64)
    mass = alpha.sum((1, 2))
    total = np.maximum(mass, 1e-6)
    return alpha.sum(1) @ np.arange(alpha.shape[2]) / total, alpha.sum(2) @ np.arange(alpha.shape[1]) / total, mass


def direction_seen(clip: np.ndarray) -> str:
    """Direction in which the centroid of a clip (T, H, W, 4) moves, by its larger component; "" where it stays."""
    x, y, mass = centroids(clip)
    seen = np.flatnonzero(mass > 0.1 * mass[0])  # a thing that has left the frame has no centroid
    path = (x[seen[-1]] - x[0], y[seen[-1]] - y[0]) if len(seen) else (0.0, 0.0)
    axis = int(abs(path[1]) > abs(path[0]))
    return _DIRECTIONS[axis, int(np.sign(path[axis]))] if abs(path[axis]) >= 2 else ""


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
    scene: Scene | None = None  # whose objects all move alike; None for one or two things, each with its motion

    @property
    def seconds(self) -> float:
        return FRAMES / self.fps

    @property
    def direction(self) -> Direction | None:
        """The direction of all tracks, None where they have none or differ."""
        directions = {direction_of(track.move.motion) for track in self.tracks}
        return directions.pop() if len(directions) == 1 else None

    def poses(self, track: Track, frames: int = FRAMES) -> np.ndarray:
        """(T, POSE) of a track. A loop's frames divide its period; other clips end where the motion does."""
        times = np.arange(frames) / (frames if self.loop else max(frames - 1, 1))
        return pose(track.move, times, self.seconds, self.strength, self.ease)

    def render(self, world: World, frames: int = FRAMES, poses: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Premultiplied uint8 (T, 128, 128, 4). `world` must be the one that the clip was made from.

        `poses`, one (T, POSE) a track, take the place of the clip's own.
        """
        canvas = np.repeat(ground(self.background.colours)[None], frames, 0)
        for track, rows in zip(self.tracks, poses or [self.poses(t, frames) for t in self.tracks], strict=True):
            source = _source(world, track)
            for frame, row in zip(canvas, rows, strict=True):
                put(frame, posed(source, track, row), 0, 0)
        return canvas

    def rest(self, world: World) -> np.ndarray:
        """The start picture: every thing at rest, (128, 128, 4)."""
        canvas = ground(self.background.colours)
        for track in self.tracks:
            put(canvas, posed(_source(world, track), track, REST), 0, 0)
        return canvas

    def owners(self, world: World, cells: int) -> np.ndarray:
        """The motion of each cell of the picture at rest: 0 none, 1 the first, 2 the second; (cells, cells).

        On a background, a thing owns the cells that it covers; without one, the cells that are nearest to it.
        """
        middles = (np.arange(cells) + 0.5) * SIZE / cells
        owner = np.zeros((cells, cells), np.uint8)
        nearest = np.full((cells, cells), np.inf)
        for number, track in enumerate(self.tracks):
            away = np.hypot(middles[None] - track.x, middles[:, None] - track.y) / track.side
            if self.background.colours:
                alpha = posed(_source(world, track), track, REST)[..., 3].reshape(cells, SIZE // cells, cells, -1)
                away = np.where(alpha.mean((1, 3)) > 0.05 * 255, -float(number), np.inf)
            owner[away < nearest] = 1 if self.scene else number + 1
            nearest = np.minimum(away, nearest)
        return owner

    def caption(self, world: World, seed: int, language: Language | None = None) -> str:
        """The clip in words; another seed, another wording."""
        things = [world.pictures[track.picture] for track in self.tracks]
        if self.scene or len(things) == 1:
            return motion_caption(self.scene or things[0], seed, language, replace(self.tracks[0].move, loop=self.loop))
        rng = stream("clip caption", self.seed, seed)
        if language is None:
            language = "zh" if rng.random() < CHINESE_SHARE else "en"
        clauses = []  # "a cat spins", "a dog jumps"
        for thing, track in zip(things, self.tracks, strict=True):
            row, speeds = MOTIONS[track.move.motion], MOTION_TEMPLATES[language]["speeds"][track.move.speed]
            if language == "zh":
                clauses.append(subject(thing, rng, "zh") + rng.choice(speeds) + rng.choice(row.zh))
            else:
                noun, verb = article(subject(thing, rng, "en")), rng.choice(row.en)[0]
                clauses.append(f"{noun} {verb} {rng.choice(speeds)}".strip())
        return spread_case(("，" if language == "zh" else " and ").join(clauses), rng, shout=False)


def _source(world: World, track: Track) -> np.ndarray:
    """The picture of a track in its size and colour, premultiplied uint8 (side, side, 4)."""
    picture = resized(world.pixels[track.picture], track.side, track.side)
    return hue_shift(picture, track.colour) if track.colour else picture


def posed(source: np.ndarray, track: Track, numbers: np.ndarray) -> np.ndarray:
    """One thing in one pose, premultiplied uint8 (128, 128, 4)."""
    back, middle = np.linalg.inv(linear_map(numbers)), track.side / 2
    centre = np.array([track.x, track.y]) + track.side * numbers[:2]
    shift = middle - back @ centre
    image = Image.frombuffer("RGBa", source.shape[1::-1], np.ascontiguousarray(source), "raw", "RGBa", 0, 1)
    matrix = (*back[0], shift[0], *back[1], shift[1])
    moved = np.asarray(image.transform((SIZE, SIZE), _AFFINE, matrix, Image.Resampling.BICUBIC)).astype(np.float32)
    moved *= float(np.clip(numbers[-1], 0, 1))
    moved[..., :3] = np.minimum(moved[..., :3], moved[..., 3:])  # a bicubic edge rings past alpha
    return np.round(moved).astype(np.uint8)


# --- Random clips ----------------------------------------------------------------------------------------------------


def make_clip(world: World, seed: int, split: str = "train", motion: str = "") -> Clip:
    """Draw a clip of training pictures: the same world and arguments give the same one.

    Args:
        split: "train", "val" or "test": whose pairs of concept and motion (`motion_split`) it shows.
        motion: what a single thing is to do; a clip of one thing then. "" draws it.
    """
    rng = stream("clip", split, "train", motion, seed)
    kind = "one" if motion else rng.choices(tuple(KIND_WEIGHTS), tuple(KIND_WEIGHTS.values()))[0]
    fps = rng.choices(tuple(RATES), tuple(RATES.values()))[0]
    strength = 1.0 if rng.random() < NORMAL_SHARE else math.exp(rng.uniform(*map(math.log, STRENGTHS)))
    base = Clip(seed, split, (), fps=fps, strength=strength, loop=rng.random() < LOOP_SHARE)
    for _ in range(TRIES):
        clip = _single(world, base, rng, motion) if kind == "one" else _MAKERS[kind](world, base, rng)
        splits = {motion_split(world.pictures[track.picture].concept, track.move.motion) for track in clip.tracks}
        if split in splits and splits <= {split, "train"}:  # one held-out pair makes a held-out clip
            rows = [MOTIONS[track.move.motion] for track in clip.tracks]
            loop = clip.loop and all(row.loops for row in rows)
            ramps = all(row.curve == "ramp" for row in rows)
            ease: Ease = rng.choices(get_args(Ease), (5, 3, 1, 1))[0] if ramps else "even"
            tracks = tuple(replace(track, move=replace(track.move, loop=loop)) for track in clip.tracks)
            return replace(clip, tracks=tracks, loop=loop, ease=ease)
    raise ValueError(f"no clip of split {split!r} of {kind} after {TRIES} draws; use a larger world")


def plain_clip(world: World, seed: int, split: str, motion: str) -> Clip:
    """The first clip from `seed` on of a single thing without background, at normal strength and at most 8 frames a
    second, so that its motion is visible. ValueError as in `make_clip`."""
    drawn = (make_clip(world, seed + n, split, motion=motion) for n in range(PLAIN_TRIES))
    return next(clip for clip in drawn if not clip.background.colours and clip.strength == 1 and clip.fps <= 8)


def _move(rng: random.Random, names: tuple[str, ...] = tuple(MOTIONS)) -> Move:
    return Move(rng.choice(names), rng.choices(tuple(SPEEDS), (1, 2, 1))[0])


def _single(world: World, base: Clip, rng: random.Random, motion: str) -> Clip:
    """A sticker, as large as it was drawn or smaller."""
    shown = rng.choice(world.split("train"))
    move = _move(rng, (motion,) if motion else tuple(MOTIONS))
    side = SIZE if rng.random() < WHOLE_SHARE else rng.randint(60, 104)
    clip = replace(base, tracks=(Track(shown.index, side, SIZE / 2, SIZE / 2, move),))
    if side < SIZE:  # its path stays in the frame; a longer path is centred
        path = side * clip.poses(clip.tracks[0])[:, :2]
        low, high = side / 2 - path.min(0), SIZE - side / 2 - path.max(0)
        x, y = (rng.uniform(a, b) if a <= b else (a + b) / 2 for a, b in zip(low, high, strict=True))
        clip = replace(clip, tracks=(replace(clip.tracks[0], x=x, y=y),))
    return replace(clip, background=_random_background(shown.colours, rng))


def _pair(world: World, base: Clip, rng: random.Random) -> Clip:
    """Two things side by side, each with a motion of its own."""
    stock = material(world, "train")
    shown = [rng.choice(stock.by_concept[concept]) for concept in rng.sample(stock.concepts, 2)]
    sides = [rng.randint(48, 62) for _ in shown]
    middle, order = SIZE / 2 + rng.uniform(-14, 14), rng.sample((0.25, 0.75), 2)
    tracks = tuple(
        Track(picture.index, side, SIZE * at + rng.uniform(-2, 2), middle, _move(rng))
        for picture, side, at in zip(shown, sides, order, strict=True)
    )
    return replace(base, tracks=tracks, background=_random_background(shown[0].colours + shown[1].colours, rng))


def _whole_scene(world: World, base: Clip, rng: random.Random) -> Clip:
    """A scene whose objects move together."""
    scene = make_scene(world, rng.randrange(2**31))
    move = _move(rng, _MOVED_WHOLE)
    tracks = tuple(
        Track(o.picture, o.box[2], o.box[0] + o.box[2] / 2, o.box[1] + o.box[3] / 2, move, o.colour)
        for o in sorted(scene.objects, key=lambda item: item.z)
    )
    return replace(base, tracks=tracks, background=scene.background, scene=scene)


_MAKERS = {"two": _pair, "scene": _whole_scene}
# Motions of a whole scene: they shift things or change their opacity.
_MOVED_WHOLE = tuple(name for name, row in MOTIONS.items() if not (row.turn or row.scale or row.squash or row.flip))


def _random_background(taken: tuple[str, ...], rng: random.Random) -> Background:
    """Mostly none; otherwise a plain colour or a gradient without the colours `taken` by things."""
    free = [name for name in GROUNDS if name not in taken]
    count = rng.choice((1, 1, 2))
    return Background(tuple(rng.sample(free, count)) if rng.random() < GROUND_SHARE and len(free) >= count else ())
