"""Clips: network, plans, pipeline, motion head, training.

Byte equality holds for the kernels of a single process.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixture_world import fixture_world
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats
from safetensors.torch import load_file, save_file
from tiny_parts import awaken, save_tiny_parts, save_tiny_video
from training_kit import STEPS, are_equal, straight_and_resumed

from models.assets import preset
from models.compose.motion import SMALLEST, moved_frames, moved_poses, reached, room, with_room
from models.data.clips import FRAMES, MOTION_WORDS, MOTIONS, REST, make_clip
from models.data.pixels import to_tensor
from models.dit import DiT
from models.pipelines.reader import Reading
from models.pipelines.sticker import StickerPipeline
from models.pipelines.video import (
    ClipPipeline,
    ClipSampling,
    ClipStep,
    DrawnClip,
    clip_noise,
    denoise_clip,
)
from models.prompts.still import can_loop, named_motions, named_moves, read_motion, still_prompt
from models.sampling.condition import Condition
from models.space import CLIP_FRAMES, DIM, MOTION, Embedder, MotionHead, SemanticSpace
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.train.video import (
    PAIRS,
    ClipMix,
    MotionTask,
    VideoTask,
    acted_losses,
    item_of,
    motion_item,
    still_item,
)
from models.video import (
    BASIS,
    CELLS,
    EVEN,
    MOVERS,
    PLACE,
    POSE,
    Frames,
    Plan,
    VideoDiT,
    clip_settings,
    frame_times,
    moved,
    reach,
    time_basis,
)
from models.weights import WeightsError, load_part, part_digests, record_part, save_part, weights_digest

WORLD = fixture_world()
MIX = ClipMix(frames=3, whole=4, shards=2, every=1, planned=8, plans=5, begin=0)
RECIPE = Recipe(lambda options: VideoTask(options, MIX, clips=3, rows=6), batch_size=lambda _: 2, warmup=2)


@pytest.fixture(scope="module")
def image(parts: Path) -> DiT:
    return load_part(DiT, "dit", parts)


def network(image: DiT, awake: bool = False, **changes: object) -> VideoDiT:
    torch.manual_seed(1)
    results = VideoDiT(**{**preset("video", "tiny"), "context": image.config.context, **changes})
    if awake:
        awaken(results)
    return results.eval()


def known(batch: int, count: int, loop: bool = False) -> Frames:
    loops = torch.full((batch,), loop)
    draft, first = torch.randn(batch, count, 8, 16, 16), torch.randn(batch, 8, 16, 16)
    settings = clip_settings(loops, torch.full((batch,), 8.0), torch.ones(batch))
    return Frames(frame_times(count, loops), loops, settings, draft, first, torch.zeros_like(first))


def condition(image: DiT, batch: int) -> Condition:
    states, vector = torch.randn(batch, 5, image.config.context), torch.randn(batch, 128)
    return Condition(states, torch.ones(batch, 5, dtype=torch.bool), vector, torch.zeros(batch, 8, 16, 16))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    yield


@pytest.mark.parametrize("count", [1, 4])
def test_at_first_a_clip_is_pictures_drawn_apart(image: DiT, count: int) -> None:
    frames, result, x, t = (
        known(2, count),
        condition(image, 2),
        torch.randn(2, count, 8, 16, 16),
        torch.tensor([0.3, 0.9]),
    )
    clip = network(image)(image, x, t, result, frames)
    for number in range(count):
        apart = image(x[:, number], t, result.states, result.mask, result.vector, frames.draft[:, number])
        assert torch.allclose(clip[:, number], apart, rtol=1e-3, atol=1e-3)
    each = (part.repeat_interleave(count, 0) for part in (t, result.states, result.mask, result.vector))
    together = image(x.flatten(0, 1), *each, frames.draft.flatten(0, 1))  # the same shape: the same bits
    assert torch.equal(clip.flatten(0, 1), together)


def test_only_what_is_added_is_stored(image: DiT, tmp_path: Path) -> None:
    results = network(image, awake=True)
    results.save_pretrained(tmp_path)
    stored = VideoDiT.from_pretrained(tmp_path)
    this, other = dict(results.named_parameters()), dict(image.named_parameters())
    assert not {id(p) for p in this.values()} & {id(p) for p in other.values()}
    assert all(torch.equal(this[name], p) for name, p in stored.named_parameters())


def test_woken_frames_see_each_other_and_the_order_of_time(image: DiT) -> None:
    results, frames, result = network(image, awake=True), known(1, 4), condition(image, 1)
    x, t = torch.randn(1, 4, 8, 16, 16), torch.tensor([0.5])
    before = results(image, x, t, result, frames)
    other = x.clone()
    other[:, 3] += 1
    assert not torch.allclose(results(image, other, t, result, frames)[:, 0], before[:, 0], atol=1e-4)
    turned = results(image, x, t, result, Frames(**{**vars(frames), "times": frames.times.flip(1)}))
    assert not torch.allclose(turned, before, atol=1e-4)


def test_loops_are_shift_equivariant_without_a_first_frame(image: DiT) -> None:
    results, result, x, t = (
        network(image, awake=True),
        condition(image, 1),
        torch.randn(1, 6, 8, 16, 16),
        torch.tensor([0.5]),
    )
    for shown in (False, True):
        frames = known(1, 6, loop=True)
        frames = replace(frames, first=frames.first * shown)
        straight = results(image, x, t, result, frames)
        rolled = results(image, x.roll(2, 1), t, result, replace(frames, draft=frames.draft.roll(2, 1)))
        assert torch.allclose(rolled, straight.roll(2, 1), atol=2e-3) is not shown


def plan_of(**pose: float) -> Plan:
    """The first mover owns everything and goes evenly to a pose, given by the names of its numbers."""
    names = ("right", "down", "turn", "width", "height", "opacity")
    curves = torch.zeros(1, MOVERS, BASIS, POSE)
    for name, value in pose.items():
        curves[0, 0, EVEN, names.index(name)] = value  # the first power of time
    owners = torch.zeros(1, MOVERS + 1, CELLS, CELLS)
    owners[:, 1] = 50
    return Plan(
        curves, torch.zeros(1, MOVERS), torch.tensor([0.5, 0.5, 1.0]).expand(1, MOVERS, PLACE), owners, torch.zeros(1)
    )


def test_the_basis_vanishes_at_the_start_and_closes_in_a_loop() -> None:
    loop = torch.tensor([True, False])
    ends = time_basis(torch.tensor([[0.0, 1.0]]).expand(2, 2), loop)
    assert ends[:, 0].abs().max() < 1e-6 and ends[1, 1].abs().max() > 0.5
    assert ends[0, 1].abs().topk(2).values.tolist() == pytest.approx([1, 0], abs=1e-4)  # but for time itself


def test_a_loop_turns_whole_turns_and_does_nothing_else_that_stays() -> None:
    plan, ends = plan_of(right=1.0, turn=6.0, width=0.5), torch.tensor([[0.0, 1.0]])
    looped = plan.closed(torch.tensor([True])).poses(ends, torch.tensor([True]))[0, 1, 0]
    assert looped.tolist() == pytest.approx([0, 0, 2 * np.pi, 1, 1, 1], abs=1e-4)
    assert plan.closed(torch.tensor([False])).poses(ends, torch.tensor([False]))[0, 1, 0, 2] == 6


def test_a_plan_moves_the_picture_as_the_clip_is_moved() -> None:
    loop, picture = torch.tensor([False]), to_tensor(WORLD.pictures and WORLD.pixels[:1])
    still, _ = moved(picture, plan_of(), frame_times(4, loop), loop)
    assert torch.allclose(still[0], picture.expand(4, -1, -1, -1), atol=1e-4)
    right = moved(picture, plan_of(right=0.25), frame_times(3, loop), loop)[0][0]
    assert torch.allclose(right[2, :, :, 32:], picture[0, :, :, :-32], atol=1e-3)
    opaque, fading = moved(picture, plan_of(opacity=-1.0), frame_times(3, loop), loop)
    assert torch.equal(opaque, still[:, :3])  # the autoencoder is given no half-transparent picture
    faded = (opaque * fading)[0]
    assert torch.allclose(faded[1], picture[0] / 2, atol=1e-3) and faded[2].max() < 1e-4


def test_the_reach_of_a_plan_is_that_of_the_picture_it_moves() -> None:
    loop, times = torch.tensor([False]), frame_times(4, torch.tensor([False]))
    picture = torch.zeros(1, 4, 128, 128)
    picture[:, :, 48:72, 40:80] = 1
    plan = plan_of(right=0.2, turn=2.0, width=-0.4, height=0.2)
    reached = reach(picture[:, 3:], plan, times, loop)[0]
    for alpha, box in zip(moved(picture, plan, times, loop)[0][0, :, 3], reached, strict=True):
        y, x = torch.nonzero(alpha > 0.1, as_tuple=True)
        truth = torch.stack([torch.stack([x.min(), y.min()]), torch.stack([x.max(), y.max()]) + 1]) / 128
        assert (truth - box).abs().max() < 1.5 / CELLS
    gone = reach(picture[:, 3:], plan_of(opacity=-1.0), times, loop)[0, -1]
    assert gone.tolist() == [[1, 1], [0, 0]]


@given(arrays(np.float64, (3, 2, 2), elements=floats(-1, 2)))
def test_room_keeps_the_clip_in_sight(ends: np.ndarray) -> None:
    ends = np.sort(ends, 1)
    ends[0] = ends[0].clip(0, 1)
    scale, corner = room(ends, SMALLEST)
    placed = scale * ends + corner
    low, high = ends[:, 0].min(0), ends[:, 1].max(0)
    assert SMALLEST <= scale <= 1
    assert placed[0].min() > -1e-9 and placed[0].max() < 1 + 1e-9  # the first frame whole
    if (high - low).max() <= 1 / SMALLEST:
        assert placed.min() > -1e-9 and placed.max() < 1 + 1e-9
    if low.min() >= 0 and high.max() <= 1:
        assert scale == 1 and np.allclose(corner, 0)


def test_a_true_plan_draws_the_clip() -> None:
    """The planner's own warp with the poses of a clip gives that clip's frames."""
    clip = next(c for c in (make_clip(WORLD, s, motion="spin") for s in range(99)) if not c.background.colours)
    item = item_of(WORLD, clip, 0, True)
    assert item.frames is not None
    loop, plan = torch.tensor([item.loop]), plan_of()

    class True_(Plan):
        def poses(self, times: torch.Tensor, loop: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(item.poses).transpose(0, 1)[None]

    results = True_(plan.curves, plan.start, torch.from_numpy(item.places)[None], plan.masks, plan.left_out)
    frames = moved(to_tensor(item.rest), results, frame_times(FRAMES, loop), loop)[0][0]
    assert (frames - to_tensor(item.frames)).abs().mean() < 0.01
    assert np.allclose(item.poses[1], REST)


def test_noise_is_partly_shared_and_of_unit_variance() -> None:
    noise = clip_noise(torch.Generator().manual_seed(0), (8, 6, 8, 16, 16))
    assert noise.var() == pytest.approx(1, abs=0.03)
    assert (noise[:, 0] * noise[:, 1]).mean() == pytest.approx(0.5, abs=0.03)


def test_the_draft_can_be_copied_from_pure_noise(image: DiT) -> None:
    results, frames, result = network(image), known(1, 3), condition(image, 1)
    torch.nn.init.ones_(results.copy_out.bias)
    x, row = torch.randn(1, 3, 8, 16, 16), torch.ones(1)
    assert torch.allclose(x - results(image, x, row, result, frames), frames.draft, atol=1e-2)
    steps = list(denoise_clip(results, image, x, result, frames, torch.zeros(1), ClipSampling(steps=3)))
    assert len(steps) == 3 and all(torch.isfinite(clean).all() for clean in steps)


def test_frames_that_are_given_stay_as_they_are(image: DiT) -> None:
    results, frames, result = network(image, awake=True), known(2, 4), condition(image, 2)
    frames.last[1] = torch.randn(8, 16, 16)
    noise = torch.randn(2, 4, 8, 16, 16)
    *_, clean = denoise_clip(results, image, noise, result, frames, torch.full((2,), 0.4), ClipSampling())
    same = torch.stack([torch.isclose(clean[:, i], frames.draft[:, i], atol=1e-5).flatten(1).all(1) for i in range(4)])
    assert same.T.tolist() == [[True, False, False, False]] * 2
    assert torch.allclose(clean[1, -1], frames.last[1], atol=1e-5) and not torch.allclose(clean[0, -1], frames.last[1])


def test_noise_level_grows_with_what_the_draft_lacks() -> None:
    levels = []

    def still(_: DiT, x: torch.Tensor, t: torch.Tensor, *known: object) -> torch.Tensor:
        levels.append(t)
        return torch.zeros_like(x)

    frames, sampling = known(3, 2), ClipSampling(steps=2, least=0.3, most=0.9)
    left_out = torch.tensor([-1.0, 0.2, 5.0])
    list(denoise_clip(still, None, torch.randn(frames.draft.shape), None, frames, left_out, sampling))  # type: ignore[arg-type]
    assert torch.allclose(levels[0], torch.tensor([0.3, 0.5, 0.9])) and torch.allclose(levels[1], levels[0] / 2)


@pytest.fixture(scope="module")
def task(parts: Path) -> VideoTask:
    return VideoTask(options(parts), MIX, clips=3, rows=6)


def options(parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, WORLD, lambda _: 2, parts, parts / "cache")


def flat(batch: dict) -> list[torch.Tensor]:
    flow = batch["flow"]
    return [flow["x"], flow["t"], flow["target"], *vars(flow["condition"]).values(), *vars(flow["frames"]).values(),
            *vars(batch["plan"]).values()]  # fmt: skip


def test_a_batch_is_a_function_of_seed_and_step(task: VideoTask, parts: Path) -> None:
    other = VideoTask(options(parts), MIX, clips=3, rows=6)
    for step in (0, 1, 3):  # some frames of two clips, single ones of six, all of one
        first, again = task.batch(step, 0, 1, 0.1), other.batch(step, 0, 1, 0.1)
        assert all(torch.equal(a, b) for a, b in zip(flat(first), flat(again), strict=True))
    assert task.batch(3, 0, 1, 0.1)["flow"]["x"].shape[1] == FRAMES
    assert task.batch(0, 0, 1, 0.1)["flow"]["x"].shape[:2] == (2, 3)
    assert task.batch(1, 0, 1, 0.1)["flow"]["x"].shape[:2] == (6, 1)


def test_targets_lead_back_to_the_clip(task: VideoTask) -> None:
    flow = task.batch(3, 0, 1, 0.1)["flow"]
    clean = flow["x"] - flow["t"][:, None, None, None, None] * flow["target"]
    stored = torch.cat([task.clips.shard(number).frames for number in (0, 1)]).float()
    assert (clean[0] - stored).abs().amax((1, 2, 3, 4)).min() < 1e-2


def test_a_resting_plan_has_no_loss_for_animated_clips(task: VideoTask) -> None:
    flow, planner = task.batch(3, 0, 1, 0.1)["flow"], task.model.planner
    flow["acted"] = torch.ones_like(flow["acted"])
    assert acted_losses(planner, flow)["acted"] == 0
    moving = copy.deepcopy(planner)
    torch.nn.init.ones_(moving.curves_out.bias)
    assert acted_losses(moving, flow)["acted"] > 0
    stills = [still_item(WORLD, WORLD.pictures[0], seed) for seed in range(40)]
    assert {still.loop for still in stills} == {False, True} and len({still.fps for still in stills}) > 2


def test_training_resumes_exactly_and_learns_the_added_part_alone(parts: Path, tmp_path: Path) -> None:
    def trainer(out: Path) -> Trainer:
        return Trainer(RECIPE, options(parts), out, Length(steps=STEPS), precision="no")

    straight, again = straight_and_resumed(trainer, tmp_path)
    assert are_equal(straight, again, 1e-6)
    before = load_part(DiT, "dit", parts)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), straight.task.image.parameters(), strict=True))  # type: ignore[attr-defined]


def test_a_checkpoint_measures_and_draws(task: VideoTask) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # as a checkpoint does
        assert {"poses", "flow_0.1_0.3"} <= task.evaluate(task.model).keys()
        assert task.sheet(task.model).size[0] == 16 * 128
    assert task.batch(0, 0, 1, 0.1)["flow"]["x"].shape[1] == MIX.frames  # training goes on as before


# --- The pipeline -----------------------------------------------------------------------------------------------------


PICTURE = fixture_world().pixels[0]
GROUND = PICTURE + (255 - PICTURE[..., 3:])  # on white: the network moves it apart from its ground


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> ClipPipeline:
    root: Path = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_tiny_video(root)
    return ClipPipeline.assemble(root)


def drawn(pipeline: ClipPipeline, seed: int = 3, **settings: object) -> DrawnClip:
    prompt = str(settings.pop("prompt", "a star"))
    *_, clip = pipeline.steps(prompt, seed, **{"count": 4, **settings})  # type: ignore[arg-type]
    assert isinstance(clip, DrawnClip)
    return clip


def test_the_same_seed_draws_the_same_clip(pipeline: ClipPipeline) -> None:
    once, again, other = drawn(pipeline), drawn(pipeline), drawn(pipeline, seed=4)
    assert once.frames.shape == (4, 128, 128, 4) and once.frames.dtype == np.uint8
    assert np.array_equal(once.frames, again.frames) and not np.array_equal(once.frames, other.frames)
    assert (once.frames[..., :3] <= once.frames[..., 3:]).all()


def test_settings_and_given_frames_matter(pipeline: ClipPipeline) -> None:
    plain = drawn(pipeline, picture=GROUND)
    assert np.array_equal(plain.first, GROUND)
    changes = ({"loop": True}, {"fps": 16.0}, {"strength": 1.5}, {"last": PICTURE[:, ::-1]})
    for change in changes:
        assert not np.array_equal(drawn(pipeline, picture=GROUND, **change).frames, plain.frames)


@pytest.mark.parametrize("last", [None, PICTURE])
def test_only_a_drawn_picture_is_given_room(
    pipeline: ClipPipeline, monkeypatch: pytest.MonkeyPatch, last: np.ndarray | None
) -> None:
    far = np.array([[[0.0, 0.0], [1.0, 1.0]], [[-0.3, 0.0], [1.0, 1.3]]])
    monkeypatch.setattr("models.pipelines.video.reached", lambda *_: far)
    monkeypatch.setattr("models.pipelines.video.reach", lambda *_: torch.from_numpy(far)[None])
    assert np.array_equal(drawn(pipeline, picture=PICTURE, last=last).first, PICTURE)
    smaller = drawn(pipeline, picture=PICTURE, room=True, last=last).first
    assert smaller[..., 3].any() and not smaller[100:, :, 3].any() and not smaller[:, :28, 3].any()


@pytest.mark.parametrize("picture", [PICTURE, GROUND])
def test_steps_are_reported_with_previews(pipeline: ClipPipeline, picture: np.ndarray) -> None:
    *steps, _ = pipeline.steps("a star spins", 1, picture=picture, count=3, previews=True)
    numbers = [step.step for step in steps if isinstance(step, ClipStep)]
    assert numbers == sorted(numbers) and (numbers[0], numbers[-1]) == (0, ClipSampling().steps)
    assert all(
        isinstance(step, ClipStep) and step.preview is not None and step.preview.shape == (3, 64, 64, 4)
        for step in steps
    )


def test_motions_that_lead_away_do_not_loop() -> None:
    assert named_motions("A cat SLIDES TO THE LEFT and spins") == ["slide left", "spin"]
    assert named_motions("a rocket flies up") == ["slide up"] and not can_loop("a rocket flies up")
    result = {"a cat slides left": False, "小猫落下": False, "a cat slides left and spins": False, "a candle": True}
    assert {text: can_loop(text) for text in result} == result


class Readings:
    """Reads the first frame as `first`, and the others as `others`."""

    def __init__(self, first: Reading, others: Reading) -> None:
        self.first, self.others = first, others

    def read_frames(self, drawings: np.ndarray, concept: int | None) -> list[Reading]:
        return [self.first, *[self.others] * (len(drawings) - 1)]


def test_frames_that_turn_into_something_else_are_the_moved_first_frame(
    pipeline: ClipPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = Reading("thumbs up", "thumbs up", True, False), Reading("fist", "thumbs up", False, False)
    rude = replace(wrong, name="middle finger", is_rude=True)
    monkeypatch.setattr(pipeline.pictures, "parser", SimpleNamespace(parse=lambda _: SimpleNamespace(target=None)))
    clips = {}
    for first, others in ((right, right), (right, wrong), (wrong, wrong), (wrong, rude), (rude, rude)):
        monkeypatch.setattr(pipeline.pictures, "reader", Readings(first, others))
        clips[first, others] = drawn(pipeline, picture=GROUND).frames
    network, warped = clips[right, right], clips[right, wrong]
    assert not np.array_equal(warped, network)
    assert np.array_equal(clips[wrong, rude], warped)
    assert np.array_equal(clips[wrong, wrong], network) and np.array_equal(clips[rude, rude], network)


# --- The picture moved as a whole -------------------------------------------------------------------------------------


def thing(box: tuple[int, int, int, int] = (30, 100, 20, 90)) -> np.ndarray:
    """A picture with fine detail, in rows and columns of a box."""
    top, bottom, left, right = box
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[top:bottom, left:right, :3] = np.random.default_rng(0).integers(0, 200, (bottom - top, right - left, 3))
    picture[top:bottom, left:right, 3] = 255
    return picture


LOOPED = [name for name, row in MOTIONS.items() if row.loops]


@pytest.mark.parametrize("name", [name for name in MOTIONS if name != "fade in"])
def test_a_named_motion_begins_with_the_still(pipeline: ClipPipeline, name: str) -> None:
    clip = drawn(pipeline, prompt=f"a star {MOTIONS[name].en[0][0]}", picture=thing(), count=5)
    assert np.array_equal(clip.frames[0], clip.first) and not np.array_equal(clip.frames[2], clip.first)


def test_frames_of_a_slide_are_the_shifted_first_frame() -> None:
    picture = thing()
    poses = moved_poses(named_moves("a star slides right"), 12, 8)
    for frame, right in zip(moved_frames(picture, poses), poses[:, 0], strict=True):
        shift = int(frame[..., 3].any(0).argmax()) - 20  # halves are rounded either way
        assert abs(shift - 70 * right) <= 0.51
        assert np.array_equal(frame[:, shift:], picture[:, : 128 - shift]) and not frame[:, :shift].any()


@pytest.mark.parametrize("name", LOOPED)
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_what_comes_back_stays_in_the_frame_and_closes(name: str, strength: float) -> None:
    picture = np.zeros((128, 128, 4), np.uint8)
    y, x = np.mgrid[:128, :128]
    picture[np.hypot(x - 63.5, y - 63.5) < 63] = 255
    picture[60:68, 20:60, :3] = 0
    moves = named_moves(MOTIONS[name].en[0][0], loop=True)
    poses = moved_poses(moves, 16, 8, strength)
    first = with_room(picture, reached(picture, poses))
    frames = moved_frames(first, poses)
    edges = np.concatenate([frames[:, [0, -1]].reshape(16, -1, 4), frames[:, :, [0, -1]].reshape(16, -1, 4)], 1)
    assert first[..., 3].any() and edges[..., 3].max() < 128
    steps = np.abs(np.diff(frames.astype(float), axis=0, append=frames[:1])).mean((1, 2, 3))
    assert steps[-1] <= 1.3 * np.median(steps[:-1])


def test_a_beat_changes_the_width_by_a_tenth() -> None:
    poses = moved_poses(named_moves("a heart beats", loop=True), 16, 8)
    frames = moved_frames(first := with_room(thing(), reached(thing(), poses)), poses)
    widths = (frames[..., 3] > 127).any(1).sum(1)
    assert widths.max() >= 1.1 * (first[..., 3] > 127).any(0).sum()


def test_moves_are_done_at_once() -> None:
    both = moved_poses(named_moves("a cat slides left and spins"), 5, 8)
    slid, turned = (moved_poses(named_moves(f"a cat {verb}"), 5, 8) for verb in ("slides left", "spins"))
    assert np.allclose(both[:, :2], slid[:, :2]) and np.allclose(both[:, 2], turned[:, 2])


def test_what_says_nothing_of_motion_moves_as_is_typical_and_that_is_said() -> None:
    assert [move.motion for move in named_moves("a red heart", loop=True)] == ["pulse"]
    assert [move.motion for move in named_moves("a house")] == ["float"]
    assert read_motion("a house", loop=True) == "a house, floating"


def test_verbs_are_drawn_as_the_nearest_motions_and_said() -> None:
    for motions, said in MOTION_WORDS["nearest"].items():
        rows = [(verb.split("/")[1], "a cat {}") for verb in said["en"]] + [(verb, "一只猫{}") for verb in said["zh"]]
        for verb, sentence in rows:
            text = sentence.format(verb)
            assert [move.motion for move in named_moves(text)] == motions.split(" + "), text
            assert read_motion(text, loop=False) not in ("", text)
    assert read_motion("a cat jumps", loop=True) == "" and read_motion("a cat slides left", loop=True).endswith("once")
    assert named_motions("一个放大镜") == [] and still_prompt("a waving hand") == "a waving hand"


# --- The motion head --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def motion_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts with a random motion head."""
    root = save_tiny_parts(tmp_path_factory.mktemp("motion_parts"))
    torch.manual_seed(0)
    head = MotionHead(**preset(MOTION, "tiny"))
    awaken(head)
    save_part(head, MOTION, root, part_digests(("vision", "space"), root))
    return root


@pytest.fixture(scope="module")
def embedder(motion_parts: Path) -> Embedder:
    return Embedder.load(motion_parts)


def wandering(frames: int = CLIP_FRAMES) -> np.ndarray:
    """A picture that moves to the right."""
    picture = fixture_world().pixels[0]
    return np.stack([np.roll(picture, 3 * number, 1) for number in range(frames)])


def test_the_vector_of_a_still_clip_is_that_of_its_picture(embedder: Embedder) -> None:
    frames, picture = wandering(), fixture_world().pixels[:1]
    still, there, back = embedder.clip([np.repeat(picture, 5, 0), frames, frames[::-1]])
    assert torch.allclose(still, embedder.image(picture)[0], atol=1e-3)
    assert torch.allclose(embedder.clip([picture]), embedder.image(picture), atol=1e-3)
    assert there.norm().item() == pytest.approx(1, abs=1e-5)
    assert (there - back).norm() > 1e-2
    assert torch.equal(embedder.clip([frames])[0], there)  # whatever else was asked


def test_long_clips_are_subsampled(embedder: Embedder) -> None:
    frames = wandering(4 * CLIP_FRAMES)
    assert torch.equal(embedder.clip([frames]), embedder.clip([frames[::4]]))


def test_an_untrained_head_gives_the_mean_of_the_frames(motion_parts: Path, embedder: Embedder) -> None:
    fresh = Embedder(
        embedder.tokenizer, embedder.language, embedder.vision, embedder.space, MotionHead(**preset(MOTION, "tiny"))
    )
    without = Embedder(embedder.tokenizer, embedder.language, embedder.vision, embedder.space)
    mean = F.normalize(embedder.image(wandering()).mean(0), dim=0)
    for row in (fresh, without):
        assert torch.allclose(row.clip([wandering()])[0], mean, atol=1e-5)


def test_a_pipeline_reads_clips_as_its_parts_do(motion_parts: Path, embedder: Embedder, tmp_path: Path) -> None:
    pipeline = StickerPipeline.assemble(motion_parts)
    pipeline.save_pretrained(tmp_path / "saved")
    for results in (pipeline, StickerPipeline.from_pretrained(tmp_path / "saved")):
        assert torch.allclose(results.embedder.clip([wandering()]), embedder.clip([wandering()]), atol=1e-5)


# --- Its part ---------------------------------------------------------------------------------------------------------


def test_a_motion_head_of_another_space_is_not_loaded(motion_parts: Path, tmp_path: Path) -> None:
    other = save_tiny_parts(tmp_path)
    save_part(MotionHead(**preset(MOTION, "tiny")), MOTION, other, {"space": "another"})
    assert Embedder.load(other).motion is None
    with pytest.raises(WeightsError, match="space"):
        load_part(MotionHead, MOTION, other)
    assert Embedder.load(motion_parts).motion is not None


def test_a_space_with_an_idle_layer_for_clips_loads_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the shipped space, whose digest names all existing vectors."""
    torch.manual_seed(0)
    space = SemanticSpace(**preset("space", "tiny"))
    folder = save_part(space, "space", tmp_path)
    tensors, config = folder / "diffusion_pytorch_model.safetensors", folder / "config.json"
    save_file({**load_file(tensors), "motion.down.weight": torch.zeros(DIM, 32)}, tensors)
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden": 32}))
    record_part("space", tmp_path)
    digest = weights_digest(("space",), tmp_path)
    loaded = load_part(SemanticSpace, "space", tmp_path)
    tokens = torch.randn(2, 64, 32)
    assert torch.allclose(loaded.image(tokens), space.bfloat16().float().image(tokens))
    assert weights_digest(("space",), tmp_path) == digest
    assert "hidden" not in capsys.readouterr().err


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def motion_options(tmp_path_factory: pytest.TempPathFactory, motion_parts: Path) -> TaskOptions:
    cache = tmp_path_factory.mktemp("cache")
    return TaskOptions("tiny", 0, fixture_world(), lambda _: 16, motion_parts, cache)


def small(motion_options: TaskOptions) -> MotionTask:
    return MotionTask(motion_options, clips=24, held=6)


def test_motion_pairs_describe_other_things(motion_options: TaskOptions) -> None:
    world = motion_options.world
    clips = [make_clip(world, seed) for seed in range(20)]
    two = next(clip for clip in clips if len(clip.tracks) == 2 and not clip.scene)
    for row in (clip for clip in clips if len(clip.tracks) == 1 and not clip.scene):
        this, *others = motion_item(world, row).pairs
        assert this[0] is None and len(others) == PAIRS - 1
        for picture, caption in others:
            assert picture is not None and row.tracks[0].move.motion in named_motions(caption)
    assert all(picture is None for picture, _ in motion_item(world, two).pairs)


def test_rows_are_read_once_and_training_lowers_the_loss(
    motion_options: TaskOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small(motion_options)
    monkeypatch.setattr(MotionTask, "_encoded", None)  # a second task finds them
    again = small(motion_options)
    assert torch.equal(task.train.places, again.train.places)
    assert torch.equal(task.components, again.components)
    batch = task.batch(0, 0, 1, 0.0)
    assert all(torch.equal(value, again.batch(0, 0, 1, 0.0)[name]) for name, value in batch.items())
    optimizer = torch.optim.AdamW([p for p in task.model.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(30):
        losses.append(task.loss(task.model, batch, 0.0)["loss"])
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(task.components, again.components)  # frozen


def test_an_untrained_motion_head_equals_the_mean(motion_options: TaskOptions, tmp_path: Path) -> None:
    task = small(motion_options)
    figures = task.evaluate(task.model.eval())
    assert figures["words_to_clips_r10"] == figures["words_to_clips_r10_mean"]
    assert figures["away"] == pytest.approx(0, abs=1e-5)
    task.export(task.model, tmp_path)
    head = load_part(MotionHead, MOTION, tmp_path)
    assert torch.equal(head.components.weight, task.components.bfloat16().float())
