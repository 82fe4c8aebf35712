import dataclasses
import re
from itertools import product

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.colours import COLOURS, PAINTS, ground, main_colours
from models.data.grammar import MAX_COUNT, OPPOSITE, size
from models.data.pixels import put, resized
from models.data.scenes import (
    AXIS,
    KINDS,
    Background,
    Scene,
    counts_of,
    is_material,
    make_scene,
    paints_of,
    relation_split,
)

WORLD = fixture_world()
SCENES = [make_scene(WORLD, seed) for seed in range(300)]
ATTRIBUTES = {"colour": ("colour",), "count": ("count",), "relation": ("relation",), "pair": ("colour", "binding")}


def of_kind(kind: str, split: str = "train", count: int = 40) -> list[Scene]:
    return [make_scene(WORLD, seed, split, kind) for seed in range(count)]  # type: ignore[arg-type]


def centre(scene: Scene, i: int) -> np.ndarray:
    left, top, width, height = scene.objects[i].box
    return np.array([left + width / 2, top + height / 2])


def test_the_same_seed_gives_the_same_scene_and_pixels() -> None:
    for seed, scene in enumerate(SCENES[:40]):
        again = make_scene(WORLD, seed)
        assert again == scene and hash(again) == hash(scene)
        assert np.array_equal(again.render(WORLD), scene.render(WORLD))
    assert len({scene.objects for scene in SCENES}) > 290
    assert {scene.kind for scene in SCENES} == set(KINDS)


def test_objects_lie_inside_and_pixels_are_premultiplied() -> None:
    for scene in SCENES[:80]:
        pixels = scene.render(WORLD)
        assert pixels.shape == (128, 128, 4) and pixels.dtype == np.uint8
        assert (pixels[..., :3] <= pixels[..., 3:]).all()
        for item in scene.objects:
            left, top, width, height = item.box
            assert left >= 0 and top >= 0 and left + width <= 128 and top + height <= 128


def test_the_front_object_covers_the_other() -> None:
    for scene in (s for s in of_kind("relation") if AXIS[str(s.relation)] == "overlapping"):
        front = max(scene.objects, key=lambda item: item.z)
        alone = dataclasses.replace(scene, objects=(front,)).render(WORLD)
        opaque = dataclasses.replace(scene, objects=(front,), background=Background()).render(WORLD)[..., 3] == 255
        assert np.array_equal(scene.render(WORLD)[opaque], alone[opaque])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_relations_are_true_in_the_picture(split: str) -> None:
    seen = set()
    for scene in of_kind("relation", split, 120):
        offset, (first, second) = centre(scene, 0) - centre(scene, 1), scene.objects
        assert scene.relation is not None and first.concept != second.concept
        seen.add(scene.relation)
        if AXIS[scene.relation] == "overlapping":
            assert (first.z > second.z) == (scene.relation == "in front of")
        else:
            axis = 0 if AXIS[scene.relation] == "beside" else 1
            sign = -1 if scene.relation in ("left of", "above") else 1
            assert offset[axis] * sign > 50 and abs(offset[1 - axis]) < 40
    assert seen == set(OPPOSITE)


def test_counted_objects_are_alike_and_do_not_touch() -> None:
    for scene in of_kind("count"):
        assert 1 <= scene.count <= MAX_COUNT
        assert len({(item.picture, item.colour) for item in scene.objects}) == 1
        boxes = [item.box for item in scene.objects]
        for i, (x, y, w, h) in enumerate(boxes):
            for u, v, p, q in boxes[i + 1 :]:
                assert x + w <= u + 1 or u + p <= x + 1 or y + h <= v + 1 or v + q <= y + 1


def test_a_painted_object_has_its_colour() -> None:
    hits = []
    for scene in of_kind("colour", count=60):
        alone = dataclasses.replace(scene, background=Background())
        hits.append(main_colours(alone.render(WORLD))[0] == scene.objects[0].colour)
    assert np.mean(hits) > 0.9


def test_the_background_is_what_it_says() -> None:
    for scene in SCENES[:100]:
        alpha = scene.render(WORLD)[..., 3]
        if scene.background.kind == "transparent":
            assert (alpha == 0).any()
        else:
            assert (alpha == 255).all()
            worn = {item.colour for item in scene.objects}
            assert not worn & set(scene.background.colours)
    assert {scene.background.kind for scene in SCENES} == {"transparent", "plain", "gradient"}
    assert main_colours(ground(("red", "blue"))[:20]) == ("red",)


def test_size_words_are_true() -> None:
    sides = {"small": [], "large": [], None: []}
    for scene in of_kind("colour", count=80):
        sides[scene.objects[0].size].append(scene.objects[0].box[2])
    assert max(sides["small"]) < min(sides[None]) and max(sides[None]) < min(sides["large"])


# --- held-out combinations ---


def combinations(scene: Scene) -> set[tuple]:
    """What the scene shows: painted concepts, counted concepts, related concepts."""
    shown: set[tuple] = {(item.concept, item.colour) for item in scene.objects if item.colour}
    if scene.kind == "count":
        shown.add((scene.objects[0].concept, scene.count))
    elif scene.kind == "relation":
        shown.add((AXIS[str(scene.relation)], *sorted(item.concept for item in scene.objects)))
    elif scene.kind == "pair":  # unnamed, but there to be seen
        axis = "beside" if abs(np.diff([centre(scene, 0), centre(scene, 1)], axis=0)[0, 0]) > 40 else "stacked"
        shown.add((axis, *sorted(item.concept for item in scene.objects)))
    return shown


def test_held_out_combinations_are_never_met_in_training() -> None:
    trained = set().union(*(combinations(make_scene(WORLD, seed)) for seed in range(3000)))
    for split in ("val", "test"):
        for kind, seed in product(KINDS, range(40)):
            scene = make_scene(WORLD, seed, split, kind)
            about = {  # what the kind tests, without the colours that are only along
                "colour": {(item.concept, item.colour) for item in scene.objects},
                "pair": {(item.concept, item.colour) for item in scene.objects},
                "count": {(scene.objects[0].concept, scene.count)},
                "relation": {c for c in combinations(scene) if len(c) == 3},
            }[kind]
            assert not about & trained


def test_splits_partition_the_combinations() -> None:
    for concept in ("cat", "dog", "teapot"):
        for table, everything in ((paints_of, PAINTS), (counts_of, range(1, MAX_COUNT + 1))):
            rows = [x for split in ("train", "val", "test") for x in table(concept, split)]
            assert sorted(rows) == sorted(everything)
    shares = [len(paints_of(f"concept {i}", "train")) / len(PAINTS) for i in range(300)]
    assert 0.77 < np.mean(shares) < 0.83
    assert relation_split("left of", "cat", "dog") == relation_split("right of", "dog", "cat")


def test_scenes_use_training_pictures_only() -> None:
    assert all(WORLD.pictures[item.picture].split == "train" for scene in SCENES for item in scene.objects)
    with pytest.raises(ValueError, match="training pictures"):
        make_scene(WORLD, 0, "train", pictures="cell")
    scene = make_scene(WORLD, 0, "test", "relation", pictures="cell")
    assert all(WORLD.pictures[item.picture].split == "cell" for item in scene.objects)


def test_unfit_pictures_are_no_material() -> None:
    star = next(p for p in WORLD.pictures if p.concept == "star")
    assert is_material(star)
    assert not is_material(dataclasses.replace(star, concept="red-apple"))  # a blue red apple
    assert not is_material(dataclasses.replace(star, group="flags"))
    assert not is_material(dataclasses.replace(star, skin="dark"))


# --- captions ---


def test_captions_name_all_that_matters() -> None:
    for scene in SCENES:
        english, chinese = scene.caption(0, "en").lower(), scene.caption(0, "zh")
        for item in scene.objects:
            assert (item.colour or "") in english
            assert item.colour is None or COLOURS[item.colour].zh in chinese
            assert item.names["zh"] in chinese
            assert scene.kind == "count" or item.names["en"] in english
        assert size(english) <= 24 and size(chinese) <= 24


def test_short_captions_leave_style_and_background_out() -> None:
    for scene in SCENES[:100]:
        assert "background" not in scene.caption(1, "en", "short") and "背景" not in scene.caption(1, "zh", "short")
    assert any("background" in scene.caption(1, "en", "long") for scene in SCENES[:100])


def test_counts_are_said() -> None:
    for scene in of_kind("count"):
        text = scene.caption(2, "en").lower()
        assert any(
            word in text.split() for word in (str(scene.count), ("one", "two", "three", "four")[scene.count - 1])
        )


def test_relations_are_said_the_right_way_round() -> None:
    for scene in of_kind("relation"):
        for seed in range(8):
            text = scene.caption(seed, "en", "short").lower()
            first, second = (text.index(item.names["en"]) for item in scene.objects)
            relation = scene.relation if first < second else OPPOSITE[str(scene.relation)]
            word = {"left of": "left", "right of": "right", "in front of": "front"}.get(str(relation), str(relation))
            words = "left right above over top below under bottom front behind back"
            said = [w for w in words.split() if w in text]
            synonyms = {"above": "above over top", "below": "below under bottom", "behind": "behind back"}
            assert min(said, key=text.index) in synonyms.get(word, word).split(), text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_background_is_always_said_where_it_is_asked_for(language: str) -> None:
    grounds = {"en": "background|gradient", "zh": "背景"}[language]
    for scene in SCENES:
        for seed in range(4):
            text = scene.caption(seed, language, grounded=True)  # type: ignore[arg-type]
            if scene.background.colours:
                assert re.search(grounds, text, re.IGNORECASE), text
            else:
                assert text == scene.caption(seed, language)  # type: ignore[arg-type]


# --- contrasts ---


@pytest.mark.parametrize(("kind", "attribute"), [(k, a) for k, rows in ATTRIBUTES.items() for a in rows])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_contrast_differs_in_one_attribute_only(kind: str, attribute: str, split: str) -> None:
    for scene in of_kind(kind, split, 30):
        other = scene.contrast(attribute)  # type: ignore[arg-type]
        assert other == scene.contrast(attribute)  # type: ignore[arg-type]
        assert (other.background, other.kind, other.seed) == (scene.background, scene.kind, scene.seed)
        assert {item.picture for item in other.objects} == {item.picture for item in scene.objects}
        assert (other.count != scene.count) == (attribute == "count")
        assert (other.relation != scene.relation) == (attribute == "relation")
        colours = [{item.concept: item.colour for item in one.objects} for one in (scene, other)]
        assert (colours[0] != colours[1]) == (attribute in ("colour", "binding"))
        assert (set(colours[0].values()) != set(colours[1].values())) == (attribute == "colour")
        assert not np.array_equal(other.render(WORLD), scene.render(WORLD))
        for seed in range(6):
            assert other.caption(seed, "en") != scene.caption(seed, "en")
            assert other.caption(seed, "zh") != scene.caption(seed, "zh")


def test_contrasts_of_relations_and_colours_change_places() -> None:
    for scene in of_kind("relation"):
        other = scene.contrast("relation")
        assert [item.box for item in other.objects] == [item.box for item in reversed(scene.objects)]
        assert [item.z for item in other.objects] == [item.z for item in reversed(scene.objects)]
        assert other.relation == OPPOSITE[str(scene.relation)]
    for scene in of_kind("pair"):
        other = scene.contrast("binding")
        assert [item.colour for item in other.objects] == [item.colour for item in reversed(scene.objects)]
        assert [item.box for item in other.objects] == [item.box for item in scene.objects]


def test_a_contrast_is_worded_alike() -> None:
    for scene in of_kind("colour"):
        other = scene.contrast("colour")
        old, new = str(scene.objects[0].colour), str(other.objects[0].colour)
        for seed in range(4):
            one, two = scene.caption(seed, "zh"), other.caption(seed, "zh")
            assert one.replace(f"{COLOURS[old].zh}的", "@") == two.replace(f"{COLOURS[new].zh}的", "@")


def test_contrasts_of_training_scenes_stay_in_training() -> None:
    held_out = {
        (c, p) for c in {i.concept for s in SCENES for i in s.objects} for x in ("val", "test") for p in paints_of(c, x)
    }
    for kind, attribute in [(kind, attribute) for kind, rows in ATTRIBUTES.items() for attribute in rows]:
        for scene in of_kind(kind):
            other = scene.contrast(attribute)  # type: ignore[arg-type]
            assert not held_out & {(item.concept, item.colour) for item in other.objects}
            assert kind != "count" or other.count in counts_of(other.objects[0].concept, "train")
            concepts = [item.concept for item in other.objects]
            assert kind != "relation" or relation_split(str(other.relation), *concepts) == "train"


def test_a_missing_attribute_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no relation to change"):
        of_kind("colour", count=1)[0].contrast("relation")
    with pytest.raises(ValueError, match="use a larger world"):
        make_scene(WORLD, 0, split="cell")


# --- composing ---


def test_over_equals_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    below, above = (np.sort(rng.integers(0, 256, (32, 32, 4), dtype=np.uint8), -1) for _ in range(2))
    canvas = below.copy()
    put(canvas, above, 0, 0)
    exact = above + below * (255.0 - above[..., 3:]) / 255
    assert np.abs(canvas - exact).max() <= 0.5 + 1e-6
    put(canvas, above, -10, 28)  # partly outside
    put(canvas, above, 200, 200)


def test_resizing_gives_no_halo() -> None:
    """A red disc on nothing: its edge stays as red as the disc, however thin."""
    y, x = np.mgrid[:128, :128]
    disc = np.zeros((128, 128, 4), np.uint8)
    disc[(x - 64) ** 2 + (y - 64) ** 2 < 2500] = (220, 0, 0, 255)
    small = resized(disc, 50, 41)
    assert small.shape == (41, 50, 4) and not small[..., 1:3].any()
    # But for the rounding of two passes in two channels.
    assert np.abs(small[..., 0].astype(int) * 255 - small[..., 3].astype(int) * 220).max() <= 2 * 255
