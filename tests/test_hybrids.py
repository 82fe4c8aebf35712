"""Laws of hybrids: a mood that no name holds is blended with what has a face and laid on what has none; and its kin."""

import numpy as np
import pytest
import torch
from bags import Bags, no_far_names, of_bags  # noqa: F401 - a fixture
from tiny_parts import save_tiny_parts

from models.data.fixture import fixture_world
from models.pipelines.image import StickerPipeline
from models.reading.feelings import with_feeling
from models.reading.hybrids import FACE, SHARE, Shares, felt, hybrid, winged
from models.reading.layout import Layout, layout
from models.reading.naming import Known
from models.reading.other_names import OTHER_NAMES
from models.reading.places import BACKDROP, FEATURES, MIDDLE, WHOLE, WINGED
from models.reading.wording import Wording
from models.references.build import build_references
from models.sampling.loop import Pictures, Sampling
from models.space import Embedder
from models.telling import Teller

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


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(THINGS)


@pytest.mark.parametrize(
    ("prompt", "face", "thing"),
    [
        ("a shy robot, blushing", "smiling face with smiling eyes", "robot"),
        ("a surprised dog", "astonished face", "dog"),
        ("a smiling avocado, black glyph style", "smiling face, black glyph style", "avocado, black glyph style"),
    ],
)
def test_what_has_a_face_is_blended_with_its_feeling(wording: Wording, prompt: str, face: str, thing: str) -> None:
    assert hybrid(prompt, wording) == ((FACE, face), (1 - FACE, thing))


@pytest.mark.parametrize(
    ("prompt", "face", "thing"),
    [
        ("a smiling avocado", "smiling face", "avocado"),
        ("an angry red teapot, Noto style", "angry face", "a red teapot, noto style"),
        ("a teapot with a face", "smiling face", "teapot"),
        ("a teapot with a sad face", "disappointed face", "teapot"),
        ("a sleepy teapot", "relieved face", "teapot"),  # a sleeping face has letters beside it
        ("生气的牛油果", "angry face", "牛油果"),
        ("哭泣的红色茶壶", "crying face", "红色的茶壶"),
    ],
)
def test_what_has_no_face_gets_eyes_and_a_mouth(wording: Wording, prompt: str, face: str, thing: str) -> None:
    assert hybrid(prompt, wording) is None
    assert layout(prompt, wording) == Layout((thing, f"{face}, fluent flat style"), (BACKDROP, FEATURES))


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("dog + avocado", ("avocado", "dog")),
        ("a red teapot, noto style + dog, noto style", ("a red teapot, noto style", "dog, noto style")),
        ("robot + 茶壶", ("茶壶", "robot")),
        ("dog + cat", None),  # both have a face
        ("avocado + teapot", None),
        ("dog + something", None),
        ("detective + avocado", None),
        ("dog + avocado + teapot", None),
        ("two dogs + avocado", None),
    ],
)
def test_of_two_at_once_the_one_with_a_face_is_in_the_middle_of_the_other(
    wording: Wording, prompt: str, texts: tuple[str, str] | None
) -> None:
    assert layout(prompt, wording) == (texts and Layout(texts, (BACKDROP, MIDDLE)))


@pytest.mark.parametrize(
    ("word", "thing", "said"),
    [
        ("angry", "a red teapot", "an angry red teapot"),
        ("happy", "avocado", "a happy avocado"),
        ("happy", "two dogs", "two happy dogs"),
        ("in love", "dog", "a dog in love"),
        ("生气", "茶壶", "生气的茶壶"),
    ],
)
def test_a_feeling_is_said_of_a_thing(word: str, thing: str, said: str) -> None:
    assert with_feeling(word, thing) == said


def test_on_a_ground_too(wording: Wording) -> None:
    found = layout("a smiling avocado on a blue background", wording)
    assert found == Layout(("avocado", "smiling face, fluent flat style"), (WHOLE, FEATURES), ("blue",))


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a dog detective", None),
        ("a dog made of avocado", ((SHARE, "avocado"), (SHARE, "dog"))),
        ("a red dog made out of a teapot", ((SHARE, "teapot"), (SHARE, "a red dog"))),
        ("用牛油果做的狗", ((SHARE, "牛油果"), (SHARE, "狗"))),
        ("a dog made of something", None),
        ("two dogs made of avocado", None),
        ("a dog made of ice", None),  # is a blue one
    ],
)
def test_things_are_made_of_others(wording: Wording, prompt: str, parts: Shares | None) -> None:
    assert hybrid(prompt, wording) == parts


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a flying dog", ("dog", "butterfly")),
        ("a green teapot with wings, noto style", ("a green teapot, noto style", "butterfly, noto style")),
        ("会飞的狗", ("狗", "butterfly")),
        ("a flying parrot", None),
        ("a flying saucer", None),
    ],
)
def test_what_has_wings_is_laid_before_a_butterfly(
    wording: Wording, prompt: str, texts: tuple[str, str] | None
) -> None:
    assert hybrid(prompt, wording) is None
    assert layout(prompt, wording) == (texts and Layout(texts, WINGED))


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
        '"a smiling avocado"',
        "a (smiling:1.3) avocado",
        "a smiling something",
        "an avocado",
        "",
    ],
)
def test_what_has_a_name_or_is_no_one_thing_has_no_other_face(wording: Wording, prompt: str) -> None:
    assert hybrid(prompt, wording) is None
    assert FEATURES not in getattr(layout(prompt, wording), "places", ())


def test_it_is_drawn_as_the_blend_of_both_and_said_to_be(tmp_path_factory: pytest.TempPathFactory) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    pipe.wording, pipe.references = Wording.build(Bags(), fixture_world()), build_references(fixture_world())  # type: ignore[arg-type]

    def drawn(prompts: list[str], **settings: object) -> Pictures:
        (done,) = (e for e in pipe.steps(prompts, [5, 6], Sampling(2, batch=2), **settings) if isinstance(e, Pictures))  # type: ignore[arg-type]
        return done

    assert pipe.read_as("a grinning cat") == "grinning face + cat" and pipe.read_as("a house") == "a house"
    assert pipe.read_as("a grinning house") == "a grinning house"
    blend = pipe.blend([(FACE, "grinning face"), (1 - FACE, "cat")])
    mixed, own = drawn(["a grinning cat", "a house"]), drawn(["", "a house"], blends=[blend, None])
    assert np.array_equal(mixed.pixels, own.pixels) and torch.equal(mixed.wanted, own.wanted)
    assert torch.equal(mixed.wanted[:1], blend.vector)
    named = "a cat with a grinning face"
    assert layout(named, pipe.wording) and pipe._layouts([named], [True]) == [None]
    other = drawn(["a grinning cat", "a house"], words=False)
    assert not np.array_equal(other.pixels[0], own.pixels[0])


# --- The things that ship --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Wording:
    return Wording.load(Embedder.load())


def is_one(prompt: str, wording: Wording) -> bool:
    return bool(hybrid(prompt, wording) or felt(prompt, wording) or winged(prompt, wording))


def test_no_name_is_a_hybrid(shipped: Wording) -> None:
    names = {name for known in shipped.naming.known for of_language in known.names.values() for name in of_language}
    names |= {name for called in OTHER_NAMES.values() for name in called}
    assert len(names) > 4000 and [name for name in names if is_one(name, shipped)] == []


@pytest.mark.parametrize(
    "prompts",
    [
        "a cat and a flying saucer|a dog catching a flying disc|a cat flying a plane|a flying balloon",
        "不会飞的狗|没有翅膀的狗|不哭的洋葱|a robot that is not angry|a pig with no wings",
        "生日快乐气球|新年快乐红包|圣诞快乐圣诞树|中秋快乐月饼|happy halloween pumpkin|happy mother's day bouquet",
        "happy 18th birthday cake|happy chinese new year lantern|happy hour cocktail|an eco-friendly light bulb",
        "开心果冰淇淋|a weeping willow tree|sleeping pills|laughing gas balloon|shocked by lightning|开心的笑脸",
        "a flying superhero|a dog person|a cat woman",
        "a cat hugging a woman|a cow milked by a farmer|猫抱着女孩|beer with chicken wings|厨师做的蛋糕|a cool car",
    ],
)
def test_what_sounds_like_a_hybrid_is_none(shipped: Wording, prompts: str) -> None:
    assert [prompt for prompt in prompts.split("|") if is_one(prompt, shipped)] == []


@pytest.mark.parametrize(
    ("prompt", "drawn"),
    [
        ("a smiling avocado, transparent background", "a smiling avocado"),
        ("a smiling aubergine on a white background", "a smiling eggplant, on a white background"),
        ("a dragon made of ice on a red background", "a blue dragon on a red background"),
        ("冰做的龙", "蓝色的龙"),
        ("会飞的猪", "会飞的猪头"),
        ("a dog in love", "smiling face with heart-eyes + dog face"),
        ("an angry blue dog, noto style", "angry face, noto style + a blue dog face, noto style"),
        ("伤心的老虎", "disappointed face + 老虎头"),
        ("a sad horse", "disappointed face + horse"),
        ("a sleeping cat", "sleeping face + cat face"),
        ("生气的番茄", "生气的西红柿"),
        ("kawaii avocado", "kawaii avocado"),
        ("a robot cat", "robot + cat face"),
        ("a zombie rabbit, twemoji style", "zombie, twemoji style + rabbit face, twemoji style"),
        ("half cat and half fish", "cat face + fish"),
        ("a mix of a cat and a dog", "cat face + dog face"),
        ("a hybrid of a cat and a dog on a red background", "cat face + dog face, on a red background"),
        ("a cute robot cat", "robot + cat face"),
        ("半猫半狗", "猫脸 + 狗脸"),
    ],
)
def test_what_is_drawn_is_what_is_said(shipped: Wording, prompt: str, drawn: str) -> None:
    teller = Teller()
    teller.wording = shipped
    assert teller.read_as(prompt) == drawn
