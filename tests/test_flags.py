"""Laws of flags: a country's flag is found by what people call it, and any flag is held by whom it is given to."""

import pytest
from bags import bag, no_far_names, of_bags  # noqa: F401 - a fixture

from models.reading.naming import Known
from models.reading.other_names import OTHER_NAMES, of_flag
from models.reading.wording import Wording

KNOWN = (
    Known({"en": ("flag of Japan",), "zh": ("日本旗",)}, (), "flags", False),
    Known({"en": ("flag of Canada",), "zh": ("加拿大旗",)}, (), "flags", False),
    Known({"en": ("triangular flag",), "zh": ("三角旗",)}, ("post",), "flags", False),
    Known({"en": ("white flag",), "zh": ("白旗",)}, ("waving",), "flags", False),
    Known({"en": ("panda",), "zh": ("熊猫",)}, ("animal",), "animals-nature", True),
    Known({"en": ("turkey",), "zh": ("火鸡",)}, ("animal",), "animals-nature", True),
    Known({"en": ("flag of Türkiye",), "zh": ("土耳其旗",)}, (), "flags", False),
    Known({"en": ("person swimming",), "zh": ("游泳",)}, ("swim",), "people-body", False),
    Known({"en": ("health worker",), "zh": ("卫生工作者",)}, ("care",), "people-body", False),
    Known({"en": ("index pointing up",), "zh": ("食指向上指",)}, (), "people-body", False),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(KNOWN)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("flag of Japan", ["flag of Japan"]),
        ("a Japan flag", ["flag of Japan"]),
        ("Japan's flag, fluent 3d style", ["flag of Japan"]),
        ("the Japanese flag", ["flag of Japan"]),
        ("日本国旗", ["flag of Japan"]),
        ("加拿大的国旗", ["flag of Canada"]),
        ("a Canadian flag", ["flag of Canada"]),
        ("flag of Turkey", ["flag of Türkiye"]),
        ("a turkey", ["turkey"]),
        ("a flag", ["triangular flag"]),
        ("a white flag", ["white flag"]),
        ("a pirate flag", []),
        ("a small red flag", ["triangular flag"]),
        ("flag of Atlantis", []),  # another country's would be wrong
        ("a panda holding a Japanese flag", ["panda", "flag of Japan"]),
        ("拿着日本国旗的熊猫", ["panda", "flag of Japan"]),
        ("a panda with a flag", ["panda", "triangular flag"]),
        ("a panda and the flag of Canada", ["panda", "flag of Canada"]),
        ("a panda swimming", ["panda"]),  # what only people's pictures do
        ("a person swimming", ["person swimming"]),
        ("a doctor swimming", ["health worker"]),
        ("a panda swimming around a turkey", ["panda", "turkey"]),
        ("a finger", ["index pointing up"]),
    ],
)
def test_what_a_prompt_names(wording: Wording, text: str, names: list[str]) -> None:
    assert [KNOWN[part.number].names["en"][0] for part in wording.naming.parts(text, bag)] == names


def test_what_follows_from_a_flags_own_name_is_not_listed() -> None:
    assert of_flag("flag of Japan") == ("Japan flag", "Japan's flag")
    assert "日本国旗" in of_flag("日本旗") and of_flag("panda") == of_flag("旗") == ()
    listed = {name for names in OTHER_NAMES.values() for name in names}
    flags = [thing for thing in OTHER_NAMES if thing.startswith("flag of ")]
    assert len(flags) > 60 and not any(said.lower() in listed for flag in flags for said in of_flag(flag))
