"""Laws of drafts: what is kept of drawings comes back, and a drawing begins from its thing, whatever is beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bags import Bags
from PIL import features
from safetensors.torch import load_file, save_file
from tiny_parts import save_tiny_parts

from models.condition import Blend, Condition
from models.data.colours import black_and_white, colour_shares
from models.data.compose import resized
from models.data.fixture import fixture_world
from models.data.variety import can_be_mirrored
from models.data.world import Picture, World
from models.drawing import DRAFTED, FAST_SAMPLING, Pictures, Sampling, denoise
from models.hands import STYLES, agreeing, drawn_by, in_common
from models.pipeline import StickerPipeline
from models.prompts.attributes import BLACK_AND_WHITE
from models.prompts.parser import PromptParser, pictures_by_concept
from models.prototypes import ALL_SHARE, FILE, HANDS, LINES, SIDE, OtherHands, Prototypes
from models.schedulers import build_scheduler
from models.weights import WeightsError, record_part


@pytest.fixture(scope="module")
def built() -> Prototypes:
    return Prototypes.build(fixture_world())


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory, built: Prototypes) -> StickerPipeline:
    made = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    made.parser, made.prototypes = PromptParser.build(Bags(), fixture_world()), built  # type: ignore[arg-type]
    return made


def small(drawings: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [resized(drawing, SIDE, SIDE) for drawing in drawings]


def drawn(pipe: StickerPipeline, prompts: list[str], seeds: list[int], **settings: object) -> np.ndarray:
    sampling = Sampling(steps=16, guidance=1.0, **settings)  # type: ignore[arg-type]
    events = pipe.steps(prompts, seeds, sampling)
    return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])


def kept(world: World, picture: Picture) -> np.ndarray:
    return resized(*small([world.pixels[picture.index]]), 128, 128)


def test_prototypes_are_of_the_families_drawings_that_are_filled_those_that_agree(built: Prototypes) -> None:
    world = fixture_world()
    for number, pictures in enumerate(pictures_by_concept(world).values()):
        if len(pictures) == len({p.family for p in pictures}):
            filled = [p for p in pictures if p.style not in LINES] or pictures
            agree = agreeing(world.pixels[[p.index for p in filled]])[:HANDS]
            wanted = [kept(world, filled[hand]) for hand in agree]
            looks = wanted + ([one[:, ::-1] for one in wanted] if can_be_mirrored(pictures[0]) else [])
            found = [built.picture(number, look=built.look(number, seed)) for seed in range(2 * len(looks))]
            assert len(built.hands[number]) == len(wanted) and np.array_equal(found, looks * 2)
    assert 1 < max(map(len, built.hands)) <= HANDS
    number = list(pictures_by_concept(world)).index("heart")
    blue, own = built.picture(number, "blue").astype(int), built.picture(number).astype(int)
    assert (blue[..., 2] > blue[..., 0]).mean() > 0.2 and (own[..., 2] > own[..., 0]).mean() < 0.05
    whole = np.stack(list(built.pictures))
    assert built.picture(0).shape == (128, 128, 4) and (whole[..., :3] <= whole[..., 3:]).all()


def test_in_a_style_that_has_drawn_the_thing_it_is_that_drawing(built: Prototypes) -> None:
    world = fixture_world()
    for number, pictures in enumerate(pictures_by_concept(world).values()):
        assert {style for style in STYLES if built.has(number, style)} == {p.style for p in pictures}
        for seed, picture in enumerate(pictures):
            turned = seed % 2 and number in built.two_sided
            found = built.picture(number, style=picture.style, look=built.look(number, seed, picture.style))
            assert np.array_equal(found, kept(world, picture)[:, :: -1 if turned else 1])
        assert built.look(number, 5, "a style that lacks it") == 0
    assert len(built.pictures) == len(built.own)


def test_of_many_drawings_it_is_one_without_skin_tone_and_gender() -> None:
    world = fixture_world()
    first = pictures_by_concept(world)["cat"][0]
    toned = [
        replace(first, id="toned", skin="dark", index=0),
        replace(first, id="woman", gender="woman", index=0),
        first,
    ]
    assert drawn_by(toned, "style") == {first.style: first} and drawn_by(toned[:2], "family")[first.family] in toned[:2]


def test_lines_are_taken_where_nobody_filled_the_thing() -> None:
    world, bar = fixture_world(), np.zeros((128, 128, 4), np.uint8)
    bar[40:80] = 255
    pixels = world.pixels.copy()
    pixels[[p.index for own in pictures_by_concept(world).values() for p in own if p.style in LINES]] = bar
    built = Prototypes.build(World(world.pictures, pixels, world.digest))
    lines = [all(p.style in LINES for p in own) for own in pictures_by_concept(world).values()]
    same = [np.array_equal(built.picture(number), resized(*small([bar]), 128, 128)) for number in range(len(lines))]
    assert same == lines and any(lines) and not all(lines)


def test_what_is_asked_for_in_a_colour_is_mostly_of_it() -> None:
    """Where captions call it so: a rocket whose fins alone are coloured, and one that is coloured but for a window."""
    rockets = np.full((2, SIDE, SIDE, 4), 255, np.uint8)
    for rocket, grey in zip(rockets, (SIDE // 2, SIDE // 7), strict=True):
        rocket[:grey, :, :3] = 128
        rocket[grey:, :, 1:3] = 30
    prototypes = Prototypes(rockets)
    fins, window = (prototypes.picture(number, "blue") for number in range(2))
    assert colour_shares(fins)["blue"] > 0.9
    assert 0.8 < colour_shares(window)["blue"] < 0.9, "a window stays one"


def test_in_black_and_white_a_thing_has_no_colour(built: Prototypes) -> None:
    own, grey = built.picture(0), built.picture(0, BLACK_AND_WHITE)
    assert np.array_equal(grey, black_and_white(own)) and not np.array_equal(grey, own)


@pytest.mark.parametrize("colour", ["", "blue"])
def test_other_hands_do_not_know_the_picture_s_own(colour: str) -> None:
    world = fixture_world()
    drawn = {concept: {p.family for p in pictures} for concept, pictures in pictures_by_concept(world).items()}
    for picture in world.split("train"):
        told = [OtherHands(world).prototype(picture, seed, colour) for seed in range(6)]
        if drawn.get(picture.concept, set()) <= {picture.family}:
            assert told == [None] * 6
            continue
        own = [p.index for p in pictures_by_concept(world)[picture.concept] if p.family == picture.family]
        pixels = world.pixels.copy()
        pixels[own] = 0
        blind = OtherHands(World(world.pictures, pixels, world.digest))
        assert all(np.array_equal(blind.prototype(picture, seed, colour), one) for seed, one in enumerate(told))  # type: ignore[arg-type]
        pixels[[p.index for p in pictures_by_concept(world)[picture.concept]]] = 0
        assert not any(one.any() for seed in range(6) if (one := blind.prototype(picture, seed, colour)) is not None)


def test_of_all_other_hands_it_is_what_they_have_in_common_and_of_some_it_is_another() -> None:
    """A picture of another hand than all that are known."""
    world = fixture_world()
    picture, hands = replace(world.split("train")[0], family="another"), OtherHands(world)
    drawn = world.pixels[[p.index for p in hands.drawings[picture.concept].values()]]
    whole = resized(resized(in_common(drawn), SIDE, SIDE), 128, 128).astype(int)
    apart = np.array([np.abs(hands.prototype(picture, seed) - whole).mean() for seed in range(200)])  # type: ignore[operator]
    assert len(hands.drawings[picture.concept]) > 1 and (apart < 4).mean() > ALL_SHARE + 0.1, (
        "some are all now and then"
    )
    assert apart.max() > 2 * apart.min()


def test_saved_and_loaded_it_looks_the_same_and_belongs_to_its_wording(built: Prototypes, tmp_path: Path) -> None:
    wording = PromptParser.build(Bags(), fixture_world())  # type: ignore[arg-type]
    wording.save(tmp_path)
    built.save(tmp_path)
    again = Prototypes.load(tmp_path)
    assert again.hands == built.hands and len(built.hands) == len(wording.linker.concepts)
    assert again.own == built.own and len(again.pictures) == len(built.pictures)
    assert again.two_sided == built.two_sided and built.two_sided
    cells = [(number, "", look) for number, rows in enumerate(built.hands) for look in range(len(rows))]
    for number, style, look in [*cells, *((*cell, 0) for cell in built.own)]:
        lost = again.picture(number, "", style, look).astype(int) - built.picture(number, "", style, look)
        others = built.picture((number + 1) % len(built.hands)).astype(int) - built.picture(number, "", style, look)
        assert np.abs(lost).mean() < min(8, np.abs(others).mean() / 2)
    wording.save(tmp_path, "another")
    record_part("wording", tmp_path)
    with pytest.raises(WeightsError, match="another part 'wording'"):
        Prototypes.load(tmp_path)


def test_of_another_version_it_is_refused(built: Prototypes, tmp_path: Path) -> None:
    PromptParser.build(Bags(), fixture_world()).save(tmp_path)  # type: ignore[arg-type]
    file = built.save(tmp_path) / FILE
    tensors = load_file(file)
    del tensors["own"]
    save_file(tensors, file)
    record_part("prototypes", tmp_path)
    with pytest.raises(WeightsError, match="of another version: it has no own; make it anew"):
        Prototypes.load(tmp_path)


def test_without_avif_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(WeightsError, match=r"reads no AVIF.*pip install --upgrade pillow"):
        Prototypes.load(tmp_path)


def test_seeds_in_a_row_begin_from_different_looks_and_a_seed_from_its_own(pipe: StickerPipeline) -> None:
    assert pipe.parser is not None and pipe.prototypes is not None
    number = target.concept if (target := pipe.parser.target("fish")) else -1
    looks, seeds = 2 * len(pipe.prototypes.hands[number]), [*range(9, 9 + 16), 3, 2**63 - 1]

    def drafts(text: str) -> list[torch.Tensor]:
        texts = [pipe.parse(text)] * len(seeds)
        return list(pipe._with_drafts(texts, seeds, [True] * len(seeds), pipe.encode_condition(texts)).draft)

    def looked(style: str, look: int) -> torch.Tensor:
        return pipe._encode(pipe.prototypes.picture(number, style=style, look=look)[None])[0]  # type: ignore[union-attr]

    plain = drafts("fish")
    assert looks > 2 and len({draft.numpy().tobytes() for draft in plain}) == looks
    assert all(torch.equal(draft, looked("", seed % looks)) for seed, draft in zip(seeds, plain, strict=True))
    assert pipe.prototypes.has(number, "noto") and not pipe.prototypes.has(number, "blob")
    own = zip(seeds, drafts("fish, noto style"), strict=True)
    assert all(torch.equal(draft, looked("noto", seed % 2)) for seed, draft in own), "its own, and that mirrored"
    assert all(torch.equal(draft, looked("", 0)) for draft in drafts("fish, blob style")), "the most typical one"


def test_what_is_another_thing_in_a_mirror_has_the_looks_of_its_hands() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 4)).astype(np.uint8)
    prototypes = Prototypes(pictures, [[0], [1, 2]], {(0, "noto"): 0}, two_sided=[1])
    looks = [[prototypes.look(number, seed) for seed in range(5)] for number in range(2)]
    assert looks == [[0] * 5, [0, 1, 2, 3, 0]] and prototypes.look(0, 7, "noto") == 0
    assert np.array_equal(prototypes.picture(1, look=3), prototypes.picture(1, look=1)[:, ::-1])


def test_a_look_is_encoded_once(pipe: StickerPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, encode = [], pipe._encode
    monkeypatch.setattr(pipe, "_encode", lambda picture: seen.append(picture) or encode(picture))
    pipe._with_drafts([pipe.parse("fish")] * 64, range(64), [True] * 64, pipe.encode_condition(["fish"] * 64))
    number = pipe.parser.target("fish").concept  # type: ignore[union-attr]
    assert len(seen) == 2 * len(pipe.prototypes.hands[number])  # type: ignore[union-attr]


@pytest.mark.parametrize("sampling", [Sampling(8, 1.0, cooling=0.0), FAST_SAMPLING])
def test_a_draft_lies_in_the_noise_of_its_own_row(sampling: Sampling) -> None:
    mask, draft = torch.zeros(2, 1, dtype=torch.bool), torch.zeros(2, 8, 4, 4)
    draft[0] = 7
    told = Condition(torch.zeros(2, 1, 4), mask, torch.zeros(2, 128), draft)
    noise, seen = torch.randn(2, 8, 4, 4), []

    def still(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen.append((float(t[0]), x.clone()))
        return torch.zeros_like(x)

    list(denoise(still, noise, Blend.of(told), told, sampling, build_scheduler("euler")))
    begun = torch.stack([7 * (1 - DRAFTED) + DRAFTED * noise[0], noise[1]]) * sampling.temperature
    assert seen[0][0] == 1.0 and torch.allclose(seen[0][1], begun, atol=1e-5)
    assert all(torch.equal(x, seen[0][1]) for _, x in seen)


def test_a_drawing_begins_from_its_thing_in_any_company(pipe: StickerPipeline) -> None:
    alone = drawn(pipe, ["cat", "sky"], [1, 2], batch=2)
    assert np.array_equal(drawn(pipe, ["sky", "cat"], [2, 1], batch=2), alone[::-1])
    free = drawn(pipe, ["cat", "sky"], [1, 2], batch=2, draft=False)
    assert not np.array_equal(alone[0], free[0]) and np.array_equal(alone[1], free[1])
    assert np.array_equal(drawn(pipe, ['"cat"', "sky"], [1, 2], batch=2), free), "word for word, from noise"


@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        ("a red cat", ("cat", "red")),
        ("cat", ("cat", "")),
        ("a red and blue cat", ("cat", "")),
        ("a black and white cat", ("cat", BLACK_AND_WHITE)),
        ("a cat and a fish", None),
        ("two cats", None),
        ("a cat, transparent background", ("cat", "")),
        ("a small cat", None),
        ("a cat on a red background", None),
        ("a (cat:1.2)", ("cat", "")),
        ("a (red:0.8) [cat]", ("cat", "red")),
        ("a (red:0) cat", ("cat", "")),
        ("a (cat:0)", None),
        ('"cat"', None),
        ("", None),
    ],
)
def test_what_a_drawing_begins_from(pipe: StickerPipeline, prompt: str, thing: tuple[str, str] | None) -> None:
    assert pipe.parser is not None
    numbers = list(pictures_by_concept(fixture_world()))
    found = pipe.parser.target(prompt)
    assert (found and (numbers[found.concept], found.paint)) == thing


def test_a_start_and_a_sense_have_no_draft(pipe: StickerPipeline) -> None:
    def drafted(**settings: object) -> bool:
        told = {"vector": None, "words": True, "sense": True, "start": None, "noise": None, "draft": True} | settings
        return bool(pipe._resolve(["cat"], [1], "", **told).wanted.draft.any())  # type: ignore[arg-type]

    assert drafted()
    for setting in ({"vector": torch.ones(1, 128)}, {"words": False}, {"sense": False}, {"draft": False}):
        assert not drafted(**setting)
    assert replace(Sampling(), draft=False) != Sampling()


def test_a_picture_that_is_told_a_vector_has_no_draft_though_another_of_its_words_has(pipe: StickerPipeline) -> None:
    vectors = [None, torch.nn.functional.normalize(torch.ones(1, 128))]
    work = pipe._resolve(["cat", "cat"], [1, 2], "", vectors, True, True, None, None, True)
    assert work.wanted.draft.flatten(1).any(1).tolist() == [True, False]
