"""Laws of references: what is stored comes back, one function says what is taken, and a picture begins from it in any
company.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from PIL import features
from prompt_kit import knowing_pipe, world_parser  # noqa: F401 - a fixture
from safetensors.torch import load_file, save_file
from tiny_parts import save_tiny_parts

from models.data.colours import black_and_white, colour_shares
from models.data.pixels import resized
from models.data.variety import can_be_mirrored
from models.data.world import Picture, World, pictures_by_concept
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import BLACK_AND_WHITE
from models.references.build import OUTLINES, PREFERRED, TYPICAL, TrainingReferences, build_references, representatives
from models.references.drawing import emphasised, typical
from models.references.store import FILE, SIDE, Reference, ReferenceStore
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import guidance_hooks
from models.sampling.loop import FAST_SAMPLING, REFERENCE_SHARE, Sampling, denoise
from models.sampling.schedulers import build_scheduler
from models.space import Embedder
from models.train.vocabulary import build_parser
from models.weights import WeightsError, record_part


@pytest.fixture(scope="module")
def built() -> ReferenceStore:
    return build_references(fixture_world())


def small(drawings: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [resized(drawing, SIDE, SIDE) for drawing in drawings]


def drawn(pipe: StickerPipeline, prompts: list[str], seeds: list[int], **settings: object) -> np.ndarray:
    sampling = Sampling(steps=16, guidance=1.0, **settings)  # type: ignore[arg-type]
    events = pipe.steps(prompts, seeds, sampling)
    return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])


def kept(world: World, picture: Picture) -> np.ndarray:
    return emphasised(resized(*small([world.pixels[picture.index]]), 128, 128))


def test_prototypes_are_of_the_families_drawings_that_are_filled_those_that_agree(built: ReferenceStore) -> None:
    world = fixture_world()
    for number, pictures in enumerate(pictures_by_concept(world).values()):
        if len(pictures) == len({p.family for p in pictures}):
            filled = [p for p in pictures if p.style not in OUTLINES] or pictures
            agree = typical(world.pixels[[p.index for p in filled]])[:TYPICAL]
            wanted = [kept(world, filled[hand]) for hand in agree]
            assert np.array_equal([built.drawing(Reference((row,))) for row in built.typical[number]], wanted)
            leads = [(row, turn) for turn in range(1 + can_be_mirrored(pictures[0])) for row in built.typical[number]]
            found = [built.retrieve(number, seed) for seed in range(2 * len(leads))]
            assert [(one.rows[0], one.mirrored) for one in found] == leads * 2
            assert len({one.shares for one in found}) == (len(found) if len(wanted) > 1 else 1)
    assert 1 < max(map(len, built.typical)) <= TYPICAL
    number = list(pictures_by_concept(world)).index("heart")
    blue, own = (built.drawing(built.retrieve(number, paint=paint)).astype(int) for paint in ("blue", ""))
    assert (blue[..., 2] > blue[..., 0]).mean() > 0.2 and (own[..., 2] > own[..., 0]).mean() < 0.05
    whole = np.stack(list(built.pictures))
    assert blue.shape == (128, 128, 4) and (whole[..., :3] <= whole[..., 3:]).all()


def test_in_a_style_that_has_drawn_the_thing_that_drawing_leads(built: ReferenceStore) -> None:
    world = fixture_world()
    for number, pictures in enumerate(pictures_by_concept(world).values()):
        assert {style for style in PREFERRED if (number, style) in built.drawn} == {p.style for p in pictures}
        for seed, picture in enumerate(pictures):
            turned = seed % 2 and number in built.two_sided
            found = built.retrieve(number, seed, picture.style)
            assert found.keeps_look and bool(turned) == found.mirrored and found.is_exact
            assert np.array_equal(built.drawing(Reference(found.rows[:1])), kept(world, picture))
        assert built.retrieve(number, 5, "a style that lacks it").rows == (built.typical[number][0],)
    assert len(built.pictures) == len(built.drawn)


def test_of_many_drawings_it_is_one_without_skin_tone_and_gender() -> None:
    world = fixture_world()
    first = pictures_by_concept(world)["cat"][0]
    toned = [
        replace(first, id="toned", skin="dark", index=0),
        replace(first, id="woman", gender="woman", index=0),
        first,
    ]
    assert representatives(toned, "style") == {first.style: first}
    assert representatives(toned[:2], "family")[first.family] in toned[:2]


def test_lines_are_taken_where_nobody_filled_the_thing() -> None:
    world, bar = fixture_world(), np.zeros((128, 128, 4), np.uint8)
    bar[40:80] = 255
    pixels = world.pixels.copy()
    pixels[[p.index for own in pictures_by_concept(world).values() for p in own if p.style in OUTLINES]] = bar
    built = build_references(World(world.pictures, pixels, world.digest))
    lines = [all(p.style in OUTLINES for p in own) for own in pictures_by_concept(world).values()]
    same = [
        np.array_equal(built.drawing(built.retrieve(number)), resized(*small([bar]), 128, 128))
        for number in range(len(lines))
    ]
    assert same == lines and any(lines) and not all(lines)


def test_what_is_asked_for_in_a_colour_is_mostly_of_it() -> None:
    """Where captions call it so: a rocket whose fins alone are coloured, and one that is coloured but for a window."""
    rockets = np.full((2, SIDE, SIDE, 4), 255, np.uint8)
    for rocket, grey in zip(rockets, (SIDE // 2, SIDE // 7), strict=True):
        rocket[:grey, :, :3] = 128
        rocket[grey:, :, 1:3] = 30
    store = ReferenceStore(rockets)
    fins, window = (store.drawing(store.retrieve(number, paint="blue")) for number in range(2))
    assert colour_shares(fins)["blue"] > 0.9
    assert 0.8 < colour_shares(window)["blue"] < 0.9, "a window stays one"


def test_an_unwanted_colour_gives_way_to_the_next_one_of_the_drawing() -> None:
    flag = np.full((1, SIDE, SIDE, 4), 255, np.uint8)
    flag[0, :, :, 1:3] = 30
    flag[0, SIDE * 2 // 3 :, :, :3] = 30, 60, 230
    store = ReferenceStore(flag)
    own = store.retrieve(0)
    assert store.repainted(own, ["green"]) == own == store.repainted(own, ["red", "blue"]), "there is no other one"
    assert colour_shares(store.drawing(store.repainted(own, ["red"]))).get("red", 0) < 0.05
    assert store.repainted(own, ["red"]).paint == "blue"


def test_in_black_and_white_a_thing_has_no_colour(built: ReferenceStore) -> None:
    own, grey = (built.drawing(built.retrieve(0, paint=paint)) for paint in ("", BLACK_AND_WHITE))
    assert np.array_equal(grey, black_and_white(own)) and not np.array_equal(grey, own)


@pytest.mark.parametrize("colour", ["", "blue"])
def test_other_hands_do_not_know_the_picture_s_own(colour: str) -> None:
    world = fixture_world()
    drawn = {concept: {p.family for p in pictures} for concept, pictures in pictures_by_concept(world).items()}
    for picture in world.split("train"):
        told = [TrainingReferences(world).reference(picture, seed, colour) for seed in range(3)]
        if drawn.get(picture.concept, set()) <= {picture.family}:
            assert told == [None] * 3
            continue
        own = [p.index for p in pictures_by_concept(world)[picture.concept] if p.family == picture.family]
        pixels = world.pixels.copy()
        pixels[own] = 0
        blind = TrainingReferences(World(world.pictures, pixels, world.digest))
        assert all(np.array_equal(blind.reference(picture, seed, colour), one) for seed, one in enumerate(told))  # type: ignore[arg-type]
        pixels[[p.index for p in pictures_by_concept(world)[picture.concept]]] = 0
        blind = TrainingReferences(World(world.pictures, pixels, world.digest))
        assert not any(one.any() for seed in range(3) if (one := blind.reference(picture, seed, colour)) is not None)


def test_what_a_picture_is_drawn_from_in_training_is_another_drawing_each_time() -> None:
    """A picture of another hand than all that are known."""
    world = fixture_world()
    picture, hands = replace(world.split("train")[0], family="another"), TrainingReferences(world)
    assert len(hands.drawings[picture.concept]) > 1
    drawn = [hands.reference(picture, seed) for seed in range(20)]
    assert len({one.tobytes() for one in drawn if one is not None}) > 10
    assert np.array_equal(hands.reference(picture, 3), drawn[3])  # type: ignore[arg-type]


def test_saved_and_loaded_it_looks_the_same_and_belongs_to_its_wording(built: ReferenceStore, tmp_path: Path) -> None:
    wording = world_parser(fixture_world())
    wording.save(tmp_path)
    built.save(tmp_path)
    again = ReferenceStore.load(tmp_path)
    assert again.typical == built.typical and len(built.typical) == len(wording.concepts)
    assert again.drawn == built.drawn and len(again.pictures) == len(built.pictures)
    assert again.two_sided == built.two_sided and built.two_sided
    cells = [(number, "", look) for number, rows in enumerate(built.typical) for look in range(len(rows))]
    for number, style, look in [*cells, *((*cell, 0) for cell in built.drawn)]:
        found = built.retrieve(number, look, style)
        assert again.retrieve(number, look, style) == found
        lead = Reference(found.rows[:1])
        own, other = built.drawing(lead), built.drawing(built.retrieve((number + 1) % len(built.typical)))
        lost, others = again.drawing(lead).astype(int) - own, other.astype(int) - own
        assert np.abs(lost).mean() < min(8, np.abs(others).mean() / 2)
    wording.save(tmp_path, "another")
    record_part("wording", tmp_path)
    with pytest.raises(WeightsError, match="another part 'wording'"):
        ReferenceStore.load(tmp_path)


def test_of_another_version_it_is_refused(built: ReferenceStore, tmp_path: Path) -> None:
    world_parser(fixture_world()).save(tmp_path)
    file = built.save(tmp_path) / FILE
    tensors = load_file(file)
    del tensors["drawn"]
    save_file(tensors, file)
    record_part("prototypes", tmp_path)
    with pytest.raises(WeightsError, match="of another version: it has no drawn; make it anew"):
        ReferenceStore.load(tmp_path)


def test_without_avif_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(WeightsError, match=r"reads no AVIF.*pip install --upgrade pillow"):
        ReferenceStore.from_pretrained(tmp_path)


def test_every_seed_begins_from_a_drawing_of_its_own(pipe: StickerPipeline) -> None:
    assert pipe.parser is not None and pipe.references is not None
    number = target.concept if (target := pipe.parser.parse("fish").target) else -1
    seeds = [*range(9, 9 + 16), 3, 2**63 - 1, 3]

    def drafts(text: str) -> list[bytes]:
        texts = [text] * len(seeds)
        found = pipe.retrieved(texts, seeds, [True] * len(seeds))
        references = pipe._with_references(found, pipe.encode_condition(texts)).reference
        return [reference.numpy().tobytes() for reference in references]

    plain, store = drafts("fish"), pipe.references
    assert len(set(plain)) == len(seeds) - 1 and plain[-1] == plain[-3], "of the same seed the same"
    assert plain[0] == pipe._encode(store.drawing(store.retrieve(number, seeds[0]))[None])[0].numpy().tobytes()
    assert (number, "noto") in store.drawn and (number, "blob") not in store.drawn
    assert len(set(drafts("fish, noto style"))) == len(seeds) - 1
    assert len(set(drafts("fish, blob style"))) == 1, "the most typical one"


def test_what_is_another_thing_in_a_mirror_has_the_looks_of_its_hands() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 4)).astype(np.uint8)
    store = ReferenceStore(pictures, [[0], [1, 2]], {(0, "noto"): 0}, two_sided=[1])
    found = [[store.retrieve(number, seed) for seed in range(5)] for number in range(2)]
    assert [[(one.rows[0], one.mirrored) for one in own] for own in found] == [
        [(0, False)] * 5,
        [(1, False), (2, False), (1, True), (2, True), (1, False)],
    ]
    assert store.retrieve(0, 7, "noto").rows == (0,)
    turned = replace(found[1][1], mirrored=True)
    assert np.array_equal(store.drawing(turned), store.drawing(found[1][1])[:, ::-1])


@pytest.mark.parametrize("sampling", [Sampling(8, 1.0, cooling=0.0), FAST_SAMPLING])
def test_a_draft_lies_in_the_noise_of_its_own_row(sampling: Sampling) -> None:
    mask, draft = torch.zeros(2, 1, dtype=torch.bool), torch.zeros(2, 8, 4, 4)
    draft[0] = 7
    told = Condition(torch.zeros(2, 1, 4), mask, torch.zeros(2, 128), draft)
    noise, seen = torch.randn(2, 8, 4, 4), []

    def still(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen.append((float(t[0]), x.clone()))
        return torch.zeros_like(x)

    list(denoise(still, noise, ComposedCondition.of(told), told, sampling, build_scheduler("euler")))
    begun = torch.stack([7 * REFERENCE_SHARE + (1 - REFERENCE_SHARE) * noise[0], noise[1]]) * sampling.temperature
    assert seen[0][0] == 1.0 and torch.allclose(seen[0][1], begun, atol=1e-5)
    assert all(torch.equal(x, seen[0][1]) for _, x in seen)


def test_a_drawing_begins_from_its_thing_in_any_company(pipe: StickerPipeline) -> None:
    alone = drawn(pipe, ["cat", "sky"], [1, 2], batch=2)
    assert np.array_equal(drawn(pipe, ["sky", "cat"], [2, 1], batch=2), alone[::-1])
    free = drawn(pipe, ["cat", "sky"], [1, 2], batch=2, reference_strength=0)
    assert not np.array_equal(alone[0], free[0]) and np.array_equal(alone[1], free[1])
    assert np.array_equal(drawn(pipe, ['"cat"', "sky"], [1, 2], batch=2), free), "word for word, from noise"


def test_a_start_and_a_sense_have_no_draft(pipe: StickerPipeline) -> None:
    def drafted(strength: float = 1.0, **settings: Any) -> bool:
        work = pipe._resolve(["cat"], [1], Sampling(reference_strength=strength), **settings)
        return bool(work.wanted.reference.any())

    assert drafted()
    for setting in ({"vector": torch.ones(1, 128)}, {"strength": 0}):
        assert not drafted(**setting)


def test_a_picture_that_is_told_a_vector_has_no_draft_though_another_of_its_words_has(pipe: StickerPipeline) -> None:
    vectors = [None, torch.nn.functional.normalize(torch.ones(1, 128))]
    work = pipe._resolve(["cat", "cat"], [1, 2], Sampling(), vector=vectors)
    assert work.wanted.reference.flatten(1).any(1).tolist() == [True, False]


# --- A part of the pipeline -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, built: ReferenceStore) -> Path:
    """Parts with references, as they ship."""
    root = save_tiny_parts(tmp_path_factory.mktemp("shipped"))
    build_parser(Embedder.load(root), fixture_world()).save(root)
    built.save(root)
    return root


def test_a_saved_pipeline_draws_what_the_shipped_parts_draw(shipped: Path, tmp_path: Path) -> None:
    pipe = StickerPipeline.assemble(shipped)
    pipe.save_pretrained(tmp_path)
    again = StickerPipeline.from_pretrained(tmp_path)
    assert isinstance(again.references, ReferenceStore) and again.components["references"] is again.references
    prompts, seeds = ["a red cat", "fish, noto style", "a cat and a fish"], [1, 2, 3]
    first = drawn(pipe, prompts, seeds)
    assert np.array_equal(drawn(again, prompts, seeds), first)
    again.references = None
    assert not np.array_equal(drawn(again, prompts, seeds), first)


def test_strength_scales_the_pull_of_a_reference() -> None:
    """On the first clean latents of a network that always answers with another picture."""
    reference, aim, noise = (torch.randn(1, 8, 16, 16) for _ in range(3))
    none = Condition(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 128), 0 * reference)
    told, asked = ComposedCondition.of(replace(none, reference=reference)), list[torch.Tensor]()

    def network(x: torch.Tensor, t: torch.Tensor, states: object, mask: object, vector: object, given: torch.Tensor):  # type: ignore[no-untyped-def]
        asked.append(given)
        return (x - aim) / t.view(-1, 1, 1, 1)

    def first(strength: float) -> torch.Tensor:
        sampling = Sampling(4, 1.0, reference_strength=strength)
        hooks = guidance_hooks(reference, [True], None, strength)
        return next(denoise(network, noise, told, none, sampling, build_scheduler("euler"), hooks=hooks)).clean

    distances = [float((first(strength) - reference).square().mean()) for strength in (0.01, 0.3, 0.6, 1.0)]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 1e-4
    assert [float((given / reference).mean()) for given in asked] == pytest.approx([0.01, 0.3, 0.6, 1.0])


def test_without_strength_the_generator_draws_alone_and_a_little_changes_little(pipe: StickerPipeline) -> None:
    alone, little, usual = (drawn(pipe, ["cat"], [1], reference_strength=s)[0].astype(int) for s in (0.0, 1e-4, 1.0))
    assert np.abs(little - alone).mean() < 0.5 < np.abs(usual - alone).mean()
    references, pipe.references = pipe.references, None
    assert np.array_equal(drawn(pipe, ["cat"], [1])[0], alone)
    pipe.references = references
    assert np.array_equal(drawn(pipe, ["cat"], [1])[0], usual)
