"""What the table measures: anything that turns prompts and seeds into media.

A `Generator` lists its medium and abilities, a metric its needs (`eval.metrics`). A metric that needs what a generator
lacks does not apply to it. The studio's own pipeline is `StickerGenerator`; `StudioModel` is any model
that the studio knows.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch

import models
from eval.judge import Judge
from eval.rows import MissingError, missing_where
from models.autoencoder import Autoencoder
from models.captioner import Kind
from models.data.grammar import Language
from models.data.packages import PACKAGES
from models.data.pixels import load_picture, to_tensor, to_uint8
from models.messages import Refused
from models.open_clip import OpenClip
from models.pipelines.caption import Caption, CaptionPipeline
from models.pipelines.image import BATCH, Pictures
from models.pipelines.sticker import StickerPipeline
from models.pipelines.video import PART as VIDEO
from models.pipelines.video import ClipPipeline, DrawnClip
from models.prompts.parser import PART as NAMES
from models.prompts.parser import PromptParser
from models.references.store import ReferenceStore
from models.sampling.loop import FAST_SAMPLING, Sampling
from models.sampling.schedulers import GUIDANCE
from models.space import MOTION, Embedder
from models.weights import WeightsError, fits, listed_parts, load_part, of_split, part_digests

T = TypeVar("T")
Media = Literal["image", "clip", "caption"]
Prompt = str | tuple[str, str]  # a pair is blended into one picture

STEPS = 16
SPACE = ("language", "vision", "space")
FAST = "fast"  # need not be there; where it is, it draws the last steps of every picture
OPTIONAL = (FAST, MOTION)
STYLES = {package.set: package.style for package in PACKAGES if package.style}  # of a set as credits name it
TRAIN = "train"  # the split
DATA = (NAMES, "prototypes")  # parts that are made of pictures' names and drawings: two of each ship
IMAGE = (*SPACE, "autoencoder", "dit", NAMES, "prototypes", FAST)
CAPTIONER = ("captioner", "detector")

# What a metric may need -> the end of a sentence about a generator without it.
LACKS: dict[str, str] = tomllib.loads(Path(__file__).with_name("abilities.toml").read_text(encoding="utf-8"))


class Generator(Protocol):
    """What is measured."""

    name: str  # as the table calls it
    # What `generate` returns, for N prompts: "image" uint8 (N, H, W, 4) premultiplied, "clip" uint8 (N, T, H, W, 4)
    # premultiplied, "caption" N strings.
    media: Media
    abilities: frozenset[str]  # further keys of LACKS that it has
    parts: tuple[str, ...]  # names of the weights that make its media; () where they are not in our manifest

    def settings(self, **options: Any) -> str:
        """How `generate` samples with these options, in words."""

    def digest(self) -> str:
        """Names weights, code and settings: equal digests, prompts, seeds and options give equal media."""

    def generate(self, prompts: Sequence[Any], seeds: Sequence[int], **options: Any) -> Any:
        """The media of one prompt (for clips a `ClipPrompt`, for captions a `CaptionPrompt`) and seed each. Options
        exist for abilities alone: `fast`, `references=False`, `negative=[...]`,
        `candidates=5` and `blind=True` (blind). A generator with `sources` also has `draw`, which returns the styles of
        the stored drawings of each picture, too.
        """


def lacks(generator: Generator, needs: Sequence[str]) -> str | None:
    """Why a metric with these needs does not apply to a generator; None where it does."""
    missing = [need for need in needs if need != generator.media and need not in generator.abilities]
    return f"does not apply: {generator.name} {LACKS[missing[0]]}" if missing else None


class part(cached_property[T]):
    """A part of `Parts` that is loaded when it is first used; `MissingError` names what is missing."""

    def __init__(self, load: "Callable[[Parts], T]") -> None:
        super().__init__(missing_where(WeightsError, FileNotFoundError)(load))


class Parts:
    """Weights under `root` (None: the shipped ones), and names, words and references of the training pictures alone,
    where there are such: what users have is of all pictures, the held-out ones too. `named` are models of open_clip
    that are measured beside the space."""

    def __init__(self, root: Path | None = None, named: Sequence[str] = ()) -> None:
        self.root, self.named = root, named

    # In fp32, so that a figure does not depend on the processor's dtypes.
    autoencoder: part[Autoencoder] = part(lambda parts: load_part(Autoencoder, "autoencoder", parts.root))
    embedder = part(lambda parts: Embedder.load(parts.root))
    pipeline = part(lambda parts: StickerPipeline.assemble(parts.root, split=parts.split))
    clips = part(lambda parts: ClipPipeline.assemble(parts.root, parts.pipeline))
    captions = part(lambda parts: CaptionPipeline.assemble(parts.root, parts.embedder))
    parser = part(lambda parts: PromptParser.load(parts.embedder, parts.root, parts.split))
    references = part(lambda parts: ReferenceStore.load(parts.root, parts.split))
    judge = part(lambda parts: Judge.load(parts.root))
    open_clip: part[dict[str, OpenClip]] = part(lambda parts: parts._models_beside())

    def _models_beside(self) -> dict[str, OpenClip]:
        """By the last part of their names, or the whole of a second one of the same."""
        if not self.named:
            raise MissingError("no model of open_clip is named; give --open-clip")
        by_name: dict[str, OpenClip] = {}
        for name in self.named:
            short = Path(name).name
            by_name[name if short in by_name else short] = OpenClip.load(name)
        return by_name

    @cached_property
    def split(self) -> str:
        """That of names, words and references: "train", or "" where these weights have one kind alone."""
        return TRAIN if of_split(NAMES, TRAIN) in listed_parts(self.root) else ""

    @missing_where(WeightsError, FileNotFoundError)
    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """sha256 of each part, from the manifest; of those that need not be there where they are."""
        there = [name for name in names if name not in OPTIONAL or fits(name, self.root)]
        return part_digests(tuple(of_split(name, self.split if name in DATA else "") for name in there), self.root)


class OnParts:
    """A generator of the studio's own, with the weights of `weights`."""

    def __init__(self, weights: Parts) -> None:
        self.weights = weights


class StickerGenerator(OnParts):
    """The studio's image pipeline as a `Generator`."""

    name = "sticker"
    media: Media = "image"
    abilities = frozenset(LACKS) - {"clip", "caption", "blind"}
    parts = IMAGE

    def sampling(self, fast: bool = False, references: bool = True) -> Sampling:
        """The table's settings. The batch is fixed, or a last block of one picture would be another picture."""
        usual = Sampling(STEPS, reference_strength=float(references))
        return replace(FAST_SAMPLING if fast else usual, batch=BATCH)

    def settings(self, **options: Any) -> str:
        """Steps and guidance."""
        fast = options.get("fast", False)
        return f"{self.sampling(fast).steps} steps" + (" without guidance" if fast else f", guidance {GUIDANCE}")

    def digest(self) -> str:
        """Of weights, dtype, scheduler and all code that could have drawn."""
        pipeline: Any = self.weights.pipeline
        drawn_by = [type(pipeline.scheduler).__name__, dict(pipeline.scheduler.config), drawing_code()]
        return digest_of(self.weights.digests(IMAGE), self.sampling(), str(pipeline.dit.dtype), drawn_by)

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """One picture a prompt, premultiplied uint8 (N, 128, 128, 4); options as in `draw`."""
        return self.draw(prompts, seeds, **options)[0]

    def draw(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        *,
        negative: Sequence[str] | str = "",
        fast: bool = False,
        references: bool = True,
    ) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """One picture a prompt, premultiplied uint8 (N, 128, 128, 4), and the styles of the drawings that each was
        drawn from.

        Args:
            negative: what is not wanted, one of all or one a prompt.
            fast: by the fast variant alone; `MissingError` where these weights have none.
            references: whether pictures start from reference drawings; False is from noise alone.
        """
        pipeline: Any = self.weights.pipeline
        if fast and pipeline.fast is None:
            raise MissingError("these weights have no fast variant; train it: python -m models.train fast")
        texts, conditions = self._conditions(prompts)
        events = pipeline.steps(texts, seeds, self.sampling(fast, references), negative=negative, **conditions)
        done = [event for event in events if isinstance(event, Pictures)]
        credits = [own for event in done for own in event.credits]
        sources = [tuple(dict.fromkeys(STYLES.get(row.set, row.set) for row in own)) for own in credits]
        return np.concatenate([event.pixels for event in done]), sources

    def _conditions(self, prompts: Sequence[Prompt]) -> tuple[list[str], dict[str, Any]]:
        """The prompts as texts, and what else the pipeline takes for pairs."""
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        pairs = [prompt for prompt in prompts if not isinstance(prompt, str)]
        if not pairs:
            return texts, {}
        blended, blends = zip(*(self.weights.pipeline.together(pair) for pair in pairs), strict=True)
        return list(blended), {"blends": blends}

    @torch.inference_mode()
    def reconstruct(self, pixels: np.ndarray) -> np.ndarray:
        """Pictures (N, 128, 128, 4) through the autoencoder and back."""
        return to_uint8(self.weights.autoencoder(to_tensor(pixels)))


def digest_of(*key: Any) -> str:
    """sha256 of all that something depends on."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=jsonable).encode()).hexdigest()


def jsonable(value: Any) -> Any:
    """For `json.dumps(default=...)`: dataclasses by their fields, sets in order, arrays by their hash, anything else as
    its `repr`.
    """
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return sorted(value) if isinstance(value, frozenset) else repr(value)


@cache
def drawing_code() -> list[str]:
    """Hash of all modules that could draw, and the libraries' versions.

    All of `models`, and not what draws today: drawing again costs minutes, and figures of other code are wrong.
    """
    folder = Path(models.__file__).parent
    sources = [path.read_bytes() for path in sorted(folder.rglob("*.py")) if path.parent.name != "train"]
    libraries = ("torch", "diffusers", "transformers", "tokenizers")
    return [hashlib.sha256(b"\0".join(sources)).hexdigest(), *map(version, libraries)]


# --- Clips and captions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipPrompt:
    """The request of a clip; `picture` (128, 128, 4) is its first frame, None where the generator draws it."""

    text: str
    picture: np.ndarray | None = None
    loop: bool = False
    fps: float = 8.0


class StickerClipGenerator(OnParts):
    """The studio's clip pipeline as a `Generator`."""

    name = "sticker clips"
    media: Media = "clip"
    abilities = frozenset[str]()
    parts = (*IMAGE, VIDEO)

    def settings(self, **options: Any) -> str:
        sampling = ClipPipeline.sampling
        return f"{sampling.steps} steps from noise level {sampling.least} to {sampling.most}"

    def digest(self) -> str:
        """Of weights, dtype, sampling and all code that could have drawn."""
        key = self.weights.digests(self.parts), ClipPipeline.sampling, str(self.weights.clips.video.dtype)
        return digest_of(*key, drawing_code())

    def generate(self, prompts: Sequence[ClipPrompt], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """Clips (N, FRAMES, 128, 128, 4)."""
        clips = list[np.ndarray]()
        for prompt, seed in zip(prompts, seeds, strict=True):
            steps = self.weights.clips.steps
            *_, clip = steps(prompt.text, seed, picture=prompt.picture, loop=prompt.loop, fps=prompt.fps)
            assert isinstance(clip, DrawnClip)
            clips.append(clip.frames)
        return np.stack(clips)


@dataclass(frozen=True)
class CaptionPrompt:
    """A picture to be described, premultiplied uint8 (128, 128, 4)."""

    picture: np.ndarray
    language: Language = "en"
    kind: Kind = "short"


class StickerCaptionGenerator(OnParts):
    """The studio's captioner, as a `Generator`."""

    name = "sticker captions"
    media: Media = "caption"
    abilities = frozenset({"embeddings", "blind"})
    parts = (*SPACE, *CAPTIONER)

    def settings(self, **options: Any) -> str:
        return f"{options.get('candidates', 1)} candidates"

    def digest(self) -> str:
        """Of weights and code."""
        return digest_of(self.weights.digests(self.parts), drawing_code())

    def generate(self, prompts: Sequence[CaptionPrompt], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """(N,) texts; options are `candidates` and `blind` of `CaptionPipeline.caption`."""
        return np.array([caption.text for caption in self.describe(prompts, seeds, **options)])

    def describe(self, prompts: Sequence[CaptionPrompt], seeds: Sequence[int], **options: Any) -> list[Caption]:
        """With scores and other candidates. Prompts are of one language and kind."""
        pixels = np.stack([prompt.picture for prompt in prompts])
        first = prompts[0]
        return self.weights.captions.caption(pixels, first.language, first.kind, seeds=list(seeds), **options)


# --- Any model of the studio ------------------------------------------------------------------------------------------


def draw(rows: Sequence[dict[str, Any]], model: str, out: Path) -> None:
    """Draw rows {name, prompt, seed, task} into files of those names below a folder; what is there is not drawn again.
    Refused where the model draws nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        command = [sys.executable, "-m", "studio", "batch", file.name, "--model", model, "--out", str(out)]
        if (code := subprocess.run(command, stdout=2).returncode) > 1:  # standard output is for documents
            raise Refused("eval.not_drawn", model=model, exit=code)


class StudioModel:
    """A model of the studio (`diffusers:...`, `fake`, ...) as a `Generator` of pictures, with its own settings and no
    other ability. `studio batch` draws, in a process of its own, so nothing is measured that a user would not get."""

    media: Media = "image"
    abilities = frozenset[str]()
    parts: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def settings(self, **options: Any) -> str:
        return "the studio's defaults"

    def digest(self) -> str:
        """Of its name, of a folder's files by size and time, and of the code."""
        folder = Path(self.name.partition(":")[2] or ".none")
        files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
        return digest_of(self.name, files, drawing_code())

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """(N, 128, 128, 4): pictures of other sizes are scaled; Refused where one was not drawn."""
        names = [f"{number:06d}" for number in range(len(prompts))]
        rows = zip(names, prompts, seeds, strict=True)
        with tempfile.TemporaryDirectory() as folder:
            draw([{"name": name, "prompt": text, "seed": seed} for name, text, seed in rows], self.name, Path(folder))
            return np.stack([load_picture(Path(folder) / "images" / f"{name}.png") for name in names])
