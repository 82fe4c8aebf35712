"""Scenes in words. Every caption names the objects with the colours they were given, their number or their relation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

from models.data.colours import COLOURS
from models.data.grammar import CHINESE_SHARE, NUMBERS, article, fit, plural, spread_case, stream
from models.data.styles import style_of

if TYPE_CHECKING:
    from models.data.scenes import Background, Scene, SceneObject

Language = Literal["en", "zh"]
Length = Literal["short", "long"]

# Each relation has its wordings in the same order as its opposite, so that a seed picks the same one for a contrast.
RELATIONS_EN = {
    "left of": (
        "{a} to the left of {b}",
        "{a} left of {b}",
        "{a} on the left, {b} on the right",
        "{b} to the right of {a}",
    ),
    "right of": (
        "{a} to the right of {b}",
        "{a} right of {b}",
        "{a} on the right, {b} on the left",
        "{b} to the left of {a}",
    ),
    "above": ("{a} above {b}", "{a} over {b}", "{a} at the top, {b} at the bottom", "{b} below {a}"),
    "below": ("{a} below {b}", "{a} under {b}", "{a} at the bottom, {b} at the top", "{b} above {a}"),
    "in front of": (
        "{a} in front of {b}",
        "{a} in front of {b}",
        "{a} in the front, {b} in the back",
        "{b} behind {a}",
    ),
    "behind": ("{a} behind {b}", "{a} behind {b}", "{a} in the back, {b} in the front", "{b} in front of {a}"),
}
RELATIONS_ZH = {
    "left of": ("{a}在{b}的左边", "{a}在{b}左侧", "左边是{a}，右边是{b}", "{b}在{a}的右边"),
    "right of": ("{a}在{b}的右边", "{a}在{b}右侧", "右边是{a}，左边是{b}", "{b}在{a}的左边"),
    "above": ("{a}在{b}的上面", "{a}在{b}上方", "上面是{a}，下面是{b}", "{b}在{a}的下面"),
    "below": ("{a}在{b}的下面", "{a}在{b}下方", "下面是{a}，上面是{b}", "{b}在{a}的上面"),
    "in front of": ("{a}在{b}的前面", "{a}在{b}前方", "前面是{a}，后面是{b}", "{b}在{a}的后面"),
    "behind": ("{a}在{b}的后面", "{a}在{b}后方", "后面是{a}，前面是{b}", "{b}在{a}的前面"),
}
PAIRS_EN = ("{a} and {b}", "{a} and {b}", "{a} with {b}", "{a}, {b}", "{a} next to {b}")
PAIRS_ZH = ("{a}和{b}", "{a}和{b}", "{a}与{b}", "{a}，{b}", "{a}还有{b}")
SINGLES_EN = ("{a}", "{a}", "{a}", "{a} sticker", "{a} emoji", "a picture of {a}")
SINGLES_ZH = ("{a}", "{a}", "{a}", "{a}贴纸", "{a}表情", "一张{a}的图")
PAIRED_STYLES_EN = ("in the {} style", "{} style", "{}")
SIZES_ZH = {"small": "小", "large": "大", None: ""}
# Measure words by the last word of the English name; other animals take 只, everything else 个.
_MEASURES = {
    "tree": "棵", "cactus": "棵", "flower": "朵", "blossom": "朵", "rose": "朵", "tulip": "朵", "lotus": "朵",
    "hibiscus": "朵", "sunflower": "朵", "hyacinth": "朵", "leaf": "片", "fish": "条", "snake": "条", "horse": "匹",
    "mushroom": "个", "herb": "株", "seedling": "株", "shamrock": "株", "bouquet": "束", "shell": "个", "coral": "个",
    "nest": "个", "plant": "盆", "feather": "根", "wing": "个", "rosette": "个", "car": "辆", "bus": "辆", "taxi": "辆",
    "truck": "辆", "automobile": "辆", "bicycle": "辆", "motorcycle": "辆", "ship": "艘", "boat": "艘",
    "airplane": "架", "cow": "头", "pig": "头", "elephant": "头", "book": "本", "key": "把", "shoe": "只",
    "scissors": "把",
}  # fmt: skip


def scene_caption(
    scene: Scene, seed: int, language: Language | None = None, length: Length | None = None, grounded: bool = False
) -> str:
    """See `Scene.caption`. The draws do not look at colours, numbers or relations: contrasts differ in nothing else."""
    rng = stream("scene caption", scene.seed, seed)
    chinese = rng.random() < CHINESE_SHARE if language is None else language == "zh"
    is_long = rng.random() < 0.5 if length is None else length == "long"
    write, style, ground, joint = (
        (_chinese, _chinese_style, _chinese_ground, "，")
        if chinese
        else (_english, _english_style, _english_ground, ", ")
    )
    text = write(scene, rng)
    behind = scene.background.kind != "transparent"
    if grounded and behind:
        extra = ground(scene.background, rng, always=True) + (style(scene, rng) if is_long else [])
        text = fit(text, extra, joint)
    elif is_long:
        extra = style(scene, rng) + ground(scene.background, rng)
        rng.shuffle(extra)
        text = fit(text, extra, joint)
    return spread_case(text, rng, shout=False)


def _english(scene: Scene, rng: random.Random) -> str:
    nouns = [_english_noun(item) for item in scene.objects[:2]]
    if scene.kind == "count":
        return _english_count(scene.count, nouns[0], rng)
    phrases = [article(noun) for noun in nouns]
    if scene.kind == "colour":
        return rng.choice(SINGLES_EN).format(a=phrases[0])
    template = rng.choice(RELATIONS_EN[scene.relation] if scene.relation else PAIRS_EN)
    return template.format(a=phrases[0], b=phrases[1])


def _english_noun(item: SceneObject) -> str:
    return " ".join(word for word in (item.size, item.colour, item.names["en"]) if word)


def _english_count(count: int, noun: str, rng: random.Random) -> str:
    number = str(count) if rng.random() < 0.2 else NUMBERS["en"][count]
    return f"{number} {noun if count == 1 else plural(noun)}"


def _english_style(scene: Scene, rng: random.Random) -> list[str]:
    style, draw = scene.style, rng.random()
    template = rng.choice(PAIRED_STYLES_EN)
    return [template.format(rng.choice(style_of(style).en))] if style and draw < 0.6 else []


def _english_ground(background: Background, rng: random.Random, always: bool = False) -> list[str]:
    said, which = rng.random() < (0.4 if background.kind == "transparent" else 0.85), rng.random() < 0.7
    if not (said or always):
        return []
    if background.kind == "transparent":
        return ["on a transparent background" if which else "transparent background"]
    if background.kind == "plain":
        phrase = f"{background.colours[0]} background"
        return [f"on {article(phrase)}" if which else phrase]
    first, second = background.colours
    return [f"on a gradient from {first} to {second}" if which else f"{first} to {second} gradient background"]


def _chinese(scene: Scene, rng: random.Random) -> str:
    if scene.kind == "count":
        return _chinese_phrase(scene.objects[0], NUMBERS["zh"][scene.count])
    # "a cat is left of a dog" is said with or without 一只.
    number = "一" if rng.random() < 0.5 else ""
    phrases = [_chinese_phrase(item, number) for item in scene.objects]
    if scene.kind == "colour":
        return rng.choice(SINGLES_ZH).format(a=phrases[0])
    template = rng.choice(RELATIONS_ZH[scene.relation] if scene.relation else PAIRS_ZH)
    return template.format(a=phrases[0], b=phrases[1])


def _chinese_phrase(item: SceneObject, number: str) -> str:
    colour = f"{COLOURS[item.colour].zh}的" if item.colour else ""
    measure = number + _measure(item) if number else ""
    return f"{measure}{colour}{SIZES_ZH[item.size]}{item.names.get('zh') or item.names['en']}"


def _measure(item: SceneObject) -> str:
    head = item.names["en"].split(" ")[-1].lower()
    return _MEASURES.get(head) or ("只" if item.group == "animals-nature" else "个")


def _chinese_style(scene: Scene, rng: random.Random) -> list[str]:
    style, draw = scene.style, rng.random()
    return [f"{rng.choice(style_of(style).zh)}风格"] if style and draw < 0.6 else []


def _chinese_ground(background: Background, rng: random.Random, always: bool = False) -> list[str]:
    said, which = rng.random() < (0.4 if background.kind == "transparent" else 0.85), rng.random() < 0.7
    if not (said or always):
        return []
    names = [COLOURS[colour].zh for colour in background.colours]
    if background.kind == "transparent":
        return ["透明背景" if which else "背景透明"]
    if background.kind == "plain":
        return [f"{names[0]}背景" if which else f"背景是{names[0]}"]
    return [f"从{names[0]}到{names[1]}的渐变背景" if which else f"{names[0]}到{names[1]}渐变背景"]
