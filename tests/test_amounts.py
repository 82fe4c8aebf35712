"""Laws of amounts: what measures a thing is no thing, "several" is a number, and what is counted is counted once."""

import pytest

from models.reading.amounts import counted
from models.reading.layout import layout
from models.reading.phrasing import in_order
from models.reading.places import BACKDROP, BELOW_SKY, SKY, STAGE, STREWN, TWO, Place, within
from models.reading.wording import BLACK_AND_WHITE, Thing, Wording
from models.space import Embedder

SAID = [
    ("a glass of wine", "a wine"),
    ("two bottles of wine", "two wine"),
    ("a bunch of the bananas and a cat", "a bananas and a cat"),
    ("a glass of milk", "a milk"),
    ("three glasses of milk", "three milk"),
    ("a pile of poo", "a pile of poo"),
    ("a bottle of water", "a bottle"),
    ("a bouquet of red roses", "a bouquet"),
    ("a basket of apples", "apples in a basket"),
    ("a wooden box full of kittens, fluent style", "kittens in a wooden box, fluent style"),
    ("several cats", "three cats"),
    ("a few of the stars", "three stars"),
    ("a couple of dogs", "two dogs"),
    ("lots of hearts", "three hearts"),
    ("a herd of cows", "three cows"),
    ("a group of people", "three people"),
    ("a family of four", "a family of four"),
    ("a deck of cards", "a deck of cards"),
    ("几只猫", "三个猫"),
    ("很多星星", "三个星星"),
    ("一群鸟", "三个鸟"),
    ("a pair of birds", "two birds"),
    ("a pair of shoes", "a shoes"),
    ("lots of love", "lots of love"),
    ("many thanks", "many thanks"),
    ("how many cats", "how many cats"),
    ("a group of friends", "a group of friends"),
    ("a bucket of water", "a bucket"),
    ("一束红玫瑰", "花束"),
    ("a cat", "a cat"),
    ("a birthday cake with three candles", "a birthday cake"),
    ("a cake with candles", "a cake with candles"),
    ("a heart on fire", "a heart on fire"),
    ("a basketball on fire", "a basketball"),
    ("a glasshouse, a boxer", "a glasshouse, a boxer"),
]


@pytest.mark.parametrize(("text", "meant"), SAID)
def test_what_is_measured_is_meant(text: str, meant: str) -> None:
    assert counted(text) == meant
    assert counted(meant) == meant


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("a cat, orange", "an orange cat"),
        ("two cats, orange, noto style", "two orange cats, noto style"),
        ("a red cat, orange", "a red cat, orange"),
        ("a cat and a dog, black", "a cat and a dog, black"),
        ("flag of france, white, red and blue", "flag of france, white, red and blue"),
        ("跪下的人", "跪下的人"),
        ("一只猫，橙色，线条风格", "橙色的一只猫，线条风格"),
        ("花瓶里的花", "花在花瓶里"),
        ("草地上的兔子", "兔子在草地上"),
        ("红色背景上的猫", "猫，红色背景"),
        ("喝咖啡的狗", "狗喝咖啡"),
        ("在湖边的鸭子", "鸭子在湖边"),
    ],
)
def test_what_is_said_of_a_thing_stands_where_it_is_looked_for(text: str, ordered: str) -> None:
    assert in_order(text) == ordered
    assert in_order(ordered) == ordered


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("戴皇冠的白猫", "白色的猫戴皇冠"),
        ("一只可爱的戴红帽子的猫", "一只猫戴红色的帽子"),
        ("3D风格的拿着气球的熊", "熊拿着气球，3d风格"),
        ("我想要一只戴墨镜的狗", "一只狗戴墨镜"),
        ("蓝色背景，戴帽子的猫", "猫戴帽子，蓝色背景"),
        ("熊正在弹吉他", "熊拿着吉他"),
        ("坐在月亮上的兔子", "兔子在月亮上"),
        ("盒子里有一只猫", "一只猫在盒子里"),
        ("嘴里叼着鱼的猫", "猫拿着鱼"),
        ("系着领带的狗和追老鼠的猫", "狗戴领带和猫追老鼠"),
        ("戴着帽子和眼镜的猫", "猫戴着帽子和眼镜"),
        ("开着红色汽车的熊", "熊骑红色汽车"),
        ("猫、狗和兔子", "猫和狗和兔子"),
        ("穿和服的女孩", "女孩穿和服"),
        ("戴头纱的女人", "戴头纱的女人"),
        ("地球上的欧洲非洲", "地球上的欧洲非洲"),
    ],
)
def test_chinese_says_who_does_it_before_what_is_done(text: str, ordered: str) -> None:
    assert in_order(text) == ordered
    assert in_order(ordered) == ordered


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("please draw me a cat with a hat", "a cat with a hat"),
        ("a sticker of a dog", "a dog"),
        ("a sticker", "a sticker"),
        ("a cat peeking out of a box", "a cat in a box"),
        ("a bear with small stars around it", "a bear surrounded by small stars"),
        ("a plane flying through clouds", "a plane over clouds"),
        ("a vase with red roses", "red roses in a vase"),
    ],
)
def test_english_says_where_in_the_words_that_are_looked_for(text: str, ordered: str) -> None:
    assert in_order(text) == ordered
    assert in_order(ordered) == ordered


@pytest.fixture(scope="module")
def shipped() -> Wording:
    return Wording.load(Embedder.load())


def test_a_chinese_name_stays_as_it_is(shipped: Wording) -> None:
    names = {name for known in shipped.naming.known for name in known.names.get("zh", ())}
    assert len(names) > 1500 and [name for name in names if in_order(name) != name.lower()] == []


@pytest.mark.parametrize(
    ("prompt", "names", "count"),
    [
        ("a glass of wine", ["wine glass"], 0),
        ("a herd of sheep", ["ewe"], 3),
        ("several cats", ["cat"], 3),
        ("a vase of flowers", ["blossom", "amphora"], 2),
        ("a box of chocolates", ["chocolate bar", "package"], 2),
        ("a mug of coffee", ["hot beverage"], 0),
        ("a dog drinking coffee", ["dog", "hot beverage"], 2),
        ("弹吉他的熊", ["bear", "guitar"], 2),
        ("骑自行车的青蛙", ["frog", "bicycle"], 2),
        ("骑自行车", ["person biking"], 0),
        ("炸弹", ["bomb"], 0),
        ("吃惊的脸", ["hushed face"], 0),
        ("树下的狗", ["dog", "deciduous tree"], 2),
        ("骑马的宇航员", ["astronaut", "horse"], 2),
        ("a woman doctor", ["health worker"], 0),
        ("跪下的人", ["person kneeling"], 0),
        ("a spaceship", ["rocket"], 0),
        ("a bow tie", ["ribbon"], 0),
        ("many cats and a dog", ["cat", "dog"], 4),
        ("a cat drinking a glass of milk", ["cat", "glass of milk"], 2),
        ("a teapot and cups of tea", ["teapot", "hot beverage"], 2),
        ("a bunny with a bow", ["rabbit face", "ribbon"], 2),
        ("a girl with a balloon", ["girl", "balloon"], 2),
        ("a queen with a crown", ["person with crown"], 0),
        ("a girl with a hat", ["girl", "top hat"], 2),
        ("a man climbing a mountain", ["person climbing"], 0),
        ("a bear climbing a mountain", ["bear", "mountain"], 2),
        ("a woman riding a bike", ["person biking"], 0),
        ("a cat riding a bike", ["cat", "bicycle"], 2),
        ("a man cooking", ["cook"], 0),
        ("a woman in a wheelchair", ["person in manual wheelchair"], 0),
        ("woman: red hair", ["person with red hair"], 0),
        ("a fireman", ["firefighter"], 0),
        ("一个女孩在跑步", ["person running"], 0),
        ("a man riding his bike", ["person biking"], 0),
        ("A Woman Riding A Bike", ["person biking"], 0),
        ("一只猫在游泳", ["cat", "person swimming"], 2),
        ("鸭子在游泳", ["duck", "person swimming"], 2),
        ("a dragon with wings", ["dragon", "wing"], 0),
        ("生气的狗和猫", ["dog", "cat"], 2),
        ("动物园里的大象", ["elephant", "national park"], 2),
    ],
)
def test_as_shipped(shipped: Wording, prompt: str, names: list[str], count: int) -> None:
    known = shipped.naming.known
    laid = layout(prompt, shipped)
    assert [known[number].names["en"][0] for number in shipped.named(prompt)] == names
    assert len(laid.texts if laid else ()) == count


def test_what_is_said_of_hair_colours_no_one(shipped: Wording) -> None:
    assert shipped.thing("a girl with pink hair") == Thing(shipped.named("a girl with pink hair")[0], "", "woman")
    assert shipped.thing("a cat, orange") == Thing(shipped.named("a cat")[0], "orange")


def test_what_is_said_of_people_is_no_paint_of_theirs(shipped: Wording) -> None:
    """Of them black and white are tones, and what they are in is what they wear."""
    for text, paint in (
        ("a black woman, noto style", "dark"),
        ("黑人医生", "dark"),
        ("a white man", "light"),
        ("a man in black", ""),
        ("a man in dark blue", ""),
        ("a white cat on black", ""),
        ("a cat, black and white", BLACK_AND_WHITE),
        ("a black-and-white cat", BLACK_AND_WHITE),
        ("黑白红相间的猫", ""),
        ("a woman wearing red", ""),
        ("a cat in black", "black"),
        ("a black and white man", BLACK_AND_WHITE),
    ):
        found = shipped.thing(text)
        assert found is not None and found.paint == paint
    assert shipped.read("a black woman doctor") == "woman health worker, dark skin tone"
    assert shipped.read("黑人女孩") == "深肤色的女孩"


def test_who_comes_with_somebody_is_somebody_else(shipped: Wording) -> None:
    for text, gender in (("a teacher with a girl", ""), ("a woman with a boy", "woman"), ("给女孩打针的医生", "")):
        found = shipped.thing(text)
        assert found is None or found.gender == gender
    family = shipped.thing("family with a boy")
    assert family is not None and not family.gender


def test_each_of_several_has_its_own_tone_and_black_and_white_are_one(shipped: Wording) -> None:
    for prompt, texts in (
        ("a dark-skinned woman and a cat", ("woman, dark skin tone", "cat face")),
        ("深肤色的女人和猫", ("女人，深肤色", "猫脸")),
        ("a black and white cat and a red fish", ("a black and white cat face", "a red fish")),
        ("a black cat and a white dog", ("black cat", "a white dog face")),
        ("a white & black cat and a red fish", ("a black and white cat face", "a red fish")),
    ):
        laid = layout(prompt, shipped)
        assert laid is not None and laid.texts == texts
    both = layout("a black woman and a white man", shipped)
    assert both is not None and [found.paint for text in both.texts if (found := shipped.thing(text))] == [
        "dark",
        "light",
    ]


def test_what_is_said_of_two_things_stands_where_each_is_said(shipped: Wording) -> None:
    assert shipped.read("a teapot and cups of tea") == "a teapot and a hot beverage"
    assert shipped.read("a bottle of wine and a glass of wine") == "a wine glass and a wine glass"


@pytest.mark.parametrize(
    ("word", "said"), [("spaceship", True), ("飞船", True), ("get", False), ("金山", False), ("", False)]
)
def test_a_word_is_read_where_it_is_what_a_thing_is_called(shipped: Wording, word: str, said: bool) -> None:
    assert shipped.naming.is_said(word) is said


@pytest.mark.parametrize(
    ("prompt", "places"),
    [
        ("a cat with a scarf", TWO["under the chin"]),  # whose face is drawn
        ("a snowman with a scarf", TWO["round the neck"]),
        ("a person with a scarf", TWO["under the chin"]),  # of whom hardly more is
        ("a cupcake with a cherry on top", TWO["on top"]),
        ("a cat by a tree", TWO["left of"]),
        ("a dog with a bone", TWO["in the hand"]),
        ("a tree with an apple", TWO["left of"]),
        ("a cat with two hearts", TWO["in the hand"]),
        ("a top hat with stars", STREWN),
        ("a dog with headphones", TWO["on the ears"]),
        ("a burger with fries", TWO["left of"]),
        ("a fox wearing a coat", TWO["on the body"]),
        ("a dog wearing a bow tie", TWO["under the chin"]),
        ("雨中的猫", TWO["below"]),
        ("a cat with a crown at night", (*(within(place, STAGE) for place in TWO["on the head"]), BACKDROP)),
        ("a cat holding an apple in the rain", (*(within(place, BELOW_SKY) for place in TWO["in the hand"]), SKY)),
        ("a fish with a flower in its mouth", TWO["in the hand"]),
    ],
)
def test_what_is_worn_held_or_on_top_is_laid_there(shipped: Wording, prompt: str, places: tuple[Place, ...]) -> None:
    found = layout(prompt, shipped)
    assert found is not None and found.places == places
