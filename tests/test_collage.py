"""Laws of pictures of several things: each is where it is said to be, and is the one that is drawn alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from prompt_kit import (  # noqa: F401 - fixtures
    knowing_pipe,
    no_far_names,
    parser_of,
    parser_of_concepts,
)
from queue_kit import made, picture
from test_embedded import ask
from tiny_parts import save_tiny_parts

from models.compose.collage import Drawings, collage
from models.data.colours import ground
from models.data.pixels import unpremultiply
from models.pipelines.image import Pictures, Progress
from models.pipelines.sticker import StickerPipeline
from models.prompts.layout import ON_IT, PAIR, WHOLE
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
    assert [(event.first, event.seeds, len(event.latents)) for event in made] == [(0, (1, 2), 2), (2, (3,), 1)]
    assert torch.equal(made[0].latents[:1], pipe._encode(made[0].pixels[:1]))
    asked = torch.cat([pipe.embedder.text([text]) for text in ("a cat and a fish", "a cat")])
    assert torch.equal(made[0].wanted, asked), "the score is that of all"


@pytest.mark.parametrize(
    "options",
    [
        {"words": False},
        {"sense": False},
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


def test_a_picture_that_is_told_a_vector_does_not_keep_others_from_their_words(pipe: StickerPipeline) -> None:
    """As the studio's workers ask: of each picture a vector, or none."""
    vector, prompts = torch.nn.functional.normalize(torch.ones(1, 128), dim=-1), ["a cat and a fish", "cat", "cat"]
    sampling = Sampling(steps=16, guidance=1.0, batch=1)  # so many that one of the levels is a draft's
    given = [
        e.pixels
        for e in pipe.steps(prompts, [1, 2, 3], sampling, vector=[None, None, vector])
        if isinstance(e, Pictures)
    ]
    for i in range(2):
        *_, own = pipe.steps(prompts[i : i + 1], [i + 1], sampling)
        assert isinstance(own, Pictures) and np.array_equal(given[i], own.pixels)
    *_, told = pipe.steps(["cat"], [3], sampling, vector=vector)
    assert isinstance(told, Pictures) and np.array_equal(given[2], told.pixels)


def test_what_is_kept_away_from_is_kept_from_each_thing(pipe: StickerPipeline) -> None:
    work = pipe._resolve(["a cat and a fish", "sun"], [1, 2], Sampling(), ["red", ""])
    assert work.unwanted.mask.any(1).tolist() == [True, True, False]


def test_latents_are_those_of_the_picture(pipe: StickerPipeline) -> None:
    *_, made = pipe.steps(["a cat and a fish"], [1], Sampling(4))
    assert isinstance(made, Pictures) and torch.equal(made.latents, pipe._encode(made.pixels))


def test_the_studio_draws_as_the_pipeline_does(pipe: StickerPipeline, tmp_path: Path) -> None:
    backend = Embedded(str(save_tiny_parts(tmp_path)))
    backend._pipeline = pipe
    for prompt in ("cat", "a cat and a fish"):
        request = ask(backend, prompt=prompt, seed=7, steps=16, guidance=1)
        (artifact,) = made(backend, request)
        *_, own = pipe.steps([prompt], [7], Sampling(16, guidance=1.0))
        assert isinstance(own, Pictures) and np.array_equal(np.asarray(picture(artifact)), unpremultiply(own.pixels[0]))


# --- Prints -----------------------------------------------------------------------------------------------------------


def test_on_what_has_no_room_of_its_own_it_is_laid_as_it_was() -> None:
    found = parser_of("prints").parse("a wrench with a red heart on it").layout
    assert found and found.boxes == ON_IT


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
