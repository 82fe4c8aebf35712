"""The fixture's world with people in it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from fixture_world import fixture_world

from models.data.world import World, pictures_by_concept


def peopled(shown: Sequence[tuple[str, str, str | None]]) -> World:
    """The fixture's world with a cook more, drawn in each (style, family) as such or as a woman or a man: all of one
    colour, each of another one."""
    world = fixture_world()
    first, index = pictures_by_concept(world)["cat"][0], len(world.pixels)
    cooks = [
        replace(
            first, id=f"cook-{place}", index=index + place, concept="cook", style=style, family=family, gender=gender,
            skin=None, names={"en": f"{gender} cook" if gender else "cook"}, keywords={},
        )
        for place, (style, family, gender) in enumerate(shown)
    ]  # fmt: skip
    drawings = np.zeros((len(cooks), *world.pixels.shape[1:]), np.uint8)
    drawings[:, 20:108, 20:108] = [[[[40 * place, 255 - 40 * place, 128, 255]]] for place in range(len(cooks))]
    return World([*world.pictures, *cooks], np.concatenate([world.pixels, drawings]), world.digest)
