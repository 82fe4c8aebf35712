"""What a row of training data costs to make: `python benchmarks/data.py`.

Median time of a caption, a composed scene, its caption and each changed view of a picture, beside its ratio to one
bicubic resize of a picture by Pillow; all take turns, so that other work on the machine slows them alike. On the
pictures that tests draw: no build of the data is needed.
"""

from collections.abc import Callable
from functools import partial

from PIL import Image
from timing import medians, parser, show, write_json  # the file beside this one

from models.data.captions import caption
from models.data.fixture import fixture_world
from models.data.scenes import Scene, make_scene
from models.data.variety import can_be_mirrored, mirrored, staged, warped
from models.data.world import World

REFERENCE = "resize"


def ways(world: World, count: int) -> dict[str, Callable[[], object]]:
    """Each makes `count` of its kind."""
    pictures = [world.pictures[i % len(world.pictures)] for i in range(count)]
    scenes = [make_scene(world, seed) for seed in range(count)]
    whole = [Image.fromarray(world.pixels[p.index], "RGBa") for p in pictures]
    mirrors = [world.pixels[p.index] for p in pictures if can_be_mirrored(p)]
    shown = [scene for p in pictures if (scene := staged(p))]
    render = partial(Scene.render, world=world)
    made: dict[str, tuple[Callable[..., object], list[tuple[object, ...]]]] = {
        REFERENCE: (lambda image: image.resize((112, 112), Image.Resampling.BICUBIC), [(image,) for image in whole]),
        "caption": (caption, [(p, seed) for seed, p in enumerate(pictures)]),
        "mirrored": (mirrored, [(pixels,) for pixels in mirrors]),
        "warped": (warped, [(world.pixels[p.index], p, seed) for seed, p in enumerate(pictures)]),
        "staged": (render, [(scene,) for scene in shown]),
        "scene": (partial(make_scene, world), [(seed,) for seed in range(count)]),
        "scene's pixels": (render, [(scene,) for scene in scenes]),
        "scene's caption": (lambda scene, seed: scene.caption(seed), [(s, i) for i, s in enumerate(scenes)]),
    }
    return {name: partial(_each, make, given) for name, (make, given) in made.items() if given}


def _each(make: Callable[..., object], given: list[tuple[object, ...]]) -> int:
    for arguments in given:
        make(*arguments)
    return len(given)


def main() -> None:
    """Print the table."""
    options = parser(__doc__, count=200, repeats=5).parse_args()
    work = ways(fixture_world(), options.count)
    each = {name: seconds / work[name]() for name, seconds in medians(work, options.repeats).items()}
    if options.json:
        write_json(each)
    else:
        show(each)


if __name__ == "__main__":
    main()
