"""Scenes in words. Every caption names the objects with the colours they were given, their number or their relation."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.data.colours import COLOURS
from models.data.grammar import CHINESE_SHARE, NUMBERS, Language, article, fit, plural, spread_case, stream
from models.data.styles import style_of

if TYPE_CHECKING:
    from models.data.scenes import Background, Scene, SceneObject

Length = Literal["short", "long"]

# Each relation has its wordings in the same order as its opposite, so that a seed picks the same one for a contrast.
# Measure words by the last word of the English name; other animals take 只, everything else 个.
TEMPLATES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("scenes.json").read_text(encoding="utf-8"))
EN, ZH = TEMPLATES["en"], TEMPLATES["zh"]
RELATIONS_EN, RELATIONS_ZH = EN["relations"], ZH["relations"]
PAIRS_EN, PAIRS_ZH = EN["pairs"], ZH["pairs"]


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
        return rng.choice(EN["singles"]).format(a=phrases[0])
    template = rng.choice(EN["relations"][scene.relation] if scene.relation else EN["pairs"])
    return template.format(a=phrases[0], b=phrases[1])


def _english_noun(item: SceneObject) -> str:
    return " ".join(word for word in (item.size, item.colour, item.names["en"]) if word)


def _english_count(count: int, noun: str, rng: random.Random) -> str:
    number = str(count) if rng.random() < 0.2 else NUMBERS["en"][count]
    return f"{number} {noun if count == 1 else plural(noun)}"


def _english_style(scene: Scene, rng: random.Random) -> list[str]:
    style, draw = scene.style, rng.random()
    template = rng.choice(EN["paired_styles"])
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
        return rng.choice(ZH["singles"]).format(a=phrases[0])
    template = rng.choice(ZH["relations"][scene.relation] if scene.relation else ZH["pairs"])
    return template.format(a=phrases[0], b=phrases[1])


def _chinese_phrase(item: SceneObject, number: str) -> str:
    colour = f"{COLOURS[item.colour].zh}的" if item.colour else ""
    measure = number + _measure(item) if number else ""
    return f"{measure}{colour}{ZH['sizes'].get(item.size, '')}{item.names.get('zh') or item.names['en']}"


def _measure(item: SceneObject) -> str:
    head = item.names["en"].split(" ")[-1].lower()
    return ZH["measures"].get(head) or ("只" if item.group == "animals-nature" else "个")


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
