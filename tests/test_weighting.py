"""Weighted words: what the marks mean, and what they do to the states that the generator reads."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prompt_kit import shipped

from models.pipelines.sticker import StickerPipeline
from models.prompts.weighting import MOST, plain, segments, token_weights, weigh, weighted_states


@pytest.mark.parametrize("prompt", ["(a:11)", "(a:-1)", "(" * 30 + "a" + ")" * 30, f"(a:{'9' * 400})"])
def test_weights_have_bounds(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"the weight of 'a' is .*; weights go from 0 to 10"):
        segments(prompt)


@given(st.text(alphabet="ab ()[]:.123\\{}|_", max_size=60))
def test_any_marks_are_read_or_refused(prompt: str) -> None:
    try:
        runs = segments(prompt)
    except ValueError:
        return
    assert all(0 <= run.weight <= MOST and run.text for run in runs)
    assert all(one.weight != other.weight for one, other in pairwise(runs))


@given(st.text(alphabet="ab {}|:,.", max_size=60))
def test_text_without_marks_stays_itself(prompt: str) -> None:
    assert plain(prompt) == prompt


def test_a_token_weighs_as_its_characters() -> None:
    runs = segments("a (red:2) cat")
    assert token_weights(runs, [(0, 1), (1, 5), (5, 9), (1, 2), (3, 7)]) == [1, 2, 1, 1.0, 5 / 3]


def test_weight_one_is_the_same_and_others_move_along_the_line_from_the_mean() -> None:
    states, mask = torch.randn(1, 5, 8), torch.tensor([[True, True, True, False, False]])
    moved = weigh(states, mask, [1, 0, 2, 1, 1])
    centre = states[:, :3].mean(1)
    assert torch.equal(moved[:, [0, 3, 4]], states[:, [0, 3, 4]])
    assert torch.allclose(moved[:, 1], centre, atol=1e-6)
    assert torch.allclose(moved[:, 2], centre + 2 * (states[:, 2] - centre), atol=1e-6)


def test_only_the_words_that_are_marked_move(pipe: StickerPipeline) -> None:
    before, mask, vector = pipe.embedder.states(["a red cat"])
    states, same_mask, same_vector = weighted_states(pipe.embedder, segments("a (red:1.5) cat"))
    assert torch.equal(mask, same_mask) and torch.equal(vector, same_vector)
    offsets = pipe.tokenizer(["a red cat"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][0]
    red = {place for place, (start, end) in enumerate(offsets, 1) if 2 <= end - 1 <= 4}
    changed = {place for place in range(mask.shape[1]) if not torch.equal(before[0, place], states[0, place])}
    assert changed == red != set()


@pytest.mark.parametrize("prompt", ["(a red cat:1)", "([a red cat])", "a (red:1.0) cat"])
def test_marks_that_weigh_one_change_nothing(pipe: StickerPipeline, prompt: str) -> None:
    told, same = pipe.encode_condition([prompt]), pipe.encode_condition(["a red cat"])
    assert all(torch.equal(getattr(told, name), getattr(same, name)) for name in ("states", "mask", "vector"))


def test_unweighted_prompts_are_read_as_they_always_were(pipe: StickerPipeline) -> None:
    for prompt in ("a red cat", " a  cat :(", "猫，noto风格", "x"):
        told, read = pipe.encode_condition([prompt]), pipe.embedder.states([prompt])
        assert torch.equal(told.states, read[0].float()) and torch.equal(told.vector, read[2])


def test_nothing_but_marks_says_nothing(pipe: StickerPipeline) -> None:
    told, silent = pipe.encode_condition(["()"]), pipe.encode_condition([""])
    assert not told.mask.any() and torch.equal(told.vector, silent.vector)


def test_the_sense_is_that_of_the_words(pipe: StickerPipeline) -> None:
    assert torch.equal(pipe.mix([(1.0, "a (red:2) cat")]), pipe.mix([(1.0, "a red cat")]))


def test_a_prompt_longer_than_the_model_reads_keeps_its_weights_in_place(pipe: StickerPipeline) -> None:
    prompt = "(red:2) " + "cat " * 60
    states, mask, _ = weighted_states(pipe.embedder, segments(prompt))
    before = pipe.embedder.states([plain(prompt)])[0]
    assert (
        bool(mask.all()) and not torch.equal(states[0, 1], before[0, 1]) and torch.equal(states[0, -1], before[0, -1])
    )


def test_weights_keep_the_layout_and_size_its_boxes() -> None:
    def boxes(prompt: str) -> list[tuple[int, int]]:
        layout = shipped().parse(prompt).layout
        return [(box.width, box.height) for box in layout.boxes] if layout else []

    plain_boxes, weighed = boxes("a red balloon and a cat"), boxes("a (red:1.4) balloon and a (cat:0.5)")
    assert weighed == [plain_boxes[0], tuple(side // 2 for side in plain_boxes[1])]
    layout = shipped().parse("a (red:1.4) balloon and a cat").layout
    assert layout and [run.weight for run in layout.prompts[0].segments if "red" in run.text] == [1.4]
    assert boxes("a cat (with a hat:0)") == [] and boxes("a (cat:1) and a dog") == boxes("a cat and a dog")
    states = {part.text: part.state for part in shipped().read("a cat (with a hat:0)").parts}
    assert states["cat"] == "drawn" and states["hat"] == "left_out"


def test_weights_change_the_picture_and_weight_one_does_not(pipe: StickerPipeline) -> None:
    def draw(prompt: str, negative: str = "") -> bytes:
        call = pipe(prompt, negative, seeds=[1], num_inference_steps=2, output_type="uint8")
        return call.images.tobytes()

    assert draw("a (red:1) cat") == draw("a red cat")
    pictures = [draw(prompt) for prompt in ("a red cat", "a (red:1.5) cat", "a (red:0) cat", "a red (cat:1.5)")]
    pictures += [draw("a red cat", negative) for negative in ("a dog", "a (dog:2)")]
    assert len(set(pictures)) == 6
