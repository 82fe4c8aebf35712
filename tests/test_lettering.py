"""Laws of words in pictures: they stand, legible, on what has room."""

from dataclasses import replace

import numpy as np
import pytest

from models.compose.collage import collage
from models.compose.lettering import DARK, INK, LIGHT, Block, write
from models.prompts.layout import BACKDROP, BALLOON, SPEAKER, within
from models.prompts.parsed import Layout


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
    places = within(BACKDROP, SPEAKER), replace(BALLOON, lettering="hi")
    plain = collage(Layout(("cat", "balloon"), (places[0], BALLOON)), iter([cat, bubble]))
    said = collage(Layout(("cat", "balloon"), places), iter([cat, bubble]))
    rows, columns = np.nonzero((plain != said).any(-1))
    assert len(rows) and (plain[rows, columns, 2] > 200).all(), "only the white of the balloon changed"
