"""Laws of words in pictures: they are found where a prompt asks for them, and stand, legible, on what has room."""

from dataclasses import replace

import numpy as np
import pytest
from bags import no_far_names, of_bags  # noqa: F401 - a fixture

from models.compose.collage import collage
from models.compose.lettering import DARK, INK, LIGHT, Block, write
from models.reading.hybrids import hybrid
from models.reading.layout import Layout, layout
from models.reading.lettering import LONGEST, Written, without_words, written
from models.reading.naming import Known
from models.reading.places import BACKDROP, BALLOON, SPEAKER, TWO, WHOLE, within
from models.reading.wording import Wording

KNOWN = (
    Known({"en": ("cat",), "zh": ("猫",)}, (), "animals-nature", True),
    Known({"en": ("angry face",), "zh": ("生气",)}, (), "smileys-emotion", True),
    Known({"en": ("speech balloon",), "zh": ("话泡泡",)}, (), "smileys-emotion", True),
    Known({"en": ("t-shirt",), "zh": ("t恤",)}, (), "objects", True),
    Known({"en": ("crown",), "zh": ("皇冠",)}, (), "objects", True),
    Known({"en": ("closed book",), "zh": ("书",)}, ("book",), "objects", True),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(KNOWN)


@pytest.mark.parametrize(
    ("prompt", "words", "rest"),
    [
        ('a cat saying "Hello!"', "Hello!", "a cat"),
        ("a cat saying “Hello, you”, noto style", "Hello, you", "a cat, noto style"),
        ("a cat that says woof", "woof", "a cat"),
        ("a cat says 'no way'", "no way", "a cat"),
        ('a cat with a speech bubble saying "hi"', "hi", "a cat"),
        ("a cat saying hello on a blue background", "hello", "a cat on a blue background"),
        ("a cat saying hello in the noto style", "hello", "a cat in the noto style"),
        ('a t-shirt with the text "LOVE"', "LOVE", "a t-shirt"),
        ("a book with the word magic", "magic", "a book"),
        ('a sign reading "OPEN"', "OPEN", "a sign"),
        ("一只猫说“你好”", "你好", "一只猫"),
        ("一只说“加油”的猫", "加油", "一只猫"),
        ("写着加油的T恤", "加油", "T恤"),
        ("猫说：你好，noto风格", "你好", "猫，noto风格"),
        ("印着“好”字的T恤", "好", "T恤"),
    ],
)
def test_words_are_found(prompt: str, words: str, rest: str) -> None:
    found = written(prompt)
    assert found and (found.words, found.rest) == (words, rest) and found.said in prompt
    assert without_words(prompt) == rest


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "a girl reading a book",
            "a cat",
            '"a cat saying hello"',
            "saying hello",
            "说唱歌手",
            "小说",
            "传说中的龙",
            "说话的猫",
            "会说英语的猫",
            "a cat saying hello to a dog",
            "a book with letters on it",
        ),
        *("印着猫的T恤", "a cat saying that it is late", f'a cat saying "{"x" * (LONGEST + 1)}"', ""),
    ],
)
def test_what_asks_for_no_words_is_left_alone(prompt: str) -> None:
    assert written(prompt) is None and without_words(prompt) == prompt


def test_who_says_something_has_a_balloon_and_what_has_room_has_it_written_on_it(wording: Wording) -> None:
    assert layout('a cat saying "hi"', wording) == Layout(
        ("cat", "speech balloon"), (within(BACKDROP, SPEAKER), replace(BALLOON, words="hi"))
    )
    assert layout("写着加油的T恤", wording) == Layout(("t恤",), (replace(WHOLE, words="加油"),))
    assert layout('"a cat saying hi"', wording) is None, "word for word"
    assert layout('a xylograph saying "hi"', wording) == Layout(
        ("a xylograph", "speech balloon"), (within(BACKDROP, SPEAKER), replace(BALLOON, words="hi"))
    )
    assert layout('a cat saying "no"', wording) == Layout(
        ("cat", "speech balloon"), (within(BACKDROP, SPEAKER), replace(BALLOON, words="no"))
    ), "what is said denies nothing"
    crowned = layout("a cat with a crown saying hi, noto style", wording)
    assert crowned and crowned.texts == ("cat, noto style", "crown, noto style", "speech balloon, noto style")
    assert crowned.places[1].onto == TWO["on the head"][1].onto == "head", "the crown is on the head in any company"
    assert layout("a cat saying hi on a blue background", wording) == Layout(
        ("cat", "speech balloon"), (within(BACKDROP, SPEAKER), replace(BALLOON, words="hi")), ("blue",)
    )


def test_words_are_no_part_of_what_is_drawn(wording: Wording) -> None:
    assert hybrid("a crown made of cat", wording) and hybrid('a crown made of cat saying "hi"', wording) is None
    assert written('a cat saying "hi"') == Written("hi", "a cat", ' saying "hi"')


def sheet(colour: tuple[int, int, int], box: tuple[int, int, int, int] = (10, 10, 118, 118)) -> np.ndarray:
    canvas = np.zeros((128, 128, 4), np.uint8)
    left, top, right, bottom = box
    canvas[top:bottom, left:right] = (*colour, 255)
    return canvas


@pytest.mark.parametrize(("colour", "ink"), [((240, 240, 255), INK), ((20, 20, 60), LIGHT), ((230, 60, 60), INK)])
@pytest.mark.parametrize("words", ["hi", "good morning", "新年快乐", "a very long wish indeed"])
def test_letters_stand_in_the_thing_and_stand_out(
    colour: tuple[int, int, int], ink: tuple[int, int, int], words: str
) -> None:
    plain = sheet(colour, (10, 30, 118, 100))
    canvas = plain.copy()
    write(canvas, words, plain[..., 3])
    changed = (canvas != plain).any(-1)
    assert 0.02 < changed.mean() < 0.4
    rows, columns = np.nonzero(changed)
    assert rows.min() > 31 and rows.max() < 98 and columns.min() > 11 and columns.max() < 116
    assert abs((rows.min() + rows.max()) / 2 - 64.5) < 9 and abs((columns.min() + columns.max()) / 2 - 63.5) < 4
    assert np.abs(canvas[..., :3].astype(int) - ink).max(-1).min() < 12
    assert (np.mean(ink) < DARK) != (np.mean(colour) < DARK)
    assert (canvas[..., 3] == plain[..., 3]).all()


def test_few_letters_are_large_and_many_are_small() -> None:
    def height(words: str) -> int:
        canvas, plain = sheet((255, 255, 255)), sheet((255, 255, 255))
        write(canvas, words, plain[..., 3])
        return int((canvas != plain).any((1, 2)).sum())

    one, two = Block.of("good", 100, 1e6), Block.of("good morning", 100, 300.0)
    assert len(one.lines) == 1 and two.lines == ("good", "morning") and two.height > 1.8 * one.height - 40
    assert height("I") > 1.5 * height("hippopotamus")


def test_on_several_colours_letters_have_a_rim_and_small_marks_give_way() -> None:
    halves = sheet((200, 40, 40))
    halves[:, 64:, :3] = np.where(halves[:, 64:, 3:] > 0, np.array([40, 40, 200]), 0)
    canvas = halves.copy()
    write(canvas, "halves", halves[..., 3])
    assert (canvas[..., :3] > 240).all(-1).sum() > 40, "a light rim"
    lined = sheet((220, 220, 220))
    lined[62:65, 30:98, :3] = 30
    canvas = lined.copy()
    write(canvas, "o", lined[..., 3])
    assert (canvas[63, 62:66, 0] > 200).all(), "no line through the letter"
    assert (canvas[63, 31:40, 0] < 60).all(), "and there it stays where no letter is"


def test_of_nothing_that_is_seen_nothing_is_written() -> None:
    canvas = np.zeros((128, 128, 4), np.uint8)
    write(canvas, "hi", canvas[..., 3])
    assert not canvas.any()


def test_a_balloon_is_written_on_and_who_speaks_is_not() -> None:
    cat, bubble = sheet((255, 200, 0)), sheet((255, 255, 255))
    places = within(BACKDROP, SPEAKER), replace(BALLOON, words="hi")
    plain = collage(Layout(("cat", "balloon"), (places[0], BALLOON)), iter([cat, bubble]))
    said = collage(Layout(("cat", "balloon"), places), iter([cat, bubble]))
    rows, columns = np.nonzero((plain != said).any(-1))
    assert len(rows) and (plain[rows, columns, 2] > 200).all(), "only the white of the balloon changed"
