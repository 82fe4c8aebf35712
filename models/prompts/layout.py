"""Layout: the box of each thing of a scene.

The generator draws one thing well and two poorly: at half of the picture's side a thing is eight latents wide. So each
is drawn alone, as large as a picture, and laid where the prompt says (Collage Diffusion, arXiv 2303.00262).
`models.compose.collage` lays them; `layout.toml` holds the boxes of each relation. What a thing wears or holds goes
with it into its box, as small as that is.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from models.data.pixels import SIZE
from models.prompts.parsed import ANIMALS, FLAGS, PEOPLE, PLACES, Box, Concept
from models.prompts.scene import CARRIED, GROUP, SIDES, Scene

Boxes = tuple[Box, ...]
Relation = tuple[int, str, int]  # as in `Scene.relations`


def _read(row: dict[str, Any] | list[dict[str, Any]]) -> Any:
    """A box, several, or a table of them."""
    if isinstance(row, list):
        return tuple(map(_read, row))
    if "box" not in row:
        return {int(name) if name.isdigit() else name: _read(rows) for name, rows in row.items()}
    left, top, width, height = row["box"]
    return Box(left, top, width, height, **{name: value for name, value in row.items() if name != "box"})


_ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_TABLE = {name: _read(row) for name, row in _ROWS.items() if name != "same"}
WHOLE, SMALL, BACKDROP, FEATURES = itemgetter("whole", "small", "backdrop", "features")(_TABLE)
STAGE, SPEAKER, BALLOON, COSTUME, AROUND = itemgetter("stage", "speaker", "balloon", "costume", "around")(_TABLE)
PAIR: dict[str, Boxes] = _TABLE["pair"]
for _name, _opposite in (("left of", "right of"), ("above", "below"), ("in front of", "behind")):
    PAIR[_opposite] = PAIR[_name][::-1]
IN_SCENE: dict[int, Boxes] = _TABLE["in_scene"]
GRID: dict[int, Boxes] = {1: (WHOLE,)} | _TABLE["grid"]
MOST = max(GRID)  # things of one picture
_PAIRS: dict[str, str] = _ROWS["same"]


def within(box: Box, frame: Box) -> Box:
    """A box of a whole picture, where that picture is as small as a frame: glasses on who stands at the left. In a
    small frame what moves to an anchor is not to find that of another drawing there."""
    if frame in (WHOLE, BACKDROP):
        return box
    scale = min(frame.width, frame.height) / SIZE
    left = frame.left + (frame.width - scale * SIZE) / 2
    top = frame.top + frame.align * (frame.height - scale * SIZE)
    x, y, width, height = (round(scale * value) for value in (box.left, box.top, box.width, box.height))
    at = round(left) + x, round(top) + y
    return replace(box, left=at[0], top=at[1], width=width, height=height, z=frame.z + box.z, anchor="")


def scaled(box: Box, scale: float) -> Box:
    """A box in another size, half to twice its own, around its middle and within the picture."""
    scale = min(max(scale, 0.5), 2.0)
    width, height = (min(round(scale * side), SIZE) for side in (box.width, box.height))
    left, top = box.left + (box.width - width) // 2, box.top + (box.height - height) // 2
    left, top = min(max(left, 0), SIZE - width), min(max(top, 0), SIZE - height)
    return replace(box, left=left, top=top, width=width, height=height) if scale != 1 else box


def arrange(scene: Scene, concepts: Sequence[Concept]) -> list[tuple[int, Box]]:
    """The rows of a scene's entities, in order, with their boxes; [] of a single thing as large as the picture. Of more
    than MOST things the first ones."""
    first, *others = scene.entities
    if first.count == 1 and not others:
        return [(0, SMALL)] if first.is_small else []
    return sorted(_Arrangement(scene, concepts).boxes, key=itemgetter(0))


class _Arrangement:
    def __init__(self, scene: Scene, concepts: Sequence[Concept]) -> None:
        self.entities, self.of = scene.entities, [concepts[entity.concept] for entity in scene.entities]
        self.boxes: list[tuple[int, Box]] = []
        objects = {thing for _, _, thing in scene.relations}
        roots = [number for number in range(len(self.of)) if number not in objects]
        self._place(roots or [0], WHOLE, list(scene.relations))

    def _place(self, group: Sequence[int], frame: Box, relations: list[Relation]) -> None:
        """Put things that stand side by side, and what belongs to them, into a frame."""
        shared = [row for row in relations if row[0] == GROUP or (len(group) == 1 and row[0] == group[0])]
        outer = max(shared, key=self._outside, default=None)
        if outer is None:
            self._side_by_side(group, frame, relations)
            return
        rest, thing = [row for row in relations if row is not outer], outer[2]
        name = self._name(outer, group)
        if name == "scene":
            self.boxes.append((thing, BACKDROP))
            if len(group) == 1 and self._count(group) == 1 and any(row[0] != GROUP for row in rest):
                self._place(group, STAGE, rest)
            else:
                self._each(group, IN_SCENE.get(self._count(group), IN_SCENE[max(IN_SCENE)]), rest)
        elif name == "around":
            count = self.entities[thing].count if self.entities[thing].count > 1 else len(AROUND) - 1
            self._place(group, within(AROUND[0], frame), rest)
            self.boxes += [(thing, within(box, frame)) for box in AROUND[1 : 1 + count]]
        else:
            first, second = (within(box, frame) for box in PAIR[name])
            self._place(group, first, rest)
            self._place([thing], second, rest)

    def _outside(self, row: Relation) -> tuple[bool, bool]:
        """What is around a thing is placed before what it carries, and that on its head before the rest."""
        return row[1] not in CARRIED, self.of[row[2]].worn_at == "on the head"

    def _side_by_side(self, group: Sequence[int], frame: Box, relations: list[Relation]) -> None:
        count, side = min(self._count(group), MOST), self.entities[group[0]].side
        boxes = PAIR[SIDES[side]] if len(group) == count == 2 and side in SIDES else GRID[count]
        places = (frame,) if count == 1 and frame != WHOLE else tuple(within(box, frame) for box in boxes)
        self._each(group, places, relations)

    def _count(self, group: Sequence[int]) -> int:
        return sum(self.entities[number].count for number in group)

    def _each(self, group: Sequence[int], frames: Boxes, relations: list[Relation]) -> None:
        places = iter(frames)
        for number in [member for member in group for _ in range(self.entities[member].count)]:
            if (place := next(places, None)) is None:
                return
            if len(group) > 1 and any(row[0] == number for row in relations):
                self._place([number], place, [row for row in relations if row[0] != GROUP])
            else:
                self.boxes.append((number, place))

    def _name(self, row: Relation, group: Sequence[int]) -> str:
        """The row of PAIR for a relation of these concepts, "scene", or "around"."""
        _, relation, thing = row
        first, second, entity = self.of[group[0]], self.of[thing], self.entities[thing]
        if relation in ("in", "on", "at", "below", "beside", "above", "in front of") and second.is_a("scenery"):
            return "scene"
        if relation in ("in", "at") and second.group == FLAGS:
            return "left of"  # a country holds nobody
        if relation in ("in", "at") and second.is_a("weather"):
            return "below"
        if relation in ("wear", "with", "in") and second.worn_at:
            close = first.group in (PEOPLE, ANIMALS)
            return "under the chin" if second.worn_at == "round the neck" and close else second.worn_at
        if relation in ("wear", "with") and second.is_face:
            return "on the front"
        if relation in ("with", "on", "printed on") and _is_print(first, second, explicit=relation == "printed on"):
            return "printed on"
        if relation == "with" and (entity.count > 1 or entity.is_plural) and _is_held(second):
            return "around"
        if relation == "with":
            return "in the hand" if first.is_somebody and _is_held(second) else "left of"
        return _PAIRS.get(relation, relation)


def _is_held(concept: Concept) -> bool:
    """Whether somebody who comes with it holds it."""
    return concept.is_a("held") or (concept.group not in (PLACES, FLAGS, "symbols") and not concept.is_somebody)


def _is_print(concept: Concept, other: Concept, explicit: bool) -> bool:
    """Whether `other` is a picture on `concept`: a heart on an envelope. A cat on a laptop sits there."""
    flat = concept.is_a("clothes_to_print") or (concept.is_a("surface") and (explicit or other.is_a("emblem")))
    return flat and (other.is_a("emblem") or other.group == FLAGS or other.is_somebody)
