"""How much and how many, where no number is said: of "a glass of wine" the wine is meant, "several cats" are three.

To whoever looks for names, what measures a thing is another thing: a glass is a magnifying one, and a herd a bison.
"""

import re

from models.data.grammar import MEASURES_ZH

# Of a part, of a heap, and of what holds it.
_MEASURES = (
    *("piece", "slice", "loaf", "scoop", "bar", "stick", "tube", "clove", "head", "ball", "serving", "portion", "ray"),
    *("bunch", "pair", "stack", "pile", "heap", "row", "set", "handful", "spoonful", "field", "pack", "packet"),
    *("glass", "mug", "cup", "bottle", "can", "tin", "carton", "jug", "pint", "shot", "bowl", "plate", "dish", "pot"),
    *("jar", "tub", "bag"),
)
_COMPANIES = ("group", "herd", "flock", "school", "swarm", "litter", "family", "pack", "crowd", "pride", "army")
_HOLDERS = ("basket", "box", "bucket", "vase", "nest", "crate")  # drawn too, with what is in them
PAIRED = (  # that are one thing by the pair
    "socks|shoes|sneakers|boots|glasses|sunglasses|scissors|gloves|mittens|pants|jeans|trousers|shorts|headphones"
    "|wings|lovers"
)
_NAMED = r"(?!food\b|poop?\b|cards\b|paper\b|fire\b|hair\b|friends\b|state\b)"  # a pile of poo is called so
_MANY = r"many (?!thanks\b)|(?:lots|a lot|plenty|dozens) of |a dozen "
# By number: with four of them there is no place for another thing.
_NUMBERS = {
    "two ": re.compile(rf"\b(?:a couple|a pair) of (?:the )?(?!(?:{PAIRED})\b)(?=\w+s\b|fish\b|sheep\b|people\b)"),
    "three ": re.compile(
        rf"(?<!how )(?<!not )\b(?:several |a few (?:of the )?|{_MANY}|an? (?:{'|'.join(_COMPANIES)}) of {_NAMED})"
        r"(?=(?:\w+ ){0,2}(?!colou?rs\b)(?:\w+[^s\W]s|people|fish|sheep)\b)"
    ),
    "三个": re.compile(rf"好?几[{MEASURES_ZH}]|一些|(?:很多|许多|好多)[{MEASURES_ZH}]?|一大?[群堆]"),
}
_MEASURED = re.compile(rf"\b(?:{'|'.join(_MEASURES)})(?:e?s)? of (?:an? |the |some )?{_NAMED}(?=\w)")
_HELD = re.compile(
    rf"\b((?:an? |the )?(?:[\w-]+ )?(?:{'|'.join(_HOLDERS)})) (?:full )?of ([^,，]+?)(?=$|[,，.]| (?:and|with|on|in)\b)"
)
_BUNCH_ZH = re.compile(r"一?束(?:[红粉白黄紫]色?的?)?(?:鲜?花|玫瑰|郁金香|向日葵)")
# "lilys" is what `models.data.grammar.regular` makes of lilies.
_FLOWERS = r"(?:[\w-]+ ){0,2}(?:flowers|roses|tulips|sunflowers|lilies|lilys|daisies|daisys)"
_INSIDE = re.compile(  # what is as good as said by what holds it
    r"(?<=birthday cake) with (?:\w+ ){0,2}candles?\b|(?<!heart) on fire\b"
    rf"|(?<=\bbouquet) of {_FLOWERS}(?: and {_FLOWERS})?\b"
    r"|(?:(?<=\bbottle)|(?<=\bglass)|(?<=\bcup)|(?<=\bjug)|(?<=\bjar)|(?<=\bbowl)|(?<=\bmug)|(?<=\bbucket)) of water\b"
)


def without_parts(text: str) -> str:
    """`text`, in small letters, without what is as good as said: a birthday cake has candles."""
    return _INSIDE.sub("", text)


def counted(text: str) -> str:
    """`text`, in small letters, with what is measured in place of the measure, and numbers in place of "several"."""
    for number, words in _NUMBERS.items():
        text = words.sub(number, text)
    return _HELD.sub(r"\2 in \1", _MEASURED.sub("", without_parts(_BUNCH_ZH.sub("花束", text))))
