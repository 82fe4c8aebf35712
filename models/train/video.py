"""Training the video generator: motion layers and planner. The image generator is frozen: pictures stay as they are.

A step has two halves. Flow matching on the latents of a few clips, of which some frames are drawn each time: what a
frame shows depends on its time, not on how many others there are, so few frames teach as much for less. And the
planner's curves against the true ones on many rows, which costs a fraction of that.

Shapes: B clips, T frames, latents (C, S, S), K movers.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.autoencoder import Autoencoder
from models.data.clips import FRAMES, PLAIN_TRIES, REST, Clip, direction_seen, plain_clip
from models.data.extra_sets import load_animated
from models.data.pixels import to_tensor, to_uint8
from models.dit import DiT, velocity_to
from models.hardware import native_dtype
from models.motion import Plan, clip_settings, frame_times
from models.presets import preset
from models.sampling.clip import ClipSampling, clip_noise, denoise_clip, planned_frames
from models.sampling.condition import Condition
from models.space import Embedder
from models.train.clip_pool import ClipItem, ClipPool, Clips, animated_item, encode_clips, item_of
from models.train.encoded import Encoder
from models.train.image import FROZEN, noise_levels
from models.train.loop import Task, TaskOptions, grid, psnr, unwrapped
from models.video import Frames, VideoDiT
from models.weights import load_part, part_digests, save_part, weights_digest

# Of the validation: every direction by several motions, then other kinds. Pairs with a concept that are held out.
DIRECTED = ("slide left", "slide right", "slide up", "slide down", "roll left", "roll right", "fall", "slide left")
OTHERS = ("spin", "bounce", "pulse", "wave", "orbit", "fade out")
SHOWN = 8  # frames of a clip on the sheet
ACTED = 2  # clips of the animated set that it shows, of either split
LEVELS = ((0.1, 0.3), (0.3, 0.6), (0.6, 0.95))
BATCH = 8  # clips drawn together
START = 4  # shards of the planner's rows at first, and those that a step takes rows from
CLAMP_TIME = 0.2  # drawing takes no step below it, and what is left of a clip there is the image generator's


@dataclass(frozen=True)
class ClipMix:
    """What a step draws."""

    frames: int = 6  # of a clip, so many at random times
    whole: int = 8  # every so many steps, one has all frames of fewer clips, and one has single frames of more
    shards: int = 100  # of clips, at most,
    every: int = 40  # of which a new one joins the pool after so many steps
    animated: float = 0.6  # share of clips from the animated set, whose motion no draft has: for the motion layers
    planned: int = 64  # rows of the planner's half, from shards of their own:
    plans: int = 100  # at most so many,
    often: int = 20  # a new one after so many steps
    begin: int = 200  # before that step the planner learns alone: what it can't say yet, nothing else can
    last: float = 0.15  # share of clips whose last frame is given too
    drop_text: float = 0.1  # share without words
    drop_vector: float = 0.5  # share without vector
    # Of the logit-normal noise levels: drawing begins at `ClipSampling.least` where the draft has all of the motion.
    time_mean: float = -0.8
    time_std: float = 1.2
    undrafted: float = 2.0  # added to the mean where there is no draft, for there drawing begins higher,
    acted: float = 1.2  # and where the motion is in no draft
    planner: float = 1.0  # weight of the planner's loss


class VideoTask(Task):
    """Recipe "video"."""

    sampling = ClipSampling()

    def __init__(
        self,
        options: TaskOptions,
        mix: ClipMix = ClipMix(),
        sizes: dict[str, Any] | None = None,  # what differs from the preset
        clips: int = 48,  # in a shard of clips with their frames
        rows: int = 512,  # in a shard of clips for the planner
    ) -> None:
        self.options, self.world, self.mix = options, options.world, mix
        self.embedder = Embedder.load(options.parts)
        self.autoencoder = load_part(Autoencoder, "autoencoder", options.parts, native_dtype())
        self.autoencoder.to(memory_format=torch.channels_last)
        self.image = load_part(DiT, "dit", options.parts).to(options.device)
        context = self.embedder.language.config.hidden_size
        self.model = VideoDiT(**{**preset("video", options.preset), "context": context, **(sizes or {})})
        animated = load_animated(self.world) if self.world.folder else None
        self.encoder = Encoder(self.autoencoder, self.embedder, torch.device("cpu"))
        made_with = f"{weights_digest(FROZEN, options.parts)} {native_dtype()}"
        sources = self.world, self.encoder, options.seed, animated, options.cache, made_with
        self.clips, self.rows = ClipPool(*sources, clips, clips), ClipPool(*sources, rows, 0)

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Noisy latents and targets of some frames, what is known of them, and rows for the planner."""
        rng = np.random.default_rng((self.options.seed, step, rank))
        batch = {"plan": _to(self._planned(rng, step), self.options.device)}
        if step >= self.mix.begin:
            frames = self.shown(step, rng)
            count = max(1, self.options.batch_size(progress) * self.mix.frames // len(frames) // ranks)
            clips, latents, draft = self._clips(rng, step, count)
            batch["flow"] = _to(self.flow(clips, latents, draft, torch.from_numpy(frames), rng), self.options.device)
        return batch

    def shown(self, step: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of the frames of each clip that a step shows; it shows the more clips the fewer they are. Where there
        are several, the first is one of them: it is known when a clip is drawn."""
        mix = self.mix
        count = {mix.whole - 1: FRAMES, mix.whole // 2 - 1: 1}.get(step % mix.whole, mix.frames)
        if count == 1:
            return rng.integers(FRAMES, size=1)
        return np.concatenate([[0], 1 + np.sort(rng.choice(FRAMES - 1, count - 1, replace=False))])

    def _clips(self, rng: np.random.Generator, step: int, count: int) -> tuple[Clips, Tensor, Tensor]:
        """Some clips, their latents and their drafts (B, T, C, S, S)."""
        known = min(1 + (step - self.mix.begin) // self.mix.every, self.mix.shards)
        acted, moving = self.clips.acting, self.clips.moving
        animated = rng.random(count) < (self.mix.animated if 0 < acted < moving else acted / moving)
        ranges = [(0, acted) if own else (acted, moving) for own in animated]
        places = [(self.clips.shard(int(rng.integers(known))), int(rng.integers(*span))) for span in ranges]
        clips = Clips.cat([shard.rows(torch.tensor([row])) for shard, row in places])
        latents, draft = (
            torch.stack([getattr(shard, name)[row] for shard, row in places]) for name in ("frames", "draft")
        )
        return clips, latents.float(), draft.float()

    def _planned(self, rng: np.random.Generator, step: int) -> Clips:
        """Rows of some shards for the planner."""
        known = min(START + step // self.mix.often, self.mix.plans)
        numbers = rng.integers(known, size=START)
        each = self.mix.planned // START
        rows = [torch.from_numpy(rng.integers(self.rows.rows, size=each)) for _ in numbers]
        return Clips.cat([self.rows.shard(int(n)).rows(own) for n, own in zip(numbers, rows, strict=True)])

    def flow(
        self,
        clips: Clips,
        latents: Tensor,
        draft: Tensor,
        index: Tensor,
        rng: np.random.Generator,
        levels: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """x_t = (1 - t) x0 + t noise of the frames `index` and what the network is asked for there.

        Noise levels and which conditions are kept are drawn; with `levels` (lowest, highest), as in the validation,
        noise levels lie evenly between them, words and vector are kept and the last frame is not given.
        """
        acted = clips.movers < 0
        t, *kept = self._levels(draft, acted, rng)
        if levels:
            t = torch.linspace(*levels, len(t))
            kept = [torch.full((len(t),), keep) for keep in (True, True, False)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        x0, wide = latents[:, index], t[:, None, None, None, None]
        x = (1 - wide) * x0 + wide * clip_noise(generator, x0.shape)
        target = velocity_to(x0.flatten(0, 1), x.flatten(0, 1), t.repeat_interleave(len(index))).view_as(x)
        times, settings = frame_times(FRAMES, clips.loop), clip_settings(clips.loop, clips.fps, clips.strength)
        last = latents[:, -1] * kept[2][:, None, None, None]
        frames = Frames(times, clips.loop, settings, draft, clips.first.float(), last).of(index)
        missed = (latents - draft).square().mean((1, 2, 3, 4)).sqrt() * acted
        condition = condition_of(clips, *kept[:2])
        known = {"condition": condition, "frames": frames, "acted": acted.float(), "missed": missed}
        return {"x": x, "t": t, "target": target, **known}

    def _levels(self, draft: Tensor, acted: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noise levels (B,), logit-normal, and whether words, vector and last frame are given, each (B,)."""
        count, mix = len(draft), self.mix
        mean = mix.time_mean + acted * mix.acted
        mean = torch.where(draft.flatten(1).any(1), mean, mix.time_mean + mix.undrafted)
        t = noise_levels(rng, count, mean, mix.time_std)
        text, vector, last = torch.from_numpy(rng.random((3, count)))
        return t, text >= mix.drop_text, vector >= mix.drop_vector, last < mix.last

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean squared error of the velocity (as of pictures), and the planner's distance from the truth."""
        whole = unwrapped(model)
        values = plan_losses(whole.planner, batch["plan"])
        total = self.mix.planner * torch.stack(list(values.values())).sum()
        if "flow" in batch:
            flow = batch["flow"]
            own = {"flow": flow_loss(model, self.image, flow), **acted_losses(whole.planner, flow)}
            values, total = values | own, total + torch.stack(list(own.values())).sum()
        return {"loss": total, **values}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> tuple[list[Clip], list[ClipItem], Clips]:
        """Clips of held-out pairs, drawn on nothing; they and some of the animated set (trained on, and not) with all
        their frames, as they are and encoded. No draft has errors."""
        clips = list[Clip]()
        for number, motion in enumerate(DIRECTED + OTHERS):
            with suppress(ValueError):  # a small world has no held-out pair of every motion
                clips.append(plain_clip(self.world, PLAIN_TRIES * number, "val", motion))
        items = [item_of(self.world, clip, 0, True) for clip in clips]
        if animated := self.clips.animated:
            rows = [row for split in ("train", "val") for row in animated.rows(split)[:ACTED]]
            items += [animated_item(animated, row, 0) for row in rows]
        return clips, items, encode_clips(items, self.encoder)

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        """The loss by noise level and the planner's, then of drawn clips: directions right, of the drafts too; how near
        the first frame is to the picture that was given; and how much moves in those of the animated set."""
        clips, items, encoded = self.validation
        rng, figures, own = np.random.default_rng(0), dict[str, float](), slice(len(clips))
        for low, high in LEVELS:
            index = torch.arange(0, FRAMES, 3)
            flow = self.flow(encoded, encoded.frames.float(), encoded.draft.float(), index, rng, (low, high))
            figures[f"flow_{low:g}_{high:g}"] = float(flow_loss(model, self.image, flow))
        figures |= {name: float(value) for name, value in plan_losses(model.planner, encoded).items()}
        drawn, drafts = self.draw(model, encoded, items, self.sampling)
        figures["direction"] = directions_right(clips, drawn[own])
        figures["direction_of_draft"] = directions_right(clips, drafts[own])
        rest = to_tensor(np.stack([item.rest for item in items]))
        truth = torch.stack([to_tensor(item.frames) for item in items if item.frames is not None])
        figures["psnr_first"] = float(psnr(drawn[own, 0], rest[own]).mean())
        for name, of in {"all": drawn, "draft": drafts}.items():
            figures[f"psnr_{name}"] = float(psnr(of[own].flatten(0, 1), truth[own].flatten(0, 1)).mean())
        acted, true, still = drawn[len(clips) :], truth[len(clips) :], rest[len(clips) :, None]
        if len(acted):
            figures["acted_motion"] = float((acted - still).abs().mean() / (true - still).abs().mean())
            figures["psnr_acted"] = float(psnr(acted.flatten(0, 1), true.flatten(0, 1)).mean())
            figures["psnr_acted_still"] = float(psnr(still.expand_as(true).flatten(0, 1), true.flatten(0, 1)).mean())
        self._last_drawn = drawn
        return figures

    def draw(
        self, model: VideoDiT, encoded: Clips, items: list[ClipItem], sampling: ClipSampling
    ) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 4, 128, 128) drawn from the pictures at rest and the captions, and their drafts decoded."""
        whole = torch.ones(len(items), dtype=torch.bool)
        condition = condition_of(encoded, whole, whole)
        rest = to_tensor(np.stack([item.rest for item in items]))
        drawn, drafts = [], []
        for some in (slice(i, i + BATCH) for i in range(0, len(items), BATCH)):
            part = condition.rows(list(range(len(items)))[some])
            asked = (encoded.loop[some], encoded.fps[some], encoded.strength[some])
            known = rest[some], part, *asked
            frames, left_out, fading = planned_frames(model, self.autoencoder, *known, FRAMES, sampling.drafted)
            noise = clip_noise(torch.Generator().manual_seed(some.start), frames.draft.shape)
            *_, latents = denoise_clip(model, self.image, noise, part, frames, left_out, sampling)
            drawn.append(self._decode(latents) * fading)
            drafts.append(self._decode(frames.draft) * fading)
        return torch.cat(drawn), torch.cat(drafts)

    def _decode(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])

    def sheet(self, model: nn.Module) -> Image.Image:
        """The validation's clips, SHOWN frames a row; those of the animated set are the last."""
        index = torch.linspace(0, FRAMES - 1, SHOWN).round().long()
        return grid(self._last_drawn[:, index].flatten(0, 1), columns=2 * SHOWN)

    def export(self, model: nn.Module, folder: Path) -> None:
        """What is added to the image generator, as it ships."""
        save_part(model, "video", folder, part_digests((*FROZEN, "dit"), self.options.parts), int8=True)


def condition_of(clips: Clips, text: Tensor, vector: Tensor) -> Condition:
    """Words and vectors of clips, where `text` and `vector` (B,) are true; a draft takes the place of references."""
    vectors = clips.vector.float() * vector[:, None]
    return Condition(clips.states.float(), clips.mask & text[:, None], vectors, torch.zeros_like(clips.first).float())


def flow_loss(model: nn.Module, image: DiT, flow: dict[str, Any]) -> Tensor:
    """Mean squared error of the velocity; below CLAMP_TIME as if 1 / t had stopped growing there (JiT)."""
    velocity = model(image, flow["x"], flow["t"], flow["condition"], flow["frames"])
    weight = (flow["t"] / CLAMP_TIME).clamp(max=1)[:, None, None, None, None]
    return (weight * (velocity - flow["target"])).square().mean()


def plan_losses(planner: nn.Module, rows: Clips) -> dict[str, Tensor]:
    """Distances of the plan from the truth: of the poses, of the movers' places, of what belongs to whom."""
    settings = clip_settings(rows.loop, rows.fps, rows.strength)
    plan: Plan = planner(rows.first.float(), rows.states.float(), rows.mask, settings)
    times = frame_times(FRAMES, rows.loop)
    there = (torch.arange(rows.poses.shape[1], device=rows.movers.device) < rows.movers[:, None]).float()  # (R, K)
    share = there / there.sum().clamp_min(1)
    poses = plan.poses(times, rows.loop).transpose(1, 2)  # (R, K, T, POSE)
    apart = F.smooth_l1_loss(poses, rows.poses, beta=0.1, reduction="none").mean(2)  # (R, K, POSE)
    weights = apart.new_tensor([4, 4, 0.5, 1, 1, 1])
    places = F.smooth_l1_loss(plan.places, rows.places, beta=0.05, reduction="none").mean(-1)
    owners = F.cross_entropy(plan.masks, rows.owners.long())
    return {
        "poses": ((weights * apart).sum(-1) * share).sum(),
        "places": (places * share).sum(),
        "owners": 0.2 * owners,
    }


def acted_losses(planner: nn.Module, flow: dict[str, Any]) -> dict[str, Tensor]:
    """Distance of what the planner expects its draft to miss from what it missed; and what it moves in clips of the
    animated set, whose drafts stand still."""
    frames, condition = flow["frames"], flow["condition"]
    plan: Plan = planner(frames.first, condition.states, condition.mask, frames.settings)
    poses = plan.poses(frames.times, frames.loop)  # (B, T, K, POSE)
    apart = F.smooth_l1_loss(poses, torch.from_numpy(REST).expand_as(poses), beta=0.1, reduction="none")
    return {
        "left_out": F.smooth_l1_loss(plan.left_out, flow["missed"], beta=0.1),
        "acted": (apart.sum(-1).mean((1, 2)) * flow["acted"]).mean(),
    }


def directions_right(clips: list[Clip], drawn: Tensor) -> float:
    """Share of the clips with a direction that go there."""
    directed = [i for i, clip in enumerate(clips) if clip.direction]
    return float(np.mean([direction_seen(to_uint8(drawn[i])) == clips[i].direction for i in directed]))


def _to(value: Any, device: torch.device) -> Any:
    """Tensors in dictionaries and dataclasses to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _to(part, device) for name, part in value.items()}
    return type(value)(**{name: _to(part, device) for name, part in vars(value).items()})
