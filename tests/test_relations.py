"""Laws of where the things of a prompt stand: each is where it is said to be, in the words that people say it in."""

from dataclasses import replace
from itertools import pairwise

import pytest
from bags import Bags, no_far_names, of_bags  # noqa: F401 - a fixture
from test_wording import KNOWN

from models.data.fixture import fixture_world
from models.data.scenes import make_scene
from models.reading.layout import Layout, layout
from models.reading.naming import Known
from models.reading.places import AROUND, BACKDROP, ON_IT, STAGE, STREWN, THERE, TWO, Place, several, within
from models.reading.wording import Wording

THINGS = (
    *KNOWN,
    Known({"en": ("crown",), "zh": ("皇冠",)}, (), "objects", True),
    Known({"en": ("sunglasses",), "zh": ("墨镜",)}, (), "objects", True),
    Known({"en": ("two hearts",)}, (), "smileys-emotion", True),
    Known({"en": ("ice",)}, (), "food-drink", True),
    Known({"en": ("heart",)}, (), "smileys-emotion", True),
    Known({"en": ("desert",), "zh": ("沙漠",)}, (), "travel-places", True),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(THINGS)


@pytest.fixture(scope="module")
def built() -> Wording:
    return Wording.build(Bags(), fixture_world())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "texts", "relation"),
    [
        ("a cat to the left of a dog", ("cat", "dog"), "left of"),
        ("A red cat on the right, a dog on the left, twemoji style", ("a red cat, twemoji style", "dog, twemoji style"),
         "right of"),
        ("a cat and a dog", ("cat", "dog"), "left of"),
        ("a cat & a dog", ("cat", "dog"), "left of"),
        ("The cat is on the right and the dog is on the left", ("cat", "dog"), "right of"),
        ("a cat at the bottom with a dog at the top", ("cat", "dog"), "below"),
        ("猫坐在狗上", ("猫", "狗"), "on"),
        ("猫在狗上面", ("猫", "狗"), "above"),
        ("一只猫戴着红色的皇冠", ("猫", "红色的皇冠"), "on the head"),
        ("an astronaut to the left of a cat", ("astronaut", "cat"), "left of"),
        ("a red cat and a blue cat", ("a red cat", "a blue cat"), "left of"),
        ("a cat above a piece of cheese", ("cat", "cheese wedge"), "above"),
        ("a hamburger under a dog", ("hamburger", "dog"), "below"),
        ("a cat on a dog", ("cat", "dog"), "on"),
        ("a cat in a dog", ("cat", "dog"), "in"),
        ("猫在狗的后面", ("猫", "狗"), "behind"),
        ("右边是猫，左边是狗", ("猫", "狗"), "right of"),
        ("右边有一只猫，左边有一只狗", ("猫", "狗"), "right of"),
        ("上面一只猫，下面一只狗", ("猫", "狗"), "above"),
        ("on the right a cat, on the left a dog", ("cat", "dog"), "right of"),
        ("At the bottom a cat and at the top a dog", ("cat", "dog"), "below"),
        ("a cat with a crown", ("cat", "crown"), "on the head"),
        ("a dog wearing sunglasses", ("dog", "sunglasses"), "on the eyes"),
        ("戴墨镜的狗", ("狗", "墨镜"), "on the eyes"),
        ("a crown to the left of a cat", ("crown", "cat"), "left of"),
        ("a cat chasing a dog", ("cat", "dog"), "left of"),
        ("a cat fighting a dog", ("cat", "dog"), "left of"),
        ("a cat holding a crown", ("cat", "crown"), "in the hand"),
        ("a cat eating cheese", ("cat", "cheese wedge"), "in the hand"),
        ("a dog with a hamburger", ("dog", "hamburger"), "in the hand"),
        ("a crown with a hamburger", ("crown", "hamburger"), "left of"),
        ("a cat hugging a dog", ("cat", "dog"), "in the arms"),
        ("a cat with a hamburger on its head", ("cat", "hamburger"), "on the head"),
        ("a hamburger with a crown on top", ("hamburger", "crown"), "on top"),
        ("拿着汉堡的狗", ("狗", "汉堡"), "in the hand"),
        ("抱着狗的猫", ("猫", "狗"), "in the arms"),
        ("a dog looking at cheese", ("dog", "cheese wedge"), "left of"),
        ("猫追着狗", ("猫", "狗"), "left of"),
        ("a cat above a desert", ("cat", "desert"), "above"),
        ("a cat and a desert", ("cat", "desert"), "left of"),
    ],
)  # fmt: skip
def test_two_things_go_where_is_said(wording: Wording, prompt: str, texts: tuple[str, ...], relation: str) -> None:
    assert layout(prompt, wording) == Layout(texts, TWO[relation])


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a cat in the desert", ("cat", "desert")),
        ("a red cat at a desert", ("a red cat", "desert")),
        ("猫在沙漠里", ("猫", "沙漠")),
        ("a crown on a desert", ("crown", "desert")),
        ("two cats in the desert", ("cat", "cat", "desert")),
        ("a cat and a dog in a desert", ("cat", "dog", "desert")),
        ("three dogs in a desert, noto style", (*("dog, noto style",) * 3, "desert, noto style")),
    ],
)
def test_a_place_lies_behind_what_is_there(wording: Wording, prompt: str, texts: tuple[str, ...]) -> None:
    assert layout(prompt, wording) == Layout(texts, (*THERE[len(texts) - 1], BACKDROP))


def test_what_belongs_together_does_so_in_front_of_a_place(wording: Wording) -> None:
    for alone in ("a cat with a crown", "a cat with a crown and sunglasses", "a dog holding a hamburger"):
        found, there = layout(alone, wording), layout(f"{alone} in the desert", wording)
        assert found is not None and there is not None and there.texts == (*found.texts, "desert")
        assert there.places == (*(within(place, STAGE) for place in found.places), BACKDROP)


def test_more_than_have_room_are_not_laid_out(wording: Wording) -> None:
    assert layout("four cats in the desert", wording) is None
    assert layout("two cats in two deserts", wording) is None


def test_what_lies_on_something_that_wears_it_is_worn(wording: Wording) -> None:
    assert layout("a crown on a cat", wording) == Layout(("crown", "cat"), TWO["on the head"][::-1])


def test_what_one_of_two_wears_is_in_its_place(wording: Wording) -> None:
    """The one that wears something is as small as the place beside the other one lets it, with what it wears."""
    found = layout("a cat with sunglasses to the left of a dog", wording)
    assert found is not None and found.texts == ("cat", "sunglasses", "dog")
    wearer, worn, other = found.places
    left, right = TWO["left of"]
    assert other == right and worn.z > wearer.z
    for place, alone in zip((wearer, worn), TWO["on the eyes"], strict=True):
        assert place == within(alone, left)
        assert left.left <= place.left and place.left + place.width <= left.left + left.width
    assert layout("a dog to the left of a cat with sunglasses", wording) == Layout(
        ("dog", "cat", "sunglasses"), (left, *(within(place, right) for place in TWO["on the eyes"]))
    )


@pytest.mark.parametrize(
    ("prompt", "texts", "places"),
    [
        ("a cat with hamburgers", ("cat", *("hamburger",) * 3), AROUND),
        ("a cat with two hamburgers", ("cat", *("hamburger",) * 2), AROUND[:3]),
        ("a dog surrounded by hamburgers", ("dog", *("hamburger",) * 3), AROUND),
        ("a crown with hamburgers", ("crown", *("hamburger",) * 3), STREWN),
        ("a hamburger with a crown on it", ("hamburger", "crown"), ON_IT),
        ("a cat with two dogs", ("cat", "dog", "dog"), several(3)),
    ],
)
def test_small_things_lie_around_and_on_others(
    wording: Wording, prompt: str, texts: tuple[str, ...], places: tuple[Place, ...]
) -> None:
    assert layout(prompt, wording) == Layout(texts, places)


@pytest.mark.parametrize("prompt", ["a cat with a crown and sunglasses", "a cat wearing sunglasses and a crown"])
def test_what_is_worn_together_fits_the_same_head(wording: Wording, prompt: str) -> None:
    found = layout(prompt, wording)
    assert found is not None and sorted(found.texts) == ["cat", "crown", "sunglasses"]
    where = dict(zip(found.texts, found.places, strict=True))
    wearer, crown = TWO["on the head"]
    assert (where["cat"], where["crown"]) == (wearer, crown)
    eyed, glasses = TWO["on the eyes"]
    across = (where["sunglasses"].left - wearer.left) / wearer.width
    assert across == pytest.approx((glasses.left - eyed.left) / eyed.width, abs=0.02)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("an angry cat and a sad hamburger", ("an angry cat", "hamburger", "disappointed face, fluent flat style")),
        ("two happy hamburgers", ("hamburger", "smiling face, fluent flat style") * 2),
        ("a happy hamburger holding a crown", ("hamburger", "smiling face, fluent flat style", "crown")),
    ],
)
def test_each_of_several_feels_what_is_said_of_it(wording: Wording, prompt: str, texts: tuple[str, ...]) -> None:
    found = layout(prompt, wording)
    assert found is not None and found.texts == texts
    for (text, place), (face, on) in pairwise(zip(found.texts, found.places, strict=True)):
        if "face," in face:
            assert text == "hamburger" and on == replace(place, onto="face")


def test_a_picture_within_a_frame_is_in_its_middle_and_stands_as_it_does() -> None:
    whole = Place(0, 0, 128, 128)
    assert within(whole, Place(10, 20, 100, 50, z=2)) == Place(35, 20, 50, 50, z=2)
    assert within(whole, Place(10, 20, 50, 100, stands=1)) == Place(10, 70, 50, 50)
    assert within(Place(64, 32, 32, 64, z=1), Place(0, 0, 64, 64, z=1)) == Place(32, 16, 16, 32, z=2)


FACED = (
    *THINGS,
    Known({"en": ("cat face",), "zh": ("猫脸",)}, (), "animals-nature", True),
    Known({"en": ("mouse",)}, (), "animals-nature", True),
    Known({"en": ("mouse face",)}, (), "animals-nature", True),
    Known({"en": ("horse",)}, (), "animals-nature", True),
    Known({"en": ("horse face",)}, (), "animals-nature", True),
    Known({"en": ("crown face",)}, (), "objects", True),
)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a cat to the left of a dog", ("cat face", "dog")),
        ("a red cat and a crown, noto style", ("a red cat face, noto style", "crown, noto style")),
        ("a dog under a cat", ("dog", "cat face")),
        ("a cat under a dog", ("cat face", "dog")),
        ("a cat in a hamburger", ("cat face", "hamburger")),
        ("a cat with a crown", ("cat face", "crown")),
        ("a crown on a cat", ("crown", "cat face")),
        ("a cat with sunglasses", ("cat face", "sunglasses")),
        ("两只猫", ("猫脸", "猫脸")),
        ("three mice", ("mouse face",) * 3),
        ("two cats, one red and one blue", ("a red cat face", "a blue cat face")),
        ("a cat", ("cat face",)),
        ("a red cat, noto style", ("a red cat face, noto style",)),
        ("a cat on a blue background", ("cat face",)),
        ("a cat with a crown on a red background", ("cat face", "crown")),
        ("a red cat with big blue eyes and a pink nose", ("a red cat face",)),
        ("蓝眼睛的猫", ("猫脸",)),
        ("a cat with sunglasses and green eyes", ("cat face", "sunglasses")),
        ("猫", ("猫脸",)),
        ("a cat on a dog", ("cat face", "dog")),
        ("a dog in front of a cat", ("dog", "cat face")),
        ("a cat in the desert", ("cat face", "desert")),
        # What stands or does something there, is small, and what has no face from the front.
        ("a cat that jumps and a dog", ("cat", "dog")),
        ("a jumping cat and a dog", ("cat", "dog")),
        ("a small cat", ("cat",)),
        ("a horse next to a cat", ("horse", "cat face")),
    ],
)
def test_of_an_animal_its_face_is_drawn_where_there_is_no_room_for_legs(prompt: str, texts: tuple[str, ...]) -> None:
    found = layout(prompt, of_bags(FACED))
    assert found is not None and found.texts == texts


@pytest.mark.parametrize(
    "prompt",
    ['"a cat"', "a fat cat", "a cat with a long tail", "a horse", "a dog", "a cat face", "no cat", "a (cat:1.2)"],
)
def test_alone_an_animal_has_its_body_where_more_is_said_or_it_has_no_face(prompt: str) -> None:
    assert layout(prompt, of_bags(FACED)) is None


@pytest.mark.parametrize(
    ("prompt", "texts", "colours"),
    [
        ("three red cats", ("a red cat",) * 3, ()),
        ("two dogs and a cat, on a beige background", ("dog", "dog", "cat"), ("beige",)),
        ("四只猫，从黄色到浅蓝色的渐变背景", ("猫",) * 4, ("yellow", "light blue")),
        ("a fat cat on a light blue background", ("a fat cat",), ("light blue",)),
        ("a small cat", ("cat",), ()),
        ("a red cat with a blue background", ("a red cat",), ("blue",)),
        ("three hearts", ("heart",) * 3, ()),
        ("two light blue hearts", ("a light blue heart",) * 2, ()),
        ("二只猫", ("猫",) * 2, ()),
        ("a cat with a crown on a red background", ("cat", "crown"), ("red",)),
        ("红色背景上的猫", ("猫",), ("red",)),
        ("蓝色背景的红色的猫", ("红色的猫",), ("blue",)),
        ("一只猫在红色背景上", ("一只猫",), ("red",)),
        ("a red cat, a blue cat and a dog", ("a red cat", "a blue cat", "dog"), ()),
        ("two cats, one red and one blue, 3d", ("a red cat, fluent 3d style", "a blue cat, fluent 3d style"), ()),
        ("两只狗，一只红色一只蓝色", ("红色的狗", "蓝色的狗"), ()),
        ("two cats, one red and one blue, on a beige background", ("a red cat", "a blue cat"), ("beige",)),
    ],
)
def test_several_and_one_on_a_ground(
    wording: Wording, prompt: str, texts: tuple[str, ...], colours: tuple[str, ...]
) -> None:
    found = layout(prompt, wording)
    assert found is not None and (found.texts, found.ground) == (texts, colours)
    assert len(set(found.places)) == len(texts), "no two in one place"


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat", "3D风格的猫", "a cat, gradient style", "a cat, transparent background", "two hearts", "five cats",
        "a cat made of ice", "axolotl", "", '"a cat and a dog"', "a (cat:1.2) and a dog",
        "a cat and a dog and a hamburger and a crown and ice", "a cat and no dog", "No dog and a cat",
        "a cat with two ears", "第二只猫", "a cat without a crown",
        "a cat on a blurred background", "12只猫", "a dog eating a puppy", "a cat chasing",
    ],
)  # fmt: skip
def test_the_rest_is_drawn_at_once(wording: Wording, prompt: str) -> None:
    assert layout(prompt, wording) is None


def test_scenes_are_laid_out_as_their_captions_say(built: Wording) -> None:
    """The first of a scene's objects stands to the second as its relation says; grounds and numbers are the scene's."""
    leads = {"left of": ("left", 1), "right of": ("left", -1), "above": ("top", 1), "below": ("top", -1),
             "in front of": ("z", -1), "behind": ("z", 1)}  # fmt: skip
    for seed in range(150):
        scene = make_scene(fixture_world(), seed)
        text = scene.caption(seed, grounded=True)
        found = layout(text, built)
        if found is None:
            assert scene.count == 1 and not scene.background.colours, text
            continue
        assert (len(found.places), found.ground) == (scene.count, scene.background.colours), text
        if scene.relation:
            names = scene.objects[0].names.values()
            first = next(i for i, one in enumerate(found.texts) if any(name in one for name in names))
            of, sign = leads[scene.relation]
            places = found.places[first], found.places[1 - first]
            assert sign * (getattr(places[0], of) - getattr(places[1], of)) < 0, text
