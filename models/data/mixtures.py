"""Mixtures: elements of a few drawings, turned, recoloured and laid over each other as one SVG.

No mixture is a thing, and every line and area in it is drawn as its style draws: so they are without end, where
drawings of things are few.
"""

import colorsys
import re
from collections.abc import Sequence
from random import Random
from xml.etree import ElementTree

from models.data.pixels import SIZE

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
GROUP = f"{{{SVG}}}g"
REFERRED = frozenset(  # not drawn where it stands
    f"{{{SVG}}}{name}"
    for name in ("defs", "linearGradient", "radialGradient", "clipPath", "mask", "filter", "pattern", "symbol", "style")
)
MOST = 0.7  # of a drawing's elements: with nearly all of them it is the thing again
LAYERS = (1, 1, 2, 2, 3)  # how many drawings a mixture takes from
RECOLOURED = 0.6  # share of the layers
LARGE, SMALL = (0.9, 1.5), (0.4, 1.0)  # of the picture's side: what lies lowest, and what is laid over it
MIDDLE, ANYWHERE = (48, 80), (20, 108)  # pixels of 128: where their middles are
TURNS = (0, 0, 0, 90, 180, 270)  # degrees; one in four is turned otherwise
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def mixture(drawings: Sequence[str], rng: Random) -> str:
    """An SVG of SIZE from elements of one to three of `drawings`, whole SVGs with a viewBox."""
    layers = [_layer(rng.choice(drawings), number, rng) for number in range(rng.choice(LAYERS))]
    if len(layers) == 1 and not layers[0][1]:  # a whole drawing, were nothing laid over it
        layers.append(_layer(rng.choice(drawings), 1, rng))
    body = "".join(group for group, _ in layers)
    return f'<svg xmlns="{SVG}" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">{body}</svg>'


def _layer(drawing: str, number: int, rng: Random) -> tuple[str, bool]:
    """A group of some elements of a drawing, and whether it has others, too."""
    root = ElementTree.fromstring(_renamed(drawing, f"layer{number}-"))
    parted = _thinned(root, rng)
    body = "".join(ElementTree.tostring(element, "unicode") for element in root)
    if rng.random() < RECOLOURED:
        body = recoloured(body, rng)
    return f'<g transform="{_placed(root.attrib["viewBox"], number > 0, rng)}">{body}</g>', parted


def _renamed(drawing: str, prefix: str) -> str:
    """With names of its own for what it refers to: two drawings of a set call their gradients alike."""
    drawing = re.sub(r'\bid="', f'id="{prefix}', drawing)
    return drawing.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')


def _thinned(parent: ElementTree.Element, rng: Random) -> bool:
    """Leave in `parent`, or in the one group that it draws, some of what is drawn: neighbours, or any, in their order.

    What is referred to stays, wherever it stands. False, and all of it, where one element is all that is drawn.
    """
    drawn = [element for element in parent if element.tag not in REFERRED]
    if len(drawn) == 1 and drawn[0].tag == GROUP:
        return _thinned(drawn[0], rng)
    if len(drawn) < 2:
        return False
    count = rng.randint(1, max(1, int(MOST * len(drawn))))
    first = rng.randint(0, len(drawn) - count)
    kept = range(first, first + count) if rng.random() < 0.6 else rng.sample(range(len(drawn)), count)
    for place in set(range(len(drawn))).difference(kept):
        parent.remove(drawn[place])
    return True


def _placed(view: str, over: bool, rng: Random) -> str:
    left, top, width, height = map(float, view.split())
    scale = SIZE / max(width, height) * rng.uniform(*(SMALL if over else LARGE))
    turn = rng.choice(TURNS) if rng.random() < 0.75 else rng.uniform(0, 360)
    x, y = (rng.uniform(*(ANYWHERE if over else MIDDLE)) for _ in range(2))
    middle = f"translate({-left - width / 2:.2f} {-top - height / 2:.2f})"
    side = rng.choice((1, -1)) * scale
    return f"translate({x:.1f} {y:.1f}) rotate({turn:.0f}) scale({side:.3f} {scale:.3f}) {middle}"


def recoloured(svg: str, rng: Random) -> str:
    """Every colour of `svg` turned in hue by one angle and made lighter or darker by one factor."""
    turn, light = rng.random(), rng.uniform(0.7, 1.15)

    def other(found: re.Match[str]) -> str:
        digits = found[0][1:] if len(found[0]) == 7 else "".join(2 * digit for digit in found[0][1:])
        hue, saturation, value = colorsys.rgb_to_hsv(*(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)))
        rgb = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, min(1, value * light))
        return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)

    return _COLOUR.sub(other, svg)
