"""How much and how many, where no number is said: of "a glass of wine" the wine is meant, "several cats" are three.

To whoever looks for names, what measures a thing is another thing: a glass is a magnifying one, and a herd a bison.
"""

import re

from models.data.grammar import MEASURES_ZH

_MEASURES = (
    *("piece", "slice", "loaf", "scoop", "bar", "stick", "tube", "clove", "head", "ball", "serving", "portion", "ray"),
    *("bunch", "pair", "stack", "pile", "heap", "row", "set", "handful", "spoonful", "field", "pack", "packet"),
    *("glass", "mug", "cup", "bottle", "can", "tin", "carton", "jug", "pint", "shot", "bowl", "plate", "dish", "pot"),
    *("jar", "tub", "bag"),
)
_COMPANIES = ("group", "herd", "flock", "school", "swarm", "litter", "family", "pack", "crowd", "pride", "army")
_HOLDERS = ("basket", "box", "bucket", "vase", "nest", "crate")  # of which something is seen
_NAMED = r"(?!milk\b|food\b|poop?\b|cards\b|paper\b)"  # a glass of milk is called so, and so is a pile of poo
_MANY = rf"an? (?:{'|'.join(_COMPANIES)}) of {_NAMED}(?=\w+s\b|people\b|fish\b|sheep\b)"
# By number; for no more than four there are places in a picture.
_NUMBERS = {
    "two ": re.compile(r"\ba couple of (?:the )?(?=\w)"),
    "three ": re.compile(r"\b(?:several|a few)(?: of the)? (?=\w)"),
    "four ": re.compile(rf"\b(?:many |lots of |a lot of |plenty of |dozens of |a dozen |{_MANY})(?=\w)"),
    "三个": re.compile(rf"好?几[{MEASURES_ZH}]|一些"),
    "四个": re.compile(rf"(?:很多|许多|好多)[{MEASURES_ZH}]?|一大?[群堆]"),
}
_MEASURED = re.compile(
    rf"\b(?:{'|'.join(_MEASURES)})(?:e?s of (?:the |some )?|(?:e?s)? of (?:an? |the |some )?{_NAMED})(?=\w)"
)
_HELD = re.compile(
    rf"\b((?:an? |the )?(?:[\w-]+ )?(?:{'|'.join(_HOLDERS)})) (?:full )?of ([^,，]+?)(?=$|[,，.]| (?:and|with|on|in)\b)"
)
_BUNCH_ZH = re.compile(r"一?束(?:鲜?花|玫瑰|郁金香|向日葵)")
_INSIDE = re.compile(  # what is as good as said by what holds it
    r"(?<=\bbouquet) of (?:[\w-]+ ){0,2}[\w-]+s\b|(?:(?<=\bbottle)|(?<=\bglass)|(?<=\bcup)) of water\b"
)


def counted(text: str) -> str:
    """`text`, in small letters, with what is measured in place of the measure, and numbers in place of "several"."""
    for number, words in _NUMBERS.items():
        text = words.sub(number, text)
    return _HELD.sub(r"\2 in \1", _MEASURED.sub("", _INSIDE.sub("", _BUNCH_ZH.sub("花束", text))))
