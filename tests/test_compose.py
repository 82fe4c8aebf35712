"""Laws of compositions: each thing is where it is said to be, faces, heads and necks are found, words are legible.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from prompt_kit import knowing_pipe  # noqa: F401 - a fixture
from queue_kit import artifacts as made
from queue_kit import picture
from test_embedded import ask
from tiny_parts import save_tiny_parts

from models.compose.collage import ROUND, WIDTHS, Drawings, collage, features, head, is_dark, neck, on_dark, worn
from models.compose.lettering import DARK, INK, LIGHT, Block, write
from models.compose.masks import middle
from models.data.colours import ground
from models.data.pixels import unpremultiply
from models.pipelines.image import Pictures, Progress
from models.pipelines.sticker import StickerPipeline
from models.prompts.layout import BACKDROP, BALLOON, FEATURES, PAIR, SPEAKER, WHOLE, within
from models.prompts.parsed import Box, Layout
from models.sampling.loop import Sampling
from studio.backends.embedded import Embedded


def drawn(pipe: StickerPipeline, prompts: list[str], seeds: list[int], **settings: object) -> np.ndarray:
    events = pipe.steps(prompts, seeds, Sampling(steps=4, guidance=1.0, **settings))  # type: ignore[arg-type]
    return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])


def planned(pipe: StickerPipeline, prompt: str) -> Layout:
    assert pipe.parser is not None
    found = pipe.parse(prompt).layout
    assert found is not None
    return found


# --- Laid -------------------------------------------------------------------------------------------------------------


def square(colour: tuple[int, int, int], side: int = 40, at: int = 10) -> np.ndarray:
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[at : at + side, at : at + side] = (*colour, 255)
    return picture


def test_a_thing_fills_its_place_whatever_room_it_was_drawn_in() -> None:
    place = Box(64, 0, 64, 32, align=1)
    for side, at in ((40, 10), (100, 20)):
        made = collage(Layout(("x",), (place,)), iter([square((255, 0, 0), side, at)]))
        seen = np.argwhere(made[..., 3] > 127)
        assert (seen.min(0), seen.max(0)) == (pytest.approx([0, 80]), pytest.approx([31, 111]))
    flat = np.zeros((128, 128, 4), np.uint8)
    flat[60:70, 14:114] = 255
    made = collage(Layout(("x",), (Box(14, 20, 100, 60, align=1),)), iter([flat]))
    assert np.flatnonzero(made[..., 3].any(1)).tolist() == list(range(70, 80)), "it stands at the bottom"


def test_what_is_nearer_covers_and_the_ground_is_behind_all() -> None:
    red, green = square((255, 0, 0)), square((0, 255, 0))
    for z in (0, 2):
        made = collage(
            Layout(("r", "g"), (Box(0, 0, 80, 80, z), Box(40, 40, 80, 80, 1)), ("blue",)), iter([red, green])
        )
        assert made[60, 60, :3].tolist() == [[0, 255, 0], [255, 0, 0]][z == 2]
        assert np.array_equal(made[120:, 120:], ground(("blue",))[120:, 120:])
    empty = collage(Layout(("r",), (WHOLE,), ("blue",)), iter([np.zeros_like(red)]))
    assert np.array_equal(empty, ground(("blue",))), "nothing was drawn"
    speck = collage(Layout(("r",), (WHOLE,), ("blue",)), iter([square((255, 0, 0), 4)]))
    assert np.array_equal(speck, empty), "a speck is nothing"


def test_a_preview_is_laid_as_the_picture_is() -> None:
    from models.data.pixels import resized

    told, red, green = Layout(("r", "g"), PAIR["in front of"], ("white",)), square((255, 0, 0)), square((0, 255, 0), 90)
    whole = collage(told, iter([red, green]))
    small = collage(told, iter([resized(red, 64, 64), resized(green, 64, 64)]))
    assert np.abs(resized(whole, 64, 64).astype(int) - small).mean() < 3


def test_drawings_are_those_of_the_pictures_in_order() -> None:
    told = Layout(("b", "c", "b"), (WHOLE,) * 3)
    drawings = Drawings.of(["a", "b c b", "d"], [5, 5, 2**63 - 1], [None, told, told])
    assert drawings.prompts == ("a", "b", "c", "b", "c") and drawings.pictures == (0, 1, 1, 2, 2)
    assert (
        drawings.seeds[:2] == (5, 5) and len(set(drawings.seeds)) == 4 and all(0 <= s < 2**63 for s in drawings.seeds)
    )
    assert drawings.rows([1]) == [1, 2] and drawings.rows([0, 2]) == [0, 3, 4]


# --- Drawn ------------------------------------------------------------------------------------------------------------


def test_a_thing_is_the_one_that_is_drawn_alone(pipe: StickerPipeline) -> None:
    alone = drawn(pipe, ["cat"], [3])[0]
    told = planned(pipe, "a cat and a fish")
    fish = drawn(pipe, ["fish"], [Drawings.of([""], [3], [told]).seeds[1]])[0]
    assert np.array_equal(drawn(pipe, ["a cat and a fish"], [3])[0], collage(told, iter([alone, fish])))
    assert np.array_equal(drawn(pipe, ["three cats"], [3])[0], collage(planned(pipe, "three cats"), iter([alone])))


def test_it_is_the_same_in_any_company(pipe: StickerPipeline) -> None:
    prompts, seeds = ["a cat and a fish", "sky", "two red cars", "a fish above a cat", "cat"], [1, 2, 3, 4, 5]
    together = drawn(pipe, prompts, seeds, batch=2)
    assert np.array_equal(drawn(pipe, prompts[::-1], seeds[::-1], batch=2), together[::-1])
    for prompt, seed, alone in zip(prompts, seeds, together, strict=True):
        assert np.array_equal(drawn(pipe, [prompt], [seed], batch=2)[0], alone)


def test_progress_counts_every_drawing_and_shows_pictures(pipe: StickerPipeline) -> None:
    events = list(pipe.steps(["a cat and a fish", "a cat", "a car"], [1, 2, 3], Sampling(4, batch=2), previews=True))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == list(range(1, 13)) and {event.total for event in steps} == {12}
    assert [len(event.preview) for event in steps if event.preview is not None] == [2] * 8 + [1] * 4
    begun = steps[0].preview
    assert begun is not None and begun[0, :, :32].any() and not begun[1].any(), "what is not begun is not shown"
    later = list(pipe.steps(["a cat and a fish"], [1], Sampling(4, batch=1), previews=True))[4]
    assert isinstance(later, Progress) and later.preview is not None
    assert later.preview[0, :, :32].any() and later.preview[0, :, 32:].any(), "what is drawn stays"
    made = [event for event in events if isinstance(event, Pictures)]
    assert [(event.seeds, len(event.latents)) for event in made] == [((1, 2), 2), ((3,), 1)]
    assert torch.equal(made[0].latents[:1], pipe._encode(made[0].pixels[:1]))
    asked = torch.cat([pipe.embedder.text([text]) for text in ("a cat and a fish", "a cat")])
    assert torch.equal(made[0].wanted, asked), "the score is that of all"


@pytest.mark.parametrize(
    "options",
    [
        {"vector": torch.ones(1, 128)},
        {"vector": [torch.ones(1, 128)]},
        {"start": np.zeros((1, 128, 128, 4), np.uint8)},
    ],
)
def test_with_anything_else_that_is_told_it_is_drawn_at_once(pipe: StickerPipeline, options: dict[str, object]) -> None:
    for strength in (1.0, 0.0):
        first = next(pipe.steps(["a cat and a fish"], [1], Sampling(4, reference_strength=strength), **options))  # type: ignore[arg-type]
        assert isinstance(first, Progress) and first.total == 4
    assert next(pipe.steps(["a cat and a fish"], [1], Sampling(4, reference_strength=0.0))).total == 4  # type: ignore[union-attr]


def test_what_is_kept_away_from_is_kept_from_each_thing(pipe: StickerPipeline) -> None:
    work = pipe._resolve(["a cat and a fish", "sun"], [1, 2], Sampling(), ["red", ""])
    assert work.unwanted.mask.any(1).tolist() == [True, True, False]


def test_the_studio_draws_as_the_pipeline_does(pipe: StickerPipeline, tmp_path: Path) -> None:
    backend = Embedded(str(save_tiny_parts(tmp_path)))
    backend._pipeline = pipe
    for prompt in ("cat", "a cat and a fish"):
        request = ask(backend, prompt=prompt, seed=7, steps=16, guidance=1)
        (artifact,) = made(backend, request)
        *_, own = pipe.steps([prompt], [7], Sampling(16, guidance=1.0))
        assert isinstance(own, Pictures) and np.array_equal(np.asarray(picture(artifact)), unpremultiply(own.pixels[0]))


# --- Prints -----------------------------------------------------------------------------------------------------------


def test_a_picture_lies_within_what_it_is_on() -> None:
    """Where there is most room for it, and nothing of the thing's outline is hidden."""
    shirt, heart = np.zeros((128, 128, 4), np.uint8), np.zeros((128, 128, 4), np.uint8)
    shirt[20:110, 30:100] = (0, 0, 255, 255)
    heart[40:80, 40:80] = (255, 0, 0, 255)
    made = collage(Layout(("t-shirt", "red heart"), PAIR["printed on"]), iter([shirt, heart]))
    red = (made[..., 0] > 128) & (made[..., 2] < 128)
    seen = made[..., 3] > 128
    assert 0.1 < red.sum() / seen.sum() < 0.6
    rows, columns = np.nonzero(red)
    edges = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    for inner, outer in zip((rows, columns), edges, strict=True):
        assert outer.min() + 4 < inner.min() and inner.max() < outer.max() - 4
        assert abs(inner.mean() - outer.mean()) < 12


# --- Features ---------------------------------------------------------------------------------------------------------


SKIN, EYE = (255, 200, 60, 255), (60, 30, 20, 255)


def features_picture(*shapes: tuple[str, tuple[int, ...], tuple[int, int, int, int]]) -> np.ndarray:
    image = Image.new("RGBA", (128, 128))
    for kind, where, colour in shapes:
        getattr(ImageDraw.Draw(image), kind)(where, fill=colour)
    return np.array(image)


EYES = (("ellipse", (40, 40, 52, 56), EYE), ("ellipse", (76, 40, 88, 56), EYE))
MOUTH = ("rectangle", (44, 76, 84, 84), EYE)
FACE = features_picture(("ellipse", (4, 4, 123, 123), SKIN), *EYES, MOUTH)


def test_what_is_cut_out_is_what_is_not_skin() -> None:
    cut = features(FACE)
    assert cut.shape == (84 + 1 - 40, 88 + 1 - 40, 4), "from the top of the eyes to the bottom of the mouth"
    assert cut[8, 6].tolist() == [*EYE] and cut[40, 20].tolist() == [*EYE]
    assert not cut[8, 24].any() and not cut[25].any(), "between the eyes, and between them and the mouth"
    assert (cut[..., :3] <= cut[..., 3:]).all()


def test_the_rim_of_a_face_is_no_feature() -> None:
    rimmed = features_picture(
        ("ellipse", (4, 4, 123, 123), (200, 120, 0, 255)), ("ellipse", (8, 8, 119, 119), SKIN), *EYES, MOUTH
    )
    assert np.array_equal(features(rimmed), features(FACE))


def test_the_skin_is_that_of_the_face_however_small_that_is() -> None:
    small = np.zeros_like(FACE)
    small[40:104, 40:104] = np.array(Image.fromarray(FACE).resize((64, 64), Image.Resampling.NEAREST))
    cut = features(small)
    assert abs(cut.shape[0] - 22) <= 1 and abs(cut.shape[1] - 24) <= 1 and not cut[12].any()


@pytest.mark.parametrize(
    "nothing",
    [np.zeros((128, 128, 4), np.uint8), features_picture(("ellipse", (4, 4, 123, 123), SKIN))],
    ids=["empty", "bare"],
)
def test_of_nothing_there_is_nothing(nothing: np.ndarray) -> None:
    assert features(nothing).size == 0
    thing = features_picture(("rectangle", (20, 20, 100, 100), (0, 160, 0, 255)))
    layout = Layout(("thing", "face"), (WHOLE, FEATURES))
    bare = collage(Layout(("thing",), (WHOLE,)), iter([thing]))
    assert np.array_equal(collage(layout, iter([thing, nothing])), bare)


@pytest.mark.parametrize(
    ("shapes", "x", "y", "radius"),
    [
        ((("ellipse", (20, 40, 80, 100)),), 50, 70, 30),
        ((("rectangle", (10, 50, 120, 70)),), 65, 60, 10.5),  # of a long thing, the middle of its length
        ((("rectangle", (60, 10, 66, 120)), ("rectangle", (10, 60, 120, 66))), 64, 64, 27),  # no room anywhere
        ((("ellipse", (10, 60, 70, 120)), ("rectangle", (38, 4, 42, 60))), 40, 90, 30),  # a stalk has no room
    ],
)
def test_the_middle_is_where_most_room_is(shapes: tuple, x: float, y: float, radius: float) -> None:
    alpha = features_picture(*((kind, where, EYE) for kind, where in shapes))[..., 3]
    assert middle(alpha) == pytest.approx((x, y, radius), abs=3)
    assert middle(np.zeros((128, 128), np.uint8)) is None


def test_eyes_and_mouth_lie_in_the_middle_of_the_thing_and_nowhere_else() -> None:
    thing = features_picture(("ellipse", (4, 44, 74, 114), (0, 160, 0, 255)))
    laid = collage(Layout(("thing", "face"), (WHOLE, FEATURES)), iter([thing, FACE]))
    bare = collage(Layout(("thing",), (WHOLE,)), iter([thing]))
    rows, columns = np.nonzero((laid != bare).any(-1))
    assert np.mean([rows.min(), rows.max()]) == pytest.approx(64, abs=3)
    assert np.mean([columns.min(), columns.max()]) == pytest.approx(64, abs=3)
    assert 60 < np.ptp(columns) < 100 and np.array_equal(laid[..., 3], bare[..., 3])


def test_another_drawing_lies_there_whole() -> None:
    thing = features_picture(("ellipse", (4, 44, 74, 114), (0, 160, 0, 255)))
    laid = collage(Layout(("thing", "face"), (WHOLE, PAIR["printed on"][1])), iter([thing, FACE]))
    skin = (laid == SKIN).all(-1)
    rows, columns = np.nonzero(skin)
    assert np.mean(rows) == pytest.approx(64, abs=6) and np.mean(columns) == pytest.approx(64, abs=3)
    assert 50 < np.ptp(columns) < 100


def test_on_what_is_black_they_are_light() -> None:
    black = features_picture(("ellipse", (4, 4, 123, 123), (20, 20, 24, 255)))
    assert is_dark(black, 64, 64, 40) and not is_dark(FACE, 64, 64, 40)
    light = on_dark(features(FACE))
    assert light[8, 6, :3].min() > 200 and np.array_equal(light[..., 3], features(FACE)[..., 3])
    laid = collage(Layout(("thing", "face"), (WHOLE, FEATURES)), iter([black, FACE]))
    assert laid[..., :3].max() > 200


# --- Necks ------------------------------------------------------------------------------------------------------------


WEARER, SCARF = PAIR["round the neck"]
SNOWMAN = (("rectangle", (52, 4, 76, 22)), ("ellipse", (42, 16, 86, 60)), ("ellipse", (30, 56, 98, 124)))
GIRAFFE = (("ellipse", (8, 6, 44, 26)), ("rectangle", (26, 10, 40, 76)), ("ellipse", (26, 60, 110, 96)))
EGG = (("ellipse", (30, 4, 98, 124)),)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(
    ("drawn", "middle", "row", "width"), [(SNOWMAN, 64, 58, 22), (GIRAFFE, 33, 50, 15), (EGG, 64, 54, 66)]
)
def test_it_is_where_the_body_is_narrow_below_the_head(
    drawn: tuple[tuple, ...], middle: int, row: int, width: int, side: int
) -> None:
    found = neck(shape(*drawn, side=side))
    assert found is not None
    assert found[0] * SIDE == pytest.approx(middle, abs=4)
    assert found[1] * SIDE == pytest.approx(row, abs=24 if drawn is GIRAFFE else 7)
    assert found[2] * SIDE == pytest.approx(width, abs=9)


@pytest.mark.parametrize("drawn", [SNOWMAN, GIRAFFE, EGG, (("rectangle", (0, 0, 127, 127)),)])
def test_what_is_worn_round_it_keeps_its_proportions_and_lies_over_it(drawn: tuple[tuple, ...]) -> None:
    alpha = shape(*drawn)
    place, (middle, row, _) = worn(SCARF, alpha), neck(alpha) or (0, 0, 0)
    assert ROUND[0] - 0.01 <= place.width / SIDE <= ROUND[1] + 0.01
    assert place.height / place.width == pytest.approx(SCARF.height / SCARF.width, abs=0.05)
    assert 0 <= place.left <= SIDE - place.width
    assert place.top <= row * SIDE < place.top + place.height
    assert place.left + place.width / 2 == pytest.approx(middle * SIDE, abs=2)


def test_in_a_collage_it_moves_with_the_wearer() -> None:
    scarf = np.zeros((SIDE, SIDE, 4), np.uint8)
    scarf[20:108, 20:108] = (255, 0, 0, 255)
    laid = []
    for drawn in (GIRAFFE, tuple((kind, (127 - x1, y0, 127 - x0, y1)) for kind, (x0, y0, x1, y1) in GIRAFFE)):
        wearer = np.zeros((SIDE, SIDE, 4), np.uint8)
        wearer[..., 1] = wearer[..., 3] = shape(*drawn)
        layout = Layout(("a giraffe", "a scarf"), (WEARER, SCARF))
        laid.append(np.argwhere(collage(layout, iter([wearer, scarf]))[..., 0] > 128)[:, 1].mean())
    assert laid[0] < SIDE / 2 - 15 and laid[1] > SIDE / 2 + 15


# --- Heads ------------------------------------------------------------------------------------------------------------


SIDE = 128
HAT = Box(38, 0, 52, 42, z=1, align=1, anchor="head")


def shape(*drawn: tuple[str, tuple[int, ...]], side: int = SIDE) -> np.ndarray:
    """Alpha (side, side) of ellipses, rectangles and polygons on a board of SIDE x SIDE."""
    board = Image.new("L", (SIDE, SIDE))
    for kind, where in drawn:
        getattr(ImageDraw.Draw(board), kind)(where, fill=255)
    return np.asarray(board.resize((side, side)))


FACED = ("ellipse", (24, 34, 104, 114))
EARS = (("polygon", (26, 30, 56, 44, 28, 70)), ("polygon", (102, 30, 72, 44, 100, 70)))
RABBIT = (("rectangle", (44, 30, 58, 80)), ("rectangle", (70, 30, 84, 80)), ("ellipse", (34, 70, 94, 124)))
BACK = ("rectangle", (24, 76, 104, 104))
NECK, TAIL = ("ellipse", (10, 36, 44, 84)), ("rectangle", (104, 36, 110, 84))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(
    ("drawn", "middle"),
    [
        ((FACED,), 64),
        ((FACED, *EARS), 64),
        (RABBIT, 64),
        ((("ellipse", (14, 46, 114, 120)), ("ellipse", (10, 30, 36, 70)), ("ellipse", (92, 30, 118, 70))), 64),
        ((BACK, NECK), 27),
        ((BACK, NECK, TAIL), 27),
        ((BACK, NECK, ("rectangle", (104, 10, 110, 84))), 27),
        ((BACK, ("ellipse", (84, 36, 118, 84)), ("rectangle", (14, 36, 20, 84))), 101),
        ((BACK, NECK, ("rectangle", (96, 40, 112, 84))), 27),
    ],
)
def test_the_head_is_what_is_highest_and_no_tail(drawn: tuple[tuple, ...], middle: int, side: int) -> None:
    found = head(shape(*drawn, side=side))
    assert found is not None
    assert found[0] * SIDE == pytest.approx(middle, abs=5)
    assert 0.2 < found[1] < 0.5


def test_a_hat_sits_on_the_head_no_wider_than_it_should_be() -> None:
    for drawn in ((FACED,), (BACK, NECK), (("rectangle", (0, 40, 127, 127)),)):
        alpha = shape(*drawn)
        place = worn(HAT, alpha)
        assert WIDTHS[0] - 0.01 <= place.width / SIDE <= WIDTHS[1] + 0.01
        assert 0 <= place.left <= SIDE - place.width and place.top >= 0
        middle, top, _ = head(alpha) or (0, 0, 0)
        assert top * SIDE < place.top + place.height < top * SIDE + 14, "it touches, and does not hide the face"
        assert place.left + place.width / 2 == pytest.approx(middle * SIDE, abs=2)


def test_in_a_collage_it_is_the_wearer_s_head_and_not_the_ground_s() -> None:
    dog, hat = (np.zeros((SIDE, SIDE, 4), np.uint8) for _ in range(2))
    dog[..., 3] = shape(BACK, NECK)
    hat[20:100, 30:90] = (255, 0, 0, 255)
    for colours in ((), ("blue",)):
        made = collage(Layout(("dog", "hat"), PAIR["on the head"], colours), iter([dog, hat]))
        red = np.argwhere((made[..., 0] > 200) & (made[..., 2] < 50))
        assert red[:, 1].mean() < 48, "over the neck at the left, not in the middle"
        assert made[..., 3].max() == 255


@pytest.mark.parametrize("box", [HAT, SCARF])
def test_over_nothing_it_stays_in_its_box(box: Box) -> None:
    assert worn(box, np.zeros((SIDE, SIDE), np.uint8)) == box


# --- Lettering --------------------------------------------------------------------------------------------------------


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
