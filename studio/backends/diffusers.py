"""Other people's models: a pipeline that diffusers loads from a folder. torch is imported by `load`, not before.

`signatures` says what its class takes, `pipeline_folder` what lies in the folder, `pipeline_facts` what follows of
both.
"""

import contextlib
import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from models.data.pixels import fit
from models.messages import Refused
from studio import media
from studio.backends import pipeline_facts, placing
from studio.backends.base import Backend, Handler, Made, one_by_one
from studio.backends.embedded import Embedded
from studio.backends.given import Batches, Slot
from studio.backends.latents import Previews
from studio.backends.loading import silence
from studio.backends.pipeline_folder import PipelineFolder
from studio.backends.signatures import Pipeline
from studio.backends.stepwise import stepwise
from studio.backends.vectors import vectors
from studio.capabilities import Capabilities
from studio.events import Vector
from studio.fields import sides
from studio.media import Artifact
from studio.requests import EmbedRequest, ImageRequest

if TYPE_CHECKING:
    from models.space import Embedder

ERRORS = (ValueError, TypeError, RuntimeError, AttributeError, NotImplementedError, ImportError, KeyError)


class Diffusers(Backend):
    """The pipeline in the folder `name`, or in the Hugging Face cache under that id. What it makes gets its place in
    the semantic space of the embedded model, where that is there.
    """

    def __init__(self, name: str = "") -> None:
        if not name:
            raise Refused("model.no_name", name="diffusers")
        self.name = name
        self._loaded: dict[str, Any] = {}  # pipelines by what they take
        self._embedder: Embedder | None = None

    @cached_property
    def folder(self) -> PipelineFolder:
        return PipelineFolder(found(self.name))

    def capabilities(self) -> Capabilities:
        """As the pipeline's class and configurations say."""
        beside = ("embed",) if self.space() else ()
        return pipeline_facts.capabilities(self.folder, Path(self.name).name, beside)

    def digest(self) -> str:
        """Of all files that the pipeline is loaded from."""
        return self.folder.digest()

    def space(self) -> str:
        try:
            return Embedded().space()
        except Refused:
            return ""

    def load(self) -> None:
        if not self._loaded:
            _ = self.folder.files  # says what is wrong before seconds go into importing torch
            self._loaded = load(self.folder)
            self._previews = Previews(pipeline_facts.side_multiple(self.folder))

    @property
    def tasks(self) -> Mapping[str, Handler]:
        done: dict[str, Handler] = {pipeline_facts.gives(self.folder.pipeline): self._images}
        return {**done, **({"embed": one_by_one(self._vectors)} if self.space() else {})}

    # --- Pictures -----------------------------------------------------------------------------------------------------

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Made]]:
        """One call a picture, with a generator of its own: so it is the same in whatever company."""
        together = Batches(requests)
        for k, batch in enumerate(together.batches):
            for slot in batch:
                request = requests[slot.number]
                steps = self._called(request, slot)
                try:
                    while True:
                        step, total, latents, size = next(steps)
                        shown = self._preview(latents, size) if previews else []
                        yield from together.progress(k, step, total, shown)
                except StopIteration as returned:
                    yield slot.number, self._artifact(returned.value, slot)

    def _called(self, request: ImageRequest, slot: Slot) -> Generator[Any, None, Image.Image]:
        """The steps of one picture, then the picture."""
        import torch

        self.load()
        pipeline, facts = self._loaded[""], pipeline_facts.calls(self.folder)[""]
        size = sides(request.size or self.capabilities().size)
        asked = arguments(request, facts, self.folder)
        asked["generator"] = torch.Generator().manual_seed(slot.seed)
        pipeline.scheduler = self._scheduler(request.scheduler)
        steps, last = request.steps or 1, None
        try:
            made = stepwise(lambda report: pipeline(**asked, **watched(facts, report)))
            while True:
                step, latents = next(made)
                if not torch.isfinite(latents).all():
                    raise Refused("pipeline.not_finite", model=self.capabilities().title, step=step + 1)
                last = latents
                yield step + 1, max(steps, step + 1), latents, size
        except StopIteration as returned:
            picture: Image.Image = returned.value.images[0]
            if last is not None:
                self._previews.learn(last, picture)
            return picture
        except Refused:
            raise
        except ERRORS as error:
            raise explained(error, Path(self.name).name) from error

    def _scheduler(self, name: str) -> Any:
        """A new one: what it counts is of one picture."""
        import diffusers

        own = self._loaded[""].scheduler
        cls = getattr(diffusers, pipeline_facts.schedulers(self.folder)[name], type(own))
        return cls.from_config(own.config)

    def _preview(self, latents: Any, size: tuple[int, int]) -> list[bytes]:
        picture = self._previews(latents, size)
        if picture is None:
            return []
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return [file.getvalue()]

    def _artifact(self, picture: Image.Image, slot: Slot) -> Artifact:
        about: dict[str, Any] = {"how": self._how(), "index": slot.index, "seed": slot.seed}
        if self.space():
            place = self._places().image(fit(picture.convert("RGBA"))[None])[0]
            about |= {"vector": tuple(place.tolist()), "space": self.space()}
        return media.image(picture, **about)

    def _how(self) -> dict[str, int | str]:
        """What else the bits depend on."""
        pipeline = self._loaded[""]
        return {"batch": 1, "dtype": str(pipeline.dtype).removeprefix("torch."), "device": pipeline.device.type}

    # --- The semantic space -------------------------------------------------------------------------------------------

    def _vectors(self, request: EmbedRequest) -> Iterator[Vector]:
        yield from vectors(self._places(), request)

    def _places(self) -> "Embedder":
        from models.space import Embedder

        if self._embedder is None:
            silence()
            self._embedder = Embedder.load(Embedded().root)
        return self._embedder


def found(name: str) -> Path:
    """The folder of that name, else what the Hugging Face cache has under that id; nothing is downloaded."""
    path = Path(name).expanduser()
    if not path.exists() and name.count("/") == 1:
        from huggingface_hub import snapshot_download

        with contextlib.suppress(OSError, ValueError):  # it is not there, or no id
            return Path(snapshot_download(name, local_files_only=True))
    return path.absolute()


def load(folder: PipelineFolder) -> dict[str, Any]:
    """The pipelines of a folder by what they take, which share their components."""
    silence()
    import diffusers

    about = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    try:
        whole = diffusers.DiffusionPipeline.from_pretrained(folder.root, dtype=placing.dtype(), **about)
        first = placing.placed(whole)
        return {"": first}
    except (OSError, *ERRORS) as error:
        raise Refused("pipeline.no_load", path=str(folder.root), problem=_first_line(error)) from error


def arguments(request: ImageRequest, one: Pipeline, folder: PipelineFolder) -> dict[str, Any]:
    """A resolved request as arguments of the pipeline's call."""
    guidance = next((name for name in pipeline_facts.FIELDS["guidance"] if one.takes.get(name) is not None), "")
    asked = {
        "prompt": request.prompt,
        "num_inference_steps": request.steps,
        guidance: request.guidance,
        "output_type": "pil",
    }
    if request.negative:
        asked["negative_prompt"] = request.negative
    if request.size:
        asked["width"], asked["height"] = sides(request.size)
    return {name: value for name, value in asked.items() if name in one.takes}


def watched(one: Pipeline, report: Any) -> dict[str, Any]:
    """Arguments that make a call report (step, latents)."""
    if "callback_on_step_end" in one.takes:

        def ended(pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
            report((step, values["latents"]))
            return values

        return {"callback_on_step_end": ended}
    if "callback" in one.takes:
        return {"callback": lambda step, time, latents: report((step, latents)), "callback_steps": 1}
    return {}


def explained(error: Exception, title: str) -> Exception:
    """What a pipeline says of a request that it can't do; memory that does not suffice is said elsewhere."""
    if "memory" in str(error) or isinstance(error, MemoryError):
        return error
    return Refused("pipeline.failed", model=title, problem=_first_line(error))


def _first_line(error: Exception) -> str:
    return ((str(error).splitlines() or [""])[0].strip(" .") or type(error).__name__)[:300]
