"""Laws of hybrids: a mood that no name holds is a face in the middle of the one thing asked for, and its kin."""

import numpy as np
import pytest
import torch
from test_wording import COMMON, Bags, bag
from tiny_parts import save_tiny_parts

from models.data.fixture import fixture_world
from models.drawing import Pictures, Sampling
from models.hybrids import BODY, FACE, MOODS, STUFF, Shares, hybrid
from models.naming import Known, Naming
from models.pipeline import StickerPipeline
from models.prototypes import Prototypes
from models.wording import Wording

THINGS = (
    Known({"en": ("avocado",), "zh": ("牛油果",)}, ("fruit",), "food-drink", True),
    Known({"en": ("teapot",), "zh": ("茶壶",)}, ("tea",), "food-drink", True),
    Known({"en": ("robot",)}, (), "smileys-emotion", True),
    Known({"en": ("detective",), "zh": ("侦探",)}, (), "people-body", False),
    Known({"en": ("dog",), "zh": ("狗",)}, (), "animals-nature", True),
    Known({"en": ("cat",)}, (), "animals-nature", True),
    Known({"en": ("crying cat",)}, (), "smileys-emotion", True),
    Known({"en": ("grinning cat", "smiling cat face")}, ("smiling", "happy"), "smileys-emotion", True),
    Known({"en": ("smiling face",)}, ("happy",), "smileys-emotion", True),
    Known({"en": ("drooling face",)}, (), "smileys-emotion", True),
    Known({"en": ("parrot",)}, ("bird", "pirate"), "animals-nature", True),
    Known({"en": ("flying saucer",)}, ("UFO",), "travel-places", True),
    Known({"en": ("family",)}, (), "people-body", False),
    Known({"en": ("birthday cake",)}, (), "food-drink", True),
)


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.naming.FAR", -1.0)  # as in test_wording


@pytest.fixture(scope="module")
def wording() -> Wording:
    names = [name for one in THINGS for of_language in one.names.values() for name in of_language]
    return Wording(Bags(), Naming(THINGS, torch.stack([bag(name) for name in names])), COMMON)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "face", "thing"),
    [
        ("a smiling avocado", "smiling face", "avocado"),
        ("an angry red teapot, Noto style", "angry face, noto style", "a red teapot, noto style"),
        ("a teapot with a face", "smiling face", "teapot"),
        ("a teapot with a sad face", "disappointed face", "teapot"),
        ("a shy robot, blushing", "smiling face with smiling eyes", "robot"),
        ("a surprised dog", "astonished face", "dog"),
        ("生气的牛油果", "angry face", "牛油果"),
        ("哭泣的红色茶壶", "crying face", "红色的茶壶"),
    ],
)
def test_a_thing_with_a_feeling_is_a_face_and_a_thing(wording: Wording, prompt: str, face: str, thing: str) -> None:
    assert hybrid(prompt, wording) == ((FACE, face), (1 - FACE, thing))


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a dog detective", ((FACE, "dog"), (1 - FACE, "detective"))),
        ("a black cat detective, noto style", ((FACE, "a black cat, noto style"), (1 - FACE, "detective, noto style"))),
        ("狗侦探", ((FACE, "狗"), (1 - FACE, "侦探"))),
        ("an avocado detective", None),
        ("a detective dog", None),
        ("a detective", None),
        ("a dog made of avocado", ((STUFF, "avocado"), (1 - STUFF, "dog"))),
        ("a red dog made out of a teapot", ((STUFF, "teapot"), (1 - STUFF, "a red dog"))),
        ("用牛油果做的狗", ((STUFF, "牛油果"), (1 - STUFF, "狗"))),
        ("a dog made of something", None),
        ("two dogs made of avocado", None),
        ("a flying dog", ((BODY, "dog"), (1 - BODY, "butterfly"))),
        (
            "a green teapot with wings, noto style",
            ((BODY, "a green teapot, noto style"), (1 - BODY, "butterfly, noto style")),
        ),
        ("会飞的狗", ((BODY, "狗"), (1 - BODY, "butterfly"))),
        ("a flying parrot", None),
        ("a flying saucer", None),
    ],
)
def test_animals_are_dressed_and_things_made_of_others(wording: Wording, prompt: str, parts: Shares | None) -> None:
    assert hybrid(prompt, wording) == parts


@pytest.mark.parametrize(
    "prompt",
    [
        "a crying cat",  # has a name
        "a smiling cat",  # is one that has a name
        "a smiling face",
        "a sad face",
        "a happy family",
        "a happy birthday cake",
        "two happy dogs",
        "a small happy dog",
        "a happy dog and a cat",
        "a happy dog on a blue background",
        '"a smiling avocado"',
        "a (smiling:1.3) avocado",
        "a smiling something",
        "an avocado",
        "",
    ],
)
def test_what_has_a_name_or_is_no_one_thing_has_no_other_face(wording: Wording, prompt: str) -> None:
    assert hybrid(prompt, wording) is None


def test_every_mood_is_said_in_both_languages_and_of_one_face() -> None:
    words = [word for of_language in MOODS.values() for words in of_language for word in words]
    assert len(words) == len(set(words)) and all(english and chinese for english, chinese in MOODS.values())


def test_it_is_drawn_as_the_blend_of_both_and_said_to_be(tmp_path_factory: pytest.TempPathFactory) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    pipe.wording, pipe.prototypes = Wording.build(Bags(), fixture_world()), Prototypes.build(fixture_world())  # type: ignore[arg-type]

    def drawn(prompts: list[str], **settings: object) -> Pictures:
        (done,) = (e for e in pipe.steps(prompts, [5, 6], Sampling(2, batch=2), **settings) if isinstance(e, Pictures))  # type: ignore[arg-type]
        return done

    assert pipe.read_as("a grinning house") == "grinning face + house" and pipe.read_as("a house") == "a house"
    blend = pipe.blend([(FACE, "grinning face"), (1 - FACE, "house")])
    mixed, own = drawn(["a grinning house", "a cat"]), drawn(["", "a cat"], blends=[blend, None])
    assert np.array_equal(mixed.pixels, own.pixels) and torch.equal(mixed.wanted, own.wanted)
    assert torch.equal(mixed.wanted[:1], blend.vector)
    other = drawn(["a grinning house", "a cat"], words=False)
    assert not np.array_equal(other.pixels[0], own.pixels[0])
