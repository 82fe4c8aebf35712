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
    from models.data.scenes import Scene, SceneObject

Length = Literal["short", "long"]

# Each relation has its wordings in the same order as its opposite, so that a seed picks the same one for a contrast.
# Measure words by the last word of the English name; other animals take 只, everything else 个.
TEMPLATES: dict[str, Any] = json.loads(Path(__file__).with_name("scenes.json").read_text(encoding="utf-8"))
OPPOSITE: dict[str, str] = TEMPLATES.pop("opposite")  # of relations
GROUNDS: list[str] = TEMPLATES.pop("grounds")  # colours of backgrounds
EN, ZH = TEMPLATES["en"], TEMPLATES["zh"]
RELATIONS_EN, RELATIONS_ZH = EN["relations"], ZH["relations"]
PAIRS_EN, PAIRS_ZH = EN["pairs"], ZH["pairs"]
MAX_COUNT = 4  # of one thing in a scene


def scene_caption(
    scene: Scene, seed: int, language: Language | None = None, length: Length | None = None, grounded: bool = False
) -> str:
    """See `Scene.caption`. The draws do not look at colours, numbers or relations: contrasts differ in nothing else."""
    rng = stream("scene caption", scene.seed, seed)
    if language is None:
        language = "zh" if rng.random() < CHINESE_SHARE else "en"
    is_long = rng.random() < 0.5 if length is None else length == "long"
    text = _things(scene, rng, language)
    if grounded and scene.background.kind != "transparent":
        extra = _ground(scene, rng, language, always=True) + (_style(scene, rng, language) if is_long else [])
    else:
        extra = _style(scene, rng, language) + _ground(scene, rng, language) if is_long else []
        rng.shuffle(extra)
    return spread_case(fit(text, extra, TEMPLATES[language]["joint"]), rng, shout=False)


def _things(scene: Scene, rng: random.Random, language: Language) -> str:
    templates, first, numbers = TEMPLATES[language], scene.objects[0], NUMBERS[language]
    if scene.kind == "count" and language == "zh":
        return _chinese(first, numbers[scene.count])
    if scene.kind == "count":
        number = str(scene.count) if rng.random() < 0.2 else numbers[scene.count]
        return f"{number} {_english(first) if scene.count == 1 else plural(_english(first))}"
    if language == "zh":  # "a cat is left of a dog" is said with or without 一只
        number = "一" if rng.random() < 0.5 else ""
        phrases = [_chinese(item, number) for item in scene.objects]
    else:
        phrases = [article(_english(item)) for item in scene.objects]
    if scene.kind == "colour":
        return rng.choice(templates["singles"]).format(a=phrases[0])
    template = rng.choice(templates["relations"][scene.relation] if scene.relation else templates["pairs"])
    return template.format(a=phrases[0], b=phrases[1])


def thing(item: SceneObject, language: Language) -> str:
    """A thing alone, with its size and colour, without article."""
    return _english(item) if language == "en" else _chinese(item, "")


def _english(item: SceneObject) -> str:
    return " ".join(word for word in (item.size, item.colour, item.names["en"]) if word)


def _chinese(item: SceneObject, number: str) -> str:
    head = item.names["en"].split(" ")[-1].lower()
    measure = ZH["measures"].get(head) or ("只" if item.group == "animals-nature" else "个")
    colour = f"{COLOURS[item.colour].zh}的" if item.colour else ""
    size, name = ZH["sizes"].get(item.size, ""), item.names.get("zh") or item.names["en"]
    return f"{number}{measure if number else ''}{colour}{size}{name}"


def _style(scene: Scene, rng: random.Random, language: Language) -> list[str]:
    draw = rng.random()
    template = rng.choice(EN["paired_styles"]) if language == "en" else "{}风格"
    if not scene.style or draw >= 0.6:
        return []
    style = style_of(scene.style)
    return [template.format(rng.choice(style.en if language == "en" else style.zh))]


def _ground(scene: Scene, rng: random.Random, language: Language, always: bool = False) -> list[str]:
    kind, colours = scene.background.kind, scene.background.colours
    said, other = rng.random() < (0.4 if kind == "transparent" else 0.85), rng.random() >= 0.7
    if not (said or always):
        return []
    names = colours if language == "en" else [COLOURS[colour].zh for colour in colours]
    return [TEMPLATES[language]["backgrounds"][kind][other].format(*names, a=article(colours[0]) if colours else "")]
