"""Motions as a table, and captions of things that move.

A row gives both the words and the law of the motion. With the clip's time t running from 0 to 1 and
u = cycles x speed x t, a picture is moved, turned, scaled and faded by curve(u) times the row's amplitudes.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.data.captions import subject
from models.data.grammar import CHINESE_SHARE, LANGUAGES, Language, article, fit, spread_case, stream
from models.data.scenes import Scene
from models.data.styles import style_of
from models.data.world import Picture

Speed = Literal["slow", "normal", "fast"]
# ramp: u once and then still; cycle: u modulo 1; sine: sin(2 pi u); hop: |sin(pi u)|; swell: (1 - cos(2 pi u)) / 2;
# circle: the motion vector turned by 2 pi u.
Curve = Literal["ramp", "cycle", "sine", "hop", "swell", "circle"]


@dataclass(frozen=True)
class Motion:
    """One motion."""

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


# Templates. a: subject with article, s: without; verb: "spins", ing: "spinning", both with their speed.
_TABLE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("motions.json").read_text(encoding="utf-8"))
# Heard: what people say and no caption does, for motions that it means.
EN, ZH, HEARD = _TABLE["en"], _TABLE["zh"], _TABLE["heard"]
MOTIONS = {name: _motion(**row) for name, row in _TABLE.pop("motions").items()}

SPEEDS: dict[Speed, float] = {"slow": 0.5, "normal": 1.0, "fast": 2.0}
STYLED_SHARE = 0.4


@dataclass(frozen=True)
class Move:
    """A motion as it is performed: the key into MOTIONS, its speed, and whether the clip is made to loop."""

    motion: str
    speed: Speed = "normal"
    loop: bool = False


def draw_move(seed: int) -> Move:
    """A motion drawn by seed: half of them at normal speed; one that can loop does so half of the time."""
    rng = stream("move", seed)
    name = rng.choice(tuple(MOTIONS))
    speed = rng.choices(tuple(SPEEDS), (1, 2, 1))[0]
    return Move(name, speed, MOTIONS[name].loops and rng.random() < 0.5)


def motion_caption(
    thing: Picture | Scene, seed: int, language: Language | None = None, move: Move | None = None
) -> str:
    """What moves and how, in words; speed and loop are said where they are not the plain ones.

    Args:
        thing: the picture or scene that moves.
        seed: draws the wording, and the motion where none is given.
        language: None lets the seed choose.
        move: what is performed; `draw_move(seed)` by default.
    """
    move = move or draw_move(seed)
    if move.motion not in MOTIONS:
        raise ValueError(f"unknown motion {move.motion!r}; there are {', '.join(MOTIONS)}")
    rng = stream("motion caption", thing.seed if isinstance(thing, Scene) else thing.id, seed)
    if language is None:
        language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if language not in LANGUAGES:
        raise ValueError(f"no captions in {language!r}; there are {', '.join(LANGUAGES)}")
    write = _english if language == "en" else _chinese
    head, loop_words, style, joint = write(thing, rng, seed, move)
    return spread_case(fit(head, (loop_words if move.loop else "", style), joint), rng, shout=False)


def _english(thing: Picture | Scene, rng: random.Random, seed: int, move: Move) -> tuple[str, str, str, str]:
    adverb = rng.choice(EN["speeds"][move.speed])
    verb, participle = (f"{form} {adverb}".strip() for form in rng.choice(MOTIONS[move.motion].en))
    loop = rng.choice(EN["loop"])
    if isinstance(thing, Scene):
        scene = thing.caption(seed, "en", "short").rstrip(".")
        return rng.choice(EN["scene"]).format(a=scene, ing=participle), loop, "", ", "
    s = subject(thing, rng, "en")
    head = rng.choice(EN["picture"]).format(s=s, a=article(s), verb=verb, ing=participle)
    style = f"{rng.choice(style_of(thing.style).en)} style" if rng.random() < STYLED_SHARE else ""
    return head, loop, style, ", "


def _chinese(thing: Picture | Scene, rng: random.Random, seed: int, move: Move) -> tuple[str, str, str, str]:
    verb = rng.choice(ZH["speeds"][move.speed]) + rng.choice(MOTIONS[move.motion].zh)
    loop = rng.choice(ZH["loop"])
    if isinstance(thing, Scene):
        scene = thing.caption(seed, "zh", "short").rstrip("。.")
        return rng.choice(ZH["scene"]).format(s=scene, verb=verb), loop, "", "，"
    head = rng.choice(ZH["picture"]).format(s=subject(thing, rng, "zh"), verb=verb)
    style = f"{rng.choice(style_of(thing.style).zh)}风格" if rng.random() < STYLED_SHARE else ""
    return head, loop, style, "，"
