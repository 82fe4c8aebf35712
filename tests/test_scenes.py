"""Scenes and clips: determinism, truth of captions and contrasts, held-out combinations."""

import dataclasses
import re
from itertools import product

import numpy as np
import pytest
from fixture_world import fixture_world
from picture_kit import as_file

from models.data.clips import (
    FRAMES,
    MOTIONS,
    POSE,
    REST,
    SPEEDS,
    Clip,
    Move,
    Track,
    direction_of,
    eased,
    linear_map,
    make_clip,
    motion_caption,
    motion_split,
    pose,
)
from models.data.colours import COLOURS, PAINTS, ground, main_colours
from models.data.extra_sets import AnimatedSet, animated_caption, resampled
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


def test_captions_name_counts() -> None:
    for scene in of_kind("count"):
        text = scene.caption(2, "en").lower()
        assert any(
            word in text.split() for word in (str(scene.count), ("one", "two", "three", "four")[scene.count - 1])
        )


def test_captions_name_relations_in_the_right_direction() -> None:
    for scene in of_kind("relation"):
        for seed in range(8):
            text = scene.caption(seed, "en", "short").lower()
            first, second = (text.index(item.names["en"]) for item in scene.objects)
            relation = scene.relation if first < second else OPPOSITE[str(scene.relation)]
            word = {"left of": "left", "right of": "right", "in front of": "front"}.get(str(relation), str(relation))
            words = "left right above over top below under bottom front behind back"
            result = [w for w in words.split() if w in text]
            synonyms = {"above": "above over top", "below": "below under bottom", "behind": "behind back"}
            assert min(result, key=text.index) in synonyms.get(word, word).split(), text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_grounded_captions_name_the_background(language: str) -> None:
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
def test_a_contrast_differs_in_a_single_attribute(kind: str, attribute: str, split: str) -> None:
    for scene in of_kind(kind, split, 30):
        other = scene.contrast(attribute)  # type: ignore[arg-type]
        assert other == scene.contrast(attribute)  # type: ignore[arg-type]
        assert (other.background, other.kind, other.seed) == (scene.background, scene.kind, scene.seed)
        assert {item.picture for item in other.objects} == {item.picture for item in scene.objects}
        assert (other.count != scene.count) == (attribute == "count")
        assert (other.relation != scene.relation) == (attribute == "relation")
        colours = [{item.concept: item.colour for item in entry.objects} for entry in (scene, other)]
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
            entry, two = scene.caption(seed, "zh"), other.caption(seed, "zh")
            assert entry.replace(f"{COLOURS[old].zh}的", "@") == two.replace(f"{COLOURS[new].zh}的", "@")


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


# --- Clips ------------------------------------------------------------------------------------------------------------


CLIPS = [make_clip(WORLD, seed) for seed in range(60)]


def moving(motion: str, loop: bool = False, side: int = 64, **settings: object) -> Clip:
    """A clip of a star with that motion."""
    star = next(p for p in WORLD.pictures if p.split == "train")
    return Clip(0, "train", (Track(star.index, side, 64.0, 64.0, Move(motion, loop=loop)),), loop=loop, **settings)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_clip() -> None:
    for seed, clip in enumerate(CLIPS[:6]):
        again = make_clip(WORLD, seed)
        assert again == clip and np.array_equal(again.render(WORLD), clip.render(WORLD))
        assert again.caption(WORLD, 5) == clip.caption(WORLD, 5)
    assert len({clip.tracks for clip in CLIPS}) > 50


def test_frames_are_premultiplied_and_of_equal_shape() -> None:
    for clip in CLIPS[:20]:
        frames = clip.render(WORLD)
        assert frames.shape == (FRAMES, 128, 128, 4) and frames.dtype == np.uint8
        assert (frames[..., :3] <= frames[..., 3:]).all()


def test_all_kinds_and_conditions_are_drawn() -> None:
    many = [make_clip(WORLD, seed) for seed in range(400)]
    assert {len(clip.tracks) for clip in many} >= {1, 2} and any(clip.scene for clip in many)
    moves = [track.move for clip in many for track in clip.tracks]
    assert {move.motion for move in moves} == set(MOTIONS) and {move.speed for move in moves} == set(SPEEDS)
    assert all(MOTIONS[move.motion].loops for move in moves if move.loop)
    assert len({clip.fps for clip in many}) == 4 and len({clip.ease for clip in many}) == 4
    assert {bool(clip.background.colours) for clip in many} == {True, False} == {clip.loop for clip in many}


@pytest.mark.parametrize("motion", [name for name, row in MOTIONS.items() if row.loops])
@pytest.mark.parametrize("speed", SPEEDS)
def test_a_loop_closes(motion: str, speed: str) -> None:
    move = Move(motion, speed, loop=True)  # type: ignore[arg-type]
    for seconds in (1.0, 2.0):
        first, last = pose(move, np.array([0.0, 1.0]), seconds)
        assert np.allclose(first[[0, 1, 5]], last[[0, 1, 5]], atol=1e-5)
        assert np.allclose(linear_map(first), linear_map(last), atol=1e-5)


@pytest.mark.parametrize("motion", [name for name in MOTIONS if direction_of(name)])
def test_the_centroid_goes_where_the_motion_says(motion: str) -> None:
    clip = moving(motion)
    alpha = clip.render(WORLD)[..., 3].astype(float)
    places = np.arange(128)
    seen = alpha.sum((1, 2)) > 0
    x = (alpha.sum(1) @ places)[seen] / alpha.sum((1, 2))[seen]
    y = (alpha.sum(2) @ places)[seen] / alpha.sum((1, 2))[seen]
    axis, sign = {"left": (x, -1), "right": (x, 1), "up": (y, -1), "down": (y, 1)}[str(clip.direction)]
    assert sign * (axis[-1] - axis[0]) > 5


def test_things_begin_as_they_are_at_rest() -> None:
    for clip in CLIPS[:30]:
        names = {track.move.motion for track in clip.tracks}
        assert clip.rest(WORLD).any()
        if "fade in" not in names:
            assert np.array_equal(clip.render(WORLD)[0], clip.rest(WORLD))


def test_strength_and_speed_scale_what_is_seen() -> None:
    times = np.linspace(0, 1, FRAMES)
    strong = pose(Move("slide left"), times, 2.0, strength=1.5)
    assert np.allclose(strong[:, 0], 1.5 * pose(Move("slide left"), times, 2.0)[:, 0])
    ways = {speed: abs(pose(Move("slide left", speed), times, 2.0)[5, 0]) for speed in SPEEDS}
    assert ways["slow"] < ways["normal"] < ways["fast"]
    for ease in ("even", "soft", "late", "early"):
        felt = eased(times, ease)  # type: ignore[arg-type]
        assert felt[0] == 0 and felt[-1] == 1 and (np.diff(felt) >= 0).all()


def test_training_never_shows_a_held_out_pair() -> None:
    def pairs(clip: Clip) -> set[str]:
        return {motion_split(WORLD.pictures[t.picture].concept, t.move.motion) for t in clip.tracks}

    assert all(pairs(clip) == {"train"} for clip in CLIPS)
    assert all(WORLD.pictures[track.picture].split == "train" for clip in CLIPS for track in clip.tracks)
    for split in ("val", "test"):
        assert all(split in pairs(make_clip(WORLD, seed, split)) for seed in range(20))
    shares = [motion_split(str(i), motion) for i in range(200) for motion in MOTIONS]
    assert shares.count("train") / len(shares) == pytest.approx(0.8, abs=0.03)


def test_owners_cover_what_moves() -> None:
    assert (moving("spin").owners(WORLD, 32) == 1).all()  # nothing is behind it
    grounded = moving("spin", background=Background(("blue",)))
    owners = grounded.owners(WORLD, 32)
    assert set(np.unique(owners)) == {0, 1} and not owners[0].any()
    two = next(
        clip for clip in (make_clip(WORLD, seed) for seed in range(200)) if len(clip.tracks) == 2 and not clip.scene
    )
    assert {1, 2} <= set(np.unique(two.owners(WORLD, 32)))


def test_given_poses_take_the_place_of_the_laws() -> None:
    clip = moving("slide left")
    still = clip.render(WORLD, poses=[np.tile(REST, (FRAMES, 1))])
    assert REST.shape == (POSE,) and (still == still[0]).all()
    assert np.array_equal(still[0], clip.rest(WORLD))


def test_animations_are_resampled_and_still_files_skipped() -> None:

    from PIL import Image

    frames = [Image.new("RGBA", (64, 64), (5 * i, 0, 0, 255)) for i in range(48)]
    for count, expected in ((48, FRAMES), (1, None)):
        how = {"save_all": True, "append_images": frames[1:count], "duration": 50, "lossless": True}
        read = resampled(as_file(frames[0], "WEBP", **how))
        assert (read and len(read[0])) == expected
    assert read is None


def test_the_animated_set_keeps_its_test_splits() -> None:
    pictures = tuple(p for p in WORLD.pictures if p.split in ("train", "cell"))
    animated = AnimatedSet(pictures, np.zeros((len(pictures), 1, 1, 1, 4), np.uint8), np.ones(len(pictures)))
    assert all(pictures[row].split == "train" for row in animated.rows("train"))
    with pytest.raises(PermissionError):
        animated.rows("cell")
    assert animated_caption(pictures[0], 1) == animated_caption(pictures[0], 1)


# --- Motions in words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOTIONS)
def test_each_row_says_and_does_something(name: str) -> None:
    row = MOTIONS[name]
    assert row.en and row.zh and row.cycles > 0
    assert any(row.move) or row.turn or row.scale or row.squash or row.flip or row.opacity
    # A motion that ends elsewhere than it began cannot run on from its last frame.
    assert row.loops == (row.curve != "ramp")
    english = motion_caption(WORLD.pictures[8], 0, "en", Move(name)).lower()
    chinese = motion_caption(WORLD.pictures[8], 0, "zh", Move(name))
    assert any(form in english for pair in row.en for form in pair)
    assert any(verb in chinese for verb in row.zh)


def test_directions_agree_with_their_words() -> None:
    for name, row in MOTIONS.items():
        for word, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)):
            if name.endswith(word):
                assert row.move[axis] * sign > 0
                assert row.move[1 - axis] == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_are_deterministic_short_and_name_speed_and_loop(language: str) -> None:
    things = [WORLD.pictures[0], make_scene(WORLD, 3)]
    for seed in range(200):
        for thing in things:
            text = motion_caption(thing, seed, language)
            assert text == motion_caption(thing, seed, language)
            assert size(text) <= 26
    looped = motion_caption(things[0], 1, language, Move("spin", "fast", loop=True)).lower()
    assert ("loop" in looped or "循环" in looped) and any(
        word in looped for word in ("fast", "quickly", "快速", "飞快")
    )
