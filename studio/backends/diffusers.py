"""Other people's models: a pipeline that diffusers loads from a folder. torch is imported by `load`, not before.

`signatures` says what its class takes, `pipeline_folder` what lies in the folder, `pipeline_facts` what follows of
both, `pipeline_calls` what a request is to it.
"""

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from models.messages import Refused
from models.prompts.weighting import plain
from studio import loras, media, settings
from studio.backends import pipeline_facts, placing, signatures
from studio.backends.adapters import Adapters
from studio.backends.base import Backend, Handler, Made, one_by_one
from studio.backends.chunks import chunked
from studio.backends.emphasis import emphasised
from studio.backends.given import Batches
from studio.backends.latents import Previews
from studio.backends.loading import silence
from studio.backends.pipeline_calls import ERRORS, Start, arguments, chosen, explained, first_line, watched
from studio.backends.pipeline_folder import PipelineFolder
from studio.backends.signatures import Pipeline
from studio.backends.stepwise import stepwise
from studio.backends.vectors import Places
from studio.capabilities import Capabilities
from studio.events import Progress, Vector
from studio.requests import ClipRequest, EmbedRequest, ImageRequest


class Diffusers(Backend):
    """The pipeline in the folder or file `name`, or in the Hugging Face cache under that id. What it makes gets its
    place in the semantic space that `Places` knows.
    """

    def __init__(self, name: str = "") -> None:
        if not name:
            raise Refused("model.no_name", name="diffusers")
        self.name, self.title = name, Path(name).name.removesuffix(".safetensors")
        self._loaded: dict[str, Any] = {}  # pipelines by what they take, which share their components
        self._adapters, self._asked = Adapters(), ""
        self._places = Places()

    @cached_property
    def folder(self) -> PipelineFolder:
        return PipelineFolder.named(self.name)

    def capabilities(self) -> Capabilities:
        """As the pipeline's class and configurations say."""
        return pipeline_facts.capabilities(self.folder, self.title, self.space())

    def digest(self) -> str:
        """Of all files that the pipeline is loaded from."""
        return self.folder.digest()

    def space(self) -> str:
        return self._places.space()

    def load(self) -> None:
        if not self._loaded or self._asked != settings.memory():
            _ = self.folder.files  # says what is wrong before seconds go into importing torch
            self._loaded, self._adapters, self._asked = {}, Adapters(), settings.memory()
            self._loaded = load(self.folder)
            self._previews = Previews(pipeline_facts.side_multiple(self.folder))

    @property
    def tasks(self) -> Mapping[str, Handler]:
        makes = {"image": self._images, "clip": one_by_one(self._clips)}
        task = pipeline_facts.gives(self.folder.pipeline)
        done: dict[str, Handler] = {task: makes[task]} if task in makes else {}
        return {**done, **({"embed": one_by_one(self._vectors)} if self.space() else {})}

    # --- Pictures and clips -------------------------------------------------------------------------------------------

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Made]]:
        """One call a picture, with a generator of its own: so it is the same in whatever company."""
        if any(request.ranker not in (None, self.space()) for request in requests):
            raise Refused("model.ranker_replaced")
        together = Batches(requests)
        for k, batch in enumerate(together.batches):
            for slot in batch:
                steps = self._called(requests[slot.number], slot.seed, previews)
                try:
                    while True:
                        step, total, shown = next(steps)
                        yield from together.progress(k, step, total, [shown] if shown else [])
                except StopIteration as returned:
                    (picture,) = returned.value
                    about = {"index": slot.index, "seed": slot.seed, **self._about(requests[slot.number], [picture])}
                    made = together.chosen(slot, about.get("score", 0.0), media.image(picture, **about))
                    if made is not None:
                        yield slot.number, made

    def _clips(self, request: ClipRequest) -> Iterator[Made]:
        for index, seed in enumerate(request.seeds()):
            steps = self._called(request, seed, True)
            try:
                while True:
                    step, total, shown = next(steps)
                    yield Progress(index * total + step, request.count * total, {index: shown} if shown else {})
            except StopIteration as returned:
                frames = [frame.convert("RGBA") for frame in returned.value]
                about = {"index": index, "seed": seed, **self._about(request, frames)}
                yield media.clip(frames, request.fps or 1, request.loop, **about)

    def _called(
        self, request: ImageRequest | ClipRequest, seed: int, previews: bool
    ) -> Generator[tuple[int, int, bytes], None, list[Image.Image]]:
        """(step, steps, preview) of one picture or clip, then its frames."""
        import torch

        self.load()
        by = pipeline_facts.calls(self.folder)
        takes, start = chosen(by, request), Start.of(request, self.capabilities())
        one = self._controlled(by[takes]) if start.control else by[takes]
        asked = {**arguments(one, request, start), "generator": torch.Generator().manual_seed(seed)}
        net = (
            (request.controlnet or "", request.net or "")
            if isinstance(request, ImageRequest) and request.control
            else None
        )
        pipeline, last, steps = self._pipeline(one.name, request.scheduler, net), None, request.steps or 1
        if one.loras:
            self._adapters.wear(pipeline, request.loras or ())
        words = {"prompt": asked.pop("prompt", "")} if "prompt" in one.takes else {}

        def work(report: Callable[[Any], None]) -> Any:
            texts = words.get("prompt", ""), asked.get("negative_prompt", "")
            with emphasised(pipeline, texts[0]) as unmarked, chunked(pipeline, unmarked, texts[1]):
                said = dict.fromkeys(words, unmarked)
                return placing.called(pipeline, **said, **asked, **watched(one, report))

        reports = stepwise(work)
        try:
            while True:
                step, total, last = next(reports)
                if not torch.isfinite(last).all():
                    raise Refused("pipeline.not_finite", model=self.title, step=step)
                shown = _png(self._previews(last, start.size)) if previews else b""
                yield step, max(total or steps, step), shown
        except StopIteration as returned:
            made = returned.value
        except Refused:
            raise
        except ERRORS as error:
            raise explained(error, self.title) from error
        finally:
            reports.close()
        frames: list[Image.Image] = list(made.images[:1] if hasattr(made, "images") else made.frames[0])
        if last is not None:
            self._previews.learn(last, frames[len(frames) // 2])
        return [start.kept(frame) for frame in frames]

    def _controlled(self, one: Pipeline) -> Pipeline:
        """The pipeline that does the same with a network that reads a picture; Refused where there is none."""
        found = signatures.pipeline(signatures.controlled(one.name))
        if found is None:
            raise Refused("model.lacks", model=self.title, name="control")
        return found

    def _pipeline(self, name: str, scheduler: str, net: tuple[str, str] | None = None) -> Any:
        """The one of that class, and with that network (name, digest), with a new scheduler: what that counts is of one
        picture.
        """
        import diffusers

        first, key = self._loaded[""], f"{name} {net[1] if net else ''}"
        if key not in self._loaded:
            cls = getattr(diffusers, name)
            more = {"controlnet": _net(*net)} if net else {}
            same = type(first) is cls and not net
            self._loaded[key] = first if same else placing.placed(cls.from_pipe(first, dtype=placing.dtype(), **more))
        pipeline = self._loaded[key]
        if own := getattr(first, "scheduler", None):
            cls = getattr(diffusers, pipeline_facts.schedulers(self.folder)[scheduler])
            pipeline.scheduler = cls.from_config(own.config)
        return pipeline

    def _about(self, request: ImageRequest | ClipRequest, frames: Sequence[Image.Image]) -> dict[str, Any]:
        """What else the bits depend on, and where what was made lies in the semantic space."""
        words, kept = plain(loras.words(request.prompt)), placing.kept(self._loaded[""]).word
        return {"how": {"batch": 1, **placing.here(), "memory": kept}, **self._places.about(words, frames)}

    def _vectors(self, request: EmbedRequest) -> Iterator[Vector]:
        yield from self._places.vectors(request)


def load(folder: PipelineFolder) -> dict[str, Any]:
    """The folder's own pipeline, under ""."""
    memory = placing.chosen(folder.weights or folder.root)
    silence()
    import diffusers

    about: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    try:
        if folder.weights:
            cls = getattr(diffusers, folder.pipeline.name)
            whole = cls.from_single_file(str(folder.weights), config=str(folder.root), dtype=placing.dtype(), **about)
        else:
            whole = diffusers.DiffusionPipeline.from_pretrained(folder.root, dtype=placing.dtype(), **about)
        return {"": placing.placed(whole, memory)}
    except (Refused, MemoryError):
        raise
    except Exception as error:  # whatever the libraries raise of a file
        raise Refused("pipeline.no_load", path=str(folder.weights or folder.root), problem=first_line(error)) from error


def _net(name: str, digest: str) -> Any:
    """A network that reads a picture; Refused where it is another one by now, or does not load."""
    import diffusers

    found, now = loras.net(name)
    if now != digest:
        raise Refused("lora.changed", name=name)
    about: dict[str, Any] = {"dtype": placing.dtype(), "local_files_only": True}
    try:
        if found.path.is_file():
            return diffusers.ControlNetModel.from_single_file(str(found.path), **about)
        return getattr(diffusers, found.family).from_pretrained(found.path, use_safetensors=True, **about)
    except Exception as error:  # whatever the libraries raise of a file
        raise Refused("pipeline.no_load", path=str(found.path), problem=first_line(error)) from error


def _png(picture: Image.Image | None) -> bytes:
    file = io.BytesIO()
    if picture is not None:
        picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
