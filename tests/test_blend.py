"""Laws of blends: several conditions at once, each at its place, whatever is drawn beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from prompt_kit import knowing_pipe  # noqa: F401 - a fixture
from tiny_parts import save_tiny_parts
from torch.nn.functional import normalize

from models.data.pixels import fit
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import parse_literally
from models.sampling.condition import MIDDLE, ComposedCondition, Condition, rings
from models.sampling.guidance import guided
from models.sampling.loop import Sampling
from studio.backends.embedded import Embedded, conditioning
from studio.media import clip
from studio.planner import resolve
from studio.requests import make_request, summands


def drawn(
    pipe: StickerPipeline, prompts: list[str], blends: list[ComposedCondition | None], **settings: Any
) -> np.ndarray:
    """Seeds by their order; two steps, guided."""
    sampling = Sampling(steps=2, **{"batch": 2, **settings})
    events = pipe.steps(prompts, range(len(prompts)), sampling, blends=blends)
    return np.concatenate([event.latents for event in events if isinstance(event, Pictures)])


def saying(value: float, reference: float = 0.0) -> Condition:
    mask = torch.zeros(2, 1, dtype=torch.bool)
    return Condition(torch.zeros(2, 1, 4), mask, torch.full((2, 128), value), torch.full((2, 8, 4, 4), reference))


def test_parts_lie_around_each_other_and_more_weight_is_more_room() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    shares = rings(weights, 64)
    assert torch.allclose(shares.sum(1), torch.ones(3, 64, 64)) and (shares >= 0).all()
    assert (shares[0, 2] == 0).all() and (shares[2, 0] == 1).all() and (shares[2, 1:] == 0).all()
    down = round((MIDDLE + 1) / 2 * 63)
    middle, top, bottom = (float(shares[0, 0, row, 32]) for row in (down, 0, 63))
    assert middle > 0.98 and top < 0.02 and bottom > 0.1 and shares[0, 1, 0, 0] > 0.98
    between = int(shares[1, 1, :, 32].argmax())
    assert between not in (0, down) and shares[1, :, between, 32].argmax() == 1 and shares[1, 1, 0, 0] < 0.1
    grown = [rings(torch.tensor([[share, 1 - share]]), 64)[0, 0].mean() for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert grown == sorted(grown) and grown[4] > 4 * grown[0]


def test_the_velocity_is_the_mean_of_the_parts_by_their_shares() -> None:
    rows = []

    def network(x: torch.Tensor, t: torch.Tensor, *told: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return told[2][:, :1, None, None].expand_as(x)

    blend = ComposedCondition((saying(2.0), saying(6.0)), torch.tensor([[0.75, 0.25], [1.0, 0.0]]))
    velocity = guided(network, blend, saying(1.0), 3.0, (0.2, 0.8))
    x = torch.zeros(2, 8, 4, 4)
    mean = (2 + 4 * rings(blend.weights, 4)[:, 1])[:, None].expand_as(x)
    assert torch.allclose(velocity(x, 0.1), mean) and torch.allclose(velocity(x, 0.5), 1 + 3 * (mean - 1))
    assert (mean[1] == 2).all() and mean[0].max() > 4 > mean[0].min()
    assert rows == [2, 2, 2, 4]


def test_what_has_nothing_to_draw_from_does_not_thin_the_reference() -> None:
    weights = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    assert torch.allclose(ComposedCondition((saying(1.0, 4.0), saying(1.0)), weights).reference, torch.tensor(4.0))
    both = ComposedCondition((saying(1.0, 4.0), saying(1.0, 8.0)), weights)
    assert torch.allclose(both.reference, (4 + 4 * rings(weights, 4)[:, 1])[:, None].expand_as(both.reference))
    assert not ComposedCondition.of(saying(1.0)).reference.any() and ComposedCondition.of(
        saying(1.0, 0.3)
    ).reference.unique() == torch.tensor(0.3)


def test_a_blend_is_drawn_as_alone_in_any_company(pipe: StickerPipeline) -> None:
    blend = pipe.blend([(1.0, "cat"), (0.5, "sky"), (0.2, "heart")])
    alone, plain = drawn(pipe, ["", ""], [blend]), drawn(pipe, ["cat", "heart"], [])
    mixed = drawn(pipe, ["", "heart"], [blend, None])
    assert np.array_equal(mixed[0], alone[0]) and np.array_equal(mixed[1], plain[1])
    two = drawn(pipe, ["", ""], [pipe.blend([(1.0, "cat"), (1.0, "heart")]), blend])
    assert np.array_equal(two[1], alone[1])


def test_a_blend_of_one_thing_is_that_thing_and_another_order_is_another_blend(pipe: StickerPipeline) -> None:
    prompt = drawn(pipe, ["cat"], [])
    assert np.array_equal(drawn(pipe, [""], [pipe.blend([(0.3, "cat")])]), prompt)
    assert np.allclose(drawn(pipe, [""], [pipe.blend([(1.0, "cat"), (2.0, "cat")])]), prompt, atol=1e-4)
    ways = [[(1.0, "cat"), (3.0, "sky")], [(2.0, "cat"), (6.0, "sky")], [(3.0, "sky"), (1.0, "cat")]]
    one, same, other = (drawn(pipe, [""], [pipe.blend(parts)]) for parts in ways)
    assert np.array_equal(one, same) and not np.allclose(one, other, atol=1e-2)


def test_each_part_says_its_own(pipe: StickerPipeline) -> None:
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[32:96, 32:96] = 255, 0, 0, 255
    blend = pipe.blend([(3.0, "cat"), (1.0, picture)], words="noto style")
    cat, red = blend.parts
    assert torch.allclose(blend.weights, torch.tensor([[0.75, 0.25]]))
    named = pipe._with_references(pipe.retrieved(["cat"], [0], [True]), pipe.encode_condition(["cat"]))
    for mine, own in zip(vars(cat).values(), vars(named).values(), strict=True):
        assert torch.equal(mine, own)
    style = pipe.encode_condition(["noto style"])
    assert torch.equal(red.states, style.states) and red.mask.any()
    assert torch.allclose(red.vector, pipe.embedder.image(picture[None]))
    assert torch.equal(red.reference, pipe._encode(picture[None])) and cat.reference.any()
    assert not pipe.blend([(1.0, "cat"), (1.0, picture)], references=False).reference.any()
    meant = normalize(0.75 * cat.vector + 0.25 * red.vector, dim=-1)
    assert torch.allclose(blend.vector, meant, atol=1e-6)
    *_, done = pipe.steps("", [1], Sampling(1), blends=[blend])
    assert isinstance(done, Pictures) and torch.equal(done.wanted, blend.vector)


def test_what_is_taken_away_is_taken_from_each(pipe: StickerPipeline) -> None:
    blend = pipe.blend([(1.0, "cat"), (3.0, "sky"), (-2.0, "heart")])
    for part, text in zip(blend.parts, ("cat", "sky"), strict=True):
        assert torch.allclose(part.vector, pipe.mix([(1.0, text), (-0.5, "heart")])) and part.mask.any()
    assert blend.parts[0].reference.any()


@pytest.mark.parametrize(
    ("prompts", "count", "message"),
    [(["a", ""], 2, "takes a prompt's place"), (["", ""], 3, "3 blends for 2 pictures")],
)
def test_wrong_blends_say_what_is_wrong(pipe: StickerPipeline, prompts: list[str], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(pipe, prompts, [pipe.blend([(1.0, "cat")])] * count)
    with pytest.raises(ValueError, match="only takes away"):
        pipe.blend([(-1.0, "cat")])
    with pytest.raises(ValueError, match="cancel"):
        pipe.blend([(1.0, "cat"), (1.0, "sky"), (-2.0, "cat")])


def test_two_of_which_one_has_a_face_are_laid_and_others_blended(pipe: StickerPipeline) -> None:
    assert pipe.together(["cat", "house"]) == ("cat + house", None)
    assert pipe.together(["(cat:1.2)", "house"]) == ("(cat:1.2) + house", None)
    for texts in (["cat", "cat"], ["house", "house"], ['"cat"', "house"], ["cat"] * 3):
        prompt, blend = pipe.together(texts)
        assert prompt == "" and blend is not None
        assert torch.equal(blend.vector, pipe.blend([(1.0, text) for text in texts]).vector)
    pipe.parser, parser = None, pipe.parser
    assert pipe.together(["cat", "house"])[0] == ""
    pipe.parser = parser


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("panda + pineapple", ["panda", "pineapple"]),
        ("熊猫＋菠萝 + a red hat", ["熊猫", "菠萝", "a red hat"]),
        ("a C++ book, 1+1", ["a C++ book, 1+1"]),
        ("C＋＋书", ["C＋＋书"]),
        ("2 + 2", ["2 + 2"]),
        ("(cat + dog:1.3)", ["(cat + dog:1.3)"]),
        ("(cat:1.3) + dog", ["(cat:1.3)", "dog"]),
        ('"cat + dog"', ['"cat + dog"']),
        ('"cat" + "dog"', ['"cat"', '"dog"']),
        ("+ cat +", ["+ cat +"]),
        (" + ".join("abcdefghi"), [" + ".join("abcdefghi")]),
        (" + ", []),
        ("", []),
    ],
)
def test_what_a_prompt_adds_up(prompt: str, parts: list[str]) -> None:
    assert summands(prompt) == parts


def test_a_blend_of_a_request_is_drawn_in_its_style_and_from_where_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Embedded(str(save_tiny_parts(tmp_path / "parts")))
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    backend.load()
    pipe, red = backend._pipeline, {"path": str(tmp_path / "red.png")}
    assert pipe

    def told(**fields: Any) -> Any:
        return conditioning(pipe, resolve(make_request(**fields), backend.capabilities()))

    parts = [{"text": "cat"}, {"picture": red, "weight": 2}]
    plain, styled = told(mix=parts), told(mix=parts, style="noto")
    assert (
        not plain.text
        and not styled.text
        and torch.equal(styled.blend.parts[0].states, pipe.encode_condition(["cat, noto style"]).states)
    )
    assert not plain.blend.parts[1].mask.any() and styled.blend.parts[1].mask.any()
    assert plain.blend.parts[1].reference.any() and not told(mix=parts, image=red).blend.reference.any()
    assert told(mix=parts[:1]).blend is None and told(prompt="a cat", mix=parts).blend is None
    added = told(prompt="cat + sky", style="noto", mix=[{"text": "hat", "weight": -1}])
    sky = pipe.encode_condition(["sky, noto style"])
    assert not added.text and torch.equal(added.blend.parts[1].states, sky.states)
    said = told(prompt="cat + sky, noto style").blend
    assert torch.equal(said.parts[0].states, styled.blend.parts[0].states)
    assert torch.allclose(added.blend.parts[0].vector, pipe.mix([(1, "cat, noto style"), (-0.5, "hat")]))
    assert told(prompt="cat + sky", mix=parts[:1]).text == "cat + sky"

    def parse(text: Any) -> Any:
        own = text if isinstance(text, ParsedPrompt) else parse_literally(text)
        return replace(own, description=f"hybrid of {own.text}", encoded=own.text.replace("sky", "cloud"))

    monkeypatch.setattr(pipe, "parse", parse)
    assert told(prompt="sky").read_as == "hybrid of sky" and told(prompt="sky", like=red).read_as == "cloud"
    assert told(prompt="sky", image=red).read_as == "cloud" and told(prompt="cat", like=red).read_as == ""
    assert told(prompt="cat + sky").read_as == "cat + cloud" and told(prompt="cat + sun").read_as == ""
    monkeypatch.undo()
    liked = told(like=red, mix=parts[:1]).blend
    assert torch.allclose(liked.weights, torch.tensor([[0.5, 0.5]])) and not liked.parts[0].mask.any()
    frames = [Image.new("RGBA", (128, 128), colour) for colour in ("red", "blue", "lime")]
    (tmp_path / "clip.webp").write_bytes(clip(frames, 8).data)
    moving, whole = {"path": str(tmp_path / "clip.webp")}, np.stack(list(map(fit, frames)))
    own, first = pipe.embedder.clip([whole]), told(like=red).vector
    assert torch.allclose(told(like=moving).vector, own) and not torch.allclose(own, first, atol=1e-3)
    assert torch.allclose(told(prompt="cat", mix=[{"picture": moving}]).vector, own)
    assert torch.equal(pipe.blend([(1.0, whole), (1.0, "cat")]).parts[0].reference, plain.blend.parts[1].reference)
