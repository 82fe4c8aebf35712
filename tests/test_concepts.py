"""Icon names and code points lead to one base concept, whoever drew it."""

import pytest

from models.data.concepts import Emojibase, hexcode, plain_chinese, plain_english, slug

ENGLISH = [
    {"hexcode": "1F642", "emoji": "🙂", "label": "slightly smiling face", "tags": ["smile"], "group": 0},
    {"hexcode": "1F9D1-200D-1F373", "emoji": "🧑‍🍳", "label": "cook", "tags": ["chef"], "group": 1},
    {"hexcode": "1F469-200D-1F373", "emoji": "👩‍🍳", "label": "woman cook", "tags": ["chef"], "group": 1},
    {"hexcode": "1F64D", "emoji": "🙍", "label": "person frowning", "tags": ["frown"], "group": 1},
    {"hexcode": "1F64D-200D-2642-FE0F", "emoji": "🙍‍♂️", "label": "man frowning", "tags": ["frown"], "group": 1},
    {"hexcode": "1F48F", "emoji": "💏", "label": "kiss", "tags": ["love"], "group": 1},
    {"hexcode": "1F1EF-1F1F5", "emoji": "🇯🇵", "label": "flag: Japan", "tags": ["JP"], "group": 9},
    {"hexcode": "1F4DE", "emoji": "📞", "label": "telephone receiver", "tags": ["phone"], "group": 7},
]
CHINESE = [{"hexcode": "1F9D1-200D-1F373", "label": "厨师", "tags": ["大厨"]}]
GROUPS = {"0": "smileys-emotion", "1": "people-body", "7": "objects", "9": "flags"}


@pytest.fixture
def names() -> Emojibase:
    return Emojibase(ENGLISH, CHINESE, GROUPS)


@pytest.mark.parametrize(
    ("name", "concept", "skin", "gender"),
    [
        ("cook", "cook", None, None),
        ("woman-cook", "cook", None, "woman"),
        ("woman-cook-medium-dark-skin-tone", "cook", "medium-dark", "woman"),
        ("woman-cook-medium-light", "cook", "medium-light", "woman"),
        ("man-frowning", "person-frowning", None, "man"),
        ("kiss-person-person-dark-skin-tone-light-skin-tone", "kiss", "dark", None),
        ("telephonereceiver", "telephone-receiver", None, None),
        ("telephone-receiver-2", "telephone-receiver", None, None),
        ("flag-for-japan", "flag-japan", None, None),
        ("japan", "flag-japan", None, None),
        ("slightly-smiling", "slightly-smiling-face", None, None),
    ],
)
def test_names_of_all_sets_meet_in_one_concept(names, name, concept, skin, gender):
    meaning = names.by_name(name)
    assert (meaning.concept, meaning.skin, meaning.gender) == (concept, skin, gender)


def test_code_points_and_names_agree(names):
    assert names.by_points("1f469-1f3fe-200d-1f373").concept == names.by_name("woman-cook").concept
    assert names.by_points("1f469-1f3fe-200d-1f373").skin == "medium-dark"
    assert names.by_points("1F9D1-200D-1F373").names == {"en": "cook", "zh": "厨师"}
    assert names.by_points("ABCDEF") is None


def test_an_unknown_name_is_a_concept_of_its_own_cut_into_known_words(names):
    assert names.by_name("smilephone").names["en"] == "smile phone"
    assert names.by_name("zzyzx").concept == "zzyzx"


def test_hexcode_drops_selectors_and_tones_but_never_everything():
    assert hexcode("0031-fe0f-20e3") == ("0031-20E3", None)
    assert hexcode("1f44b-1f3fb") == ("1F44B", "light")
    assert hexcode("1f3fb") == ("1F3FB", None)


def test_structured_labels_are_said_as_people_say_them():
    assert plain_english("man: red hair") == "man with red hair"
    assert plain_english("man walking: facing right") == "man walking facing right"
    assert plain_english("flag: Japan") == "flag of Japan"
    assert plain_chinese("旗: 日本") == "日本旗"
    assert slug("Côte d’Ivoire") == "cote-divoire"
