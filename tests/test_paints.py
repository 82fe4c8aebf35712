"""Laws of colours as people say them: they are read as one that is taught, and names stay names."""

import pytest

from models.data.colours import COLOURS
from models.reading.other_names import OTHER_NAMES
from models.reading.paints import SHADES, STUFFS, painted
from models.reading.wording import Wording
from models.space import Embedder


@pytest.mark.parametrize(
    ("said", "taught"),
    [
        ("a gray cat", "a grey cat"),
        ("a dark blue car", "a blue car"),
        ("a light blue car", "a light blue car"),
        ("a light green leaf", "a green leaf"),
        ("a navy blue shirt and a golden crown", "a blue shirt and a yellow crown"),
        ("a silver medal", "a silver medal"),
        ("a golden retriever", "a golden retriever"),
        ("gold", "gold"),
        ("a red panda and two arctic foxes", "a brown panda and two white foxes"),
        ("a red and black panda", "a red and black panda"),
        ("一只小熊猫", "一只棕色的熊猫"),
        ("a pot of gold and a rainbow", "a pot of gold and a rainbow"),
        ("lavender in a vase", "lavender in a vase"),
        ("a star in navy blue", "a star in blue"),
        ("an emerald dragon", "a green dragon"),
        ("a cat holding a heart made of glass", "a cat holding a heart made of glass"),
        ("two dogs made of snow", "two white dogs"),
        ("橘猫和白狗", "橙色的猫和白色的狗"),
        ("白马王子", "白马王子"),
        ("a pink-haired girl", "a girl"),
        ("银色的星星", "灰色的星星"),
        ("白猫", "白色的猫"),
        ("一只黑狗", "一只黑色的狗"),
        ("小黄鸭", "黄色的鸭"),
        ("黑猫", "黑猫"),
        ("黄瓜", "黄瓜"),
        ("红包", "红包"),
        ("a dragon made of ice", "a blue dragon"),
        ("a cute cat made out of clouds, noto style", "a white cute cat, noto style"),
        ("the house made of chocolate", "the brown house"),
        ("a dragon made of something", "a dragon made of something"),
        ("用巧克力做的房子", "棕色的房子"),
        ("厨师做的蛋糕", "厨师做的蛋糕"),
    ],
)
def test_colours_are_those_that_are_taught(said: str, taught: str) -> None:
    assert painted(said) == taught
    assert painted(taught) == taught


def test_every_shade_and_stuff_has_a_colour() -> None:
    assert set(SHADES.values()) | set(STUFFS.values()) <= set(COLOURS)


def test_no_name_is_painted() -> None:
    known = Wording.load(Embedder.load()).naming.known
    names = {name.lower() for one in known for of_language in one.names.values() for name in of_language}
    names |= {name.lower() for called in OTHER_NAMES.values() for name in called}
    assert [name for name in names if painted(name) != name] == []
