"""Motions as a table, and captions of things that move.

A row gives both the words and the law of the motion. With the clip's time t running from 0 to 1 and
u = cycles x speed x t, a picture is moved, turned, scaled and faded by curve(u) times the row's amplitudes.
"""

import random
from dataclasses import dataclass
from typing import Literal

from models.data.captions import subject
from models.data.grammar import CHINESE_SHARE, LANGUAGES, article, fit, spread_case, stream
from models.data.scene_words import Language
from models.data.scenes import Scene
from models.data.styles import style_of
from models.data.world import Picture

Speed = Literal["slow", "normal", "fast"]
# ramp: u once and then still; cycle: u modulo 1; sine: sin(2 pi u); hop: |sin(pi u)|; swell: (1 - cos(2 pi u)) / 2;
# circle: the motion vector turned by 2 pi u.
Curve = Literal["ramp", "cycle", "sine", "hop", "swell", "circle"]


@dataclass(frozen=True)
class Motion:
    """One motion.

    Attributes:
        en: (third person, participle) pairs: ("slides to the left", "sliding to the left").
        zh: verbs.
        curve: how its phase runs, see Curve.
        move: displacement (right, down) in sides of the picture, at curve value 1.
        turn: rotation in degrees, clockwise.
        scale: change of size; 0.2 is a fifth larger at curve value 1.
        squash: change of height against width at equal area.
        opacity: change of opacity, added to 1 (or to 0 where it is positive).
        cycles: periods in one clip at normal speed.
        loops: whether the last frame runs into the first.
    """

    en: tuple[tuple[str, str], ...]
    zh: tuple[str, ...]
    curve: Curve
    move: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    scale: float = 0.0
    squash: float = 0.0
    opacity: float = 0.0
    cycles: float = 1.0
    loops: bool = True


def _words(english: str) -> tuple[tuple[str, str], ...]:
    """ "slides left/sliding left, ..." -> pairs."""
    pairs = (pair.split("/") for pair in english.split(", "))
    return tuple((verb, participle) for verb, participle in pairs)


def _motion(english: str, chinese: str, curve: Curve, **law: float | bool | tuple[float, float]) -> Motion:
    return Motion(_words(english), tuple(chinese.split("，")), curve, **law)  # type: ignore[arg-type]


MOTIONS: dict[str, Motion] = {
    "slide left": _motion(
        "slides left/sliding left, slides to the left/sliding to the left, moves left/moving left",
        "向左滑动，向左移动，往左滑",
        "ramp",
        move=(-0.8, 0.0),
        loops=False,
    ),
    "slide right": _motion(
        "slides right/sliding right, slides to the right/sliding to the right, moves right/moving right",
        "向右滑动，向右移动，往右滑",
        "ramp",
        move=(0.8, 0.0),
        loops=False,
    ),
    "slide up": _motion(
        "slides up/sliding up, moves up/moving up, rises/rising",
        "向上滑动，向上移动，升起",
        "ramp",
        move=(0.0, -0.8),
        loops=False,
    ),
    "slide down": _motion(
        "slides down/sliding down, moves down/moving down, sinks/sinking",
        "向下滑动，向下移动，下沉",
        "ramp",
        move=(0.0, 0.8),
        loops=False,
    ),
    "fall": _motion(
        "falls/falling, drops from above/dropping from above",
        "落下，从上面掉下来",
        "ramp",
        move=(0.0, 1.0),
        turn=25.0,
        loops=False,
    ),
    "bounce": _motion(
        "bounces/bouncing, bounces up and down/bouncing up and down",
        "弹跳，上下弹跳，蹦跳",
        "hop",
        move=(0.0, -0.25),
        squash=0.08,
        cycles=2.0,
    ),
    "jump": _motion(
        "jumps/jumping, jumps for joy/jumping for joy, hops/hopping",
        "跳跃，跳起来，蹦起来",
        "hop",
        move=(0.0, -0.4),
        cycles=1.0,
    ),
    "spin": _motion(
        "spins/spinning, rotates/rotating, spins clockwise/spinning clockwise",
        "旋转，转圈，顺时针旋转",
        "cycle",
        turn=360.0,
    ),
    "spin back": _motion(
        "spins counterclockwise/spinning counterclockwise, rotates backwards/rotating backwards",
        "逆时针旋转，反向旋转",
        "cycle",
        turn=-360.0,
    ),
    "shake": _motion(
        "shakes/shaking, trembles/trembling, shakes from side to side/shaking from side to side",
        "摇晃，发抖，左右抖动",
        "sine",
        move=(0.06, 0.0),
        cycles=4.0,
    ),
    "nod": _motion(
        "nods/nodding, nods up and down/nodding up and down", "点头，上下点动", "sine", move=(0.0, 0.06), cycles=2.0
    ),
    "pulse": _motion(
        "pulses/pulsing, beats/beating, throbs/throbbing, grows and shrinks/growing and shrinking",
        "跳动，搏动，一大一小地变化",
        "swell",
        scale=0.22,
        cycles=2.0,
    ),
    "wave": _motion(
        "waves/waving, sways/swaying, rocks to and fro/rocking to and fro",
        "摆动，挥动，来回摇摆",
        "sine",
        turn=16.0,
        cycles=2.0,
    ),
    "swing": _motion(
        "swings/swinging, swings like a pendulum/swinging like a pendulum",
        "荡来荡去，像钟摆一样摆动",
        "sine",
        turn=32.0,
        move=(0.08, 0.0),
    ),
    "wobble": _motion(
        "wobbles/wobbling, jiggles/jiggling, wobbles like jelly/wobbling like jelly",
        "晃动，像果冻一样晃动",
        "sine",
        squash=0.16,
        cycles=3.0,
    ),
    "drift": _motion(
        "drifts/drifting, drifts by/drifting by, drifts slowly aside/drifting slowly aside",
        "飘过，飘动",
        "ramp",
        move=(0.35, -0.12),
        loops=False,
    ),
    "float": _motion(
        "floats/floating, hovers/hovering, bobs up and down/bobbing up and down",
        "漂浮，悬浮，上下浮动",
        "sine",
        move=(0.0, 0.08),
    ),
    "orbit": _motion(
        "circles/circling, flies in a circle/flying in a circle, orbits/orbiting",
        "绕圈，转着圈飞，环绕",
        "circle",
        move=(0.22, 0.0),
    ),
    "roll left": _motion(
        "rolls left/rolling left, rolls to the left/rolling to the left",
        "向左滚动，往左滚",
        "ramp",
        move=(-0.8, 0.0),
        turn=-360.0,
        loops=False,
    ),
    "roll right": _motion(
        "rolls right/rolling right, rolls to the right/rolling to the right",
        "向右滚动，往右滚",
        "ramp",
        move=(0.8, 0.0),
        turn=360.0,
        loops=False,
    ),
    "grow": _motion(
        "grows/growing, gets bigger/getting bigger, zooms in/zooming in",
        "变大，放大，越来越大",
        "ramp",
        scale=0.8,
        loops=False,
    ),
    "shrink": _motion(
        "shrinks/shrinking, gets smaller/getting smaller, zooms out/zooming out",
        "变小，缩小，越来越小",
        "ramp",
        scale=-0.6,
        loops=False,
    ),
    "fade in": _motion("fades in/fading in, appears/appearing", "淡入，出现", "ramp", opacity=1.0, loops=False),
    "fade out": _motion(
        "fades out/fading out, disappears/disappearing, vanishes/vanishing",
        "淡出，消失",
        "ramp",
        opacity=-1.0,
        loops=False,
    ),
    "blink": _motion(
        "blinks/blinking, flashes/flashing, flickers/flickering",
        "闪烁，一闪一闪，忽明忽暗",
        "swell",
        opacity=-0.85,
        cycles=3.0,
    ),
}

SPEEDS: dict[Speed, float] = {"slow": 0.5, "normal": 1.0, "fast": 2.0}
_SPEED_EN: dict[str, tuple[str, ...]] = {"slow": ("slowly", "gently"), "fast": ("fast", "quickly"), "normal": ("",)}
_SPEED_ZH: dict[str, tuple[str, ...]] = {"slow": ("慢慢地", "缓缓"), "fast": ("快速", "飞快地"), "normal": ("",)}
STYLED_SHARE = 0.4
_LOOP_EN = ("looping", "in a loop", "seamless loop", "endless loop")
_LOOP_ZH = ("循环播放", "无限循环", "循环动画")

# a: subject with article, s: without; verb: "spins", ing: "spinning", both with their speed.
_ONE_EN = (
    "{a} {verb}", "{a} {verb}", "{a} {ing}", "{a} {ing}", "{s} {ing}", "{s}, {ing}", "{ing} {s}", "{a} that {verb}",
    "an animation of {a} {ing}", "animated {s}, {ing}", "animated sticker of {a} {ing}",
)  # fmt: skip
_SCENE_EN = ("{a}, {ing}", "{a}, everything {ing}", "animation of {a}, {ing}")
_ONE_ZH = ("{s}{verb}", "{s}{verb}", "{verb}的{s}", "{s}在{verb}", "{s}，{verb}", "一个{verb}的{s}", "{s}{verb}的动画")
_SCENE_ZH = ("{s}，{verb}", "{s}，一起{verb}", "{s}，{verb}的动画")


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
    adverb = rng.choice(_SPEED_EN[move.speed])
    verb, participle = (f"{form} {adverb}".strip() for form in rng.choice(MOTIONS[move.motion].en))
    loop = rng.choice(_LOOP_EN)
    if isinstance(thing, Scene):
        scene = thing.caption(seed, "en", "short").rstrip(".")
        return rng.choice(_SCENE_EN).format(a=scene, ing=participle), loop, "", ", "
    s = subject(thing, rng, "en")
    head = rng.choice(_ONE_EN).format(s=s, a=article(s), verb=verb, ing=participle)
    style = f"{rng.choice(style_of(thing.style).en)} style" if rng.random() < STYLED_SHARE else ""
    return head, loop, style, ", "


def _chinese(thing: Picture | Scene, rng: random.Random, seed: int, move: Move) -> tuple[str, str, str, str]:
    verb = rng.choice(_SPEED_ZH[move.speed]) + rng.choice(MOTIONS[move.motion].zh)
    loop = rng.choice(_LOOP_ZH)
    if isinstance(thing, Scene):
        scene = thing.caption(seed, "zh", "short").rstrip("。.")
        return rng.choice(_SCENE_ZH).format(s=scene, verb=verb), loop, "", "，"
    head = rng.choice(_ONE_ZH).format(s=subject(thing, rng, "zh"), verb=verb)
    style = f"{rng.choice(style_of(thing.style).zh)}风格" if rng.random() < STYLED_SHARE else ""
    return head, loop, style, "，"
