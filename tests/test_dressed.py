"""Animals that do what people do: a person with the animal's face, laid and not blended."""

import pytest
from bags import no_far_names, of_bags  # noqa: F401 - a fixture

from models.reading.dressed import dressed
from models.reading.hybrids import hybrid
from models.reading.layout import Layout, layout
from models.reading.naming import Known
from models.reading.places import DRESSED
from models.reading.wording import Wording
from models.space import Embedder
from models.telling import Teller

THINGS = (
    Known({"en": ("detective",), "zh": ("侦探",)}, (), "people-body", False),
    Known({"en": ("astronaut",), "zh": ("宇航员",)}, (), "people-body", False),
    Known({"en": ("person",), "zh": ("人",)}, (), "people-body", False),
    Known({"en": ("cat",), "zh": ("猫",)}, (), "animals-nature", True),
    Known({"en": ("cat face",), "zh": ("猫脸",)}, (), "animals-nature", True),
    Known({"en": ("bear",), "zh": ("熊",)}, (), "animals-nature", True),
    Known({"en": ("avocado",), "zh": ("牛油果",)}, ("fruit",), "food-drink", True),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(THINGS)


@pytest.mark.parametrize(
    ("prompt", "texts", "ground"),
    [
        ("a cat detective", ("cat face", "detective"), ()),
        ("a detective cat", ("cat face", "detective"), ()),
        ("a bear-astronaut", ("bear", "astronaut"), ()),
        ("a black cat detective, noto style", ("a black cat face, noto style", "detective, noto style"), ()),
        ("猫宇航员", ("猫脸", "宇航员"), ()),
        ("熊侦探", ("熊", "侦探"), ()),
        ("a cat detective on a blue background", ("cat face", "detective"), ("blue",)),
        ("a cat detective, transparent background", ("cat face", "detective"), ()),
        ("a cat detective with an avocado", ("cat face", "detective"), ()),
    ],
)
def test_the_animal_has_its_face_and_the_person_all_else(
    wording: Wording, prompt: str, texts: tuple[str, ...], ground: tuple[str, ...]
) -> None:
    assert layout(prompt, wording) == Layout(texts, DRESSED, ground)
    assert hybrid(prompt, wording) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "an avocado detective",
        "a detective",
        "a cat",
        "a cat person",
        "two cat detectives",
        "a small cat detective",
        "a cat and a detective",
        "a cat that is no detective",
        "not a cat detective",
        '"a cat detective"',
        "a (cat:1.2) detective",
        "",
    ],
)
def test_nobody_else_is_dressed(wording: Wording, prompt: str) -> None:
    assert dressed(prompt, wording) is None


# --- The things that ship --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Wording:
    return Wording.load(Embedder.load())


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a cat astronaut", "cat face on astronaut"),
        ("a bear detective, noto style", "bear on detective, noto style"),
        ("a panda ninja on a white background", "panda on ninja, on a white background"),
        ("猫宇航员", "猫脸在宇航员上"),
        ("a fox wizard", "fox on mage"),
        ("a dog chef, 3d style", "dog face on cook, fluent 3d style"),
        ("a mouse king", "mouse face on person with crown"),
        ("狐狸巫师", "狐狸在法师上"),
        ("a ninja cat", "cat face on ninja"),
        ("a dog in a spacesuit", "dog face on astronaut"),
        ("a penguin wearing a santa hat, noto style", "penguin on Santa Claus, noto style"),
        ("穿西装的熊", "熊在穿燕尾服的人上"),
        ("a queen bee", "honeybee"),
        ("king cobra", "snake"),
        ("a witch cat on a broom", "a cat on a broom"),
        ("穿红色披风的狗", "狗脸在超级英雄上"),
        ("a cat in a box", "a cat in a package"),
        ("a cat", "cat face"),
        ("a rabbit on a red background, noto style", "rabbit face, noto style, on a red background"),
        ("一只红色的老鼠", "红色的老鼠头"),
        ("a sitting dog", "dog"),
        ("a dragon", "a dragon"),
    ],
)
def test_what_is_drawn_is_what_is_said(shipped: Wording, prompt: str, read: str) -> None:
    teller = Teller()
    teller.wording = shipped
    assert teller.read_as(prompt) == read


def test_no_name_is_of_an_animal_that_is_dressed(shipped: Wording) -> None:
    names = {name for known in shipped.naming.known for of_language in known.names.values() for name in of_language}
    assert len(names) > 4000 and [name for name in names if dressed(name, shipped)] == []


@pytest.mark.parametrize(
    "prompts",
    [
        "a cat hugging a woman|a cow milked by a farmer|猫抱着女孩|a dog person|a cat woman|厨师做的蛋糕",
        "a chicken leg|a dog nose|a cat ear|fish bones|a pig tongue|a bear hand|a sea lion|a cat hugging a chef",
        "a horse rider|a bird watcher|a dog walker|a fish seller|a lion tamer|a snake charmer|a bear hug",
    ],
)
def test_what_sounds_like_one_is_none(shipped: Wording, prompts: str) -> None:
    assert {prompt: found for prompt in prompts.split("|") if (found := dressed(prompt, shipped))} == {}
