"""Other people's models: a pipeline that diffusers loads from a folder. torch is imported by `load`, not before.

`signatures` says what its class takes, `pipeline_folder` what lies in the folder, `pipeline_facts` what follows of
both, `pipeline_calls` what a request is to it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from PIL import Image

from models.messages import Refused
from models.prompts.weighting import plain
from models.quiet import silence
from studio import loras, media, settings
from studio.backends import pipeline_facts, placing, signatures
from studio.backends.adapters import Adapters
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.given import Batches
from studio.backends.latents import Previews
from studio.backends.loading import loads
from studio.backends.pipeline_calls import Start, arguments, chosen, explained, watched
from studio.backends.pipeline_folder import PipelineFolder
from studio.backends.signatures import Pipeline
from studio.backends.stepwise import Returned, stepwise
from studio.backends.vectors import Places
from studio.backends.wording import worded
from studio.capabilities import Capabilities
from studio.disk import pace
from studio.disk.found import Found
from studio.events import Progress
from studio.requests import ClipRequest, ImageRequest, sides


class Diffusers(Backend):
    """The pipeline in the folder or file `name`, or in the Hugging Face cache under that id."""

    def __init__(self, name: str) -> None:
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

    def check(self) -> None:
        _ = self.folder.files

    def digest(self) -> str:
        """Of all files that the pipeline is loaded from."""
        return self.folder.digest()

    def space(self) -> str:
        return self._places.space()

    def load(self) -> None:
        if not self._loaded or self._asked != settings.memory():
            self.check()  # says what is wrong before seconds go into importing torch
            self._loaded, self._adapters, self._asked = {}, Adapters(), settings.memory()
            self._loaded = load(self.folder)
            self._previews = Previews(pipeline_facts.side_multiple(self.folder))

    @property
    def tasks(self) -> Mapping[str, Handler]:
        makes = {"image": self._images, "clip": per_request(self._clips)}
        task = pipeline_facts.gives(self.folder.pipeline)
        done: dict[str, Handler] = {task: makes[task]} if task in makes else {}
        return {**done, **({"embed": per_request(self._places.vectors)} if self.space() else {})}

    # --- Pictures and clips -------------------------------------------------------------------------------------------

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """One call a picture, with a generator of its own: so it is the same in whatever company."""
        if any(request.ranker not in (None, self.space()) for request in requests):
            raise Refused("model.ranker_replaced")
        together = Batches(requests)
        for k, slot in ((k, slot) for k, batch in enumerate(together.batches) for slot in batch):
            request = requests[slot.number]
            for step in self._called(request, slot.seed, previews):
                if not isinstance(step, Returned):
                    yield from together.progress(k, *step[:2], [step[2]] if step[2] else [])
                    continue
                (picture,) = step.value
                about = {"index": slot.index, "seed": slot.seed, **self._about(request, [picture])}
                made = together.chosen(slot, about.get("score", 0.0), media.image(picture, **about))
                if made is not None:
                    yield slot.number, made

    def _clips(self, request: ClipRequest) -> Iterator[Event]:
        for index, seed in enumerate(request.seeds()):
            for step in self._called(request, seed, True):
                if isinstance(step, Returned):
                    frames = [frame.convert("RGBA") for frame in step.value]
                    about = {"index": index, "seed": seed, **self._about(request, frames)}
                    yield media.clip(frames, request.fps or 1, request.loop, **about)
                else:
                    done, total, shown = step
                    yield Progress(index * total + done, request.count * total, {index: shown} if shown else {})

    def _called(
        self, request: ImageRequest | ClipRequest, seed: int, previews: bool
    ) -> Iterator[tuple[int, int, bytes] | Returned]:
        """(step, steps, preview) of one picture or clip, then its frames."""
        import torch

        self.load()
        by, start = pipeline_facts.calls(self.folder), Start.of(request, self.capabilities())
        one, net = by[chosen(by, request)], self._net(request)
        if net:
            one = self._guided(one, net)
        asked = arguments(one, request, start, net.kind if net else "")
        pipeline, last, steps = self._pipeline(one.name, request, net), None, request.steps or 1
        if one.loras:
            self._adapters.set_loras(pipeline, request.loras or ())
        words = {"prompt": asked.pop("prompt", "")} if "prompt" in one.takes else {}
        asked["generator"] = torch.Generator().manual_seed(seed)

        def work(report: Callable[[Any], None]) -> Any:
            with worded(pipeline, words.get("prompt", ""), asked.get("negative_prompt", "")) as unmarked:
                said = dict.fromkeys(words, unmarked)
                return placing.called(pipeline, **said, **asked, **watched(one, report))

        began, made = time.monotonic(), cast(Any, None)
        with explained(self.title), closing(stepwise(work)) as reports:
            for report in reports:
                if isinstance(report, Returned):
                    made = report.value
                    continue
                step, total, last = report
                if not torch.isfinite(last).all():
                    raise Refused("pipeline.not_finite", model=self.title, step=step)
                seen = self._previews(last, start.size) if previews else None
                shown = media.quick_png(seen) if seen else b""
                yield step, max(total or steps, step), shown
        frames: list[Image.Image] = list(made.images[:1] if hasattr(made, "images") else made.frames[0])
        self._timed(time.monotonic() - began, steps, frames)
        if last is not None:
            self._previews.learn(last, frames[len(frames) // 2])
        yield Returned([start.kept(frame) for frame in frames])

    def _timed(self, seconds: float, steps: int, frames: list[Image.Image]) -> None:
        """Note what it says of a picture, or clip, as the model makes them where nothing is asked for."""
        can = self.capabilities()
        width, height = sides(can.size)
        usual = can.steps.usual * width * height * (can.frames.usual if "clip" in can.tasks else 1)
        share = usual / (steps * len(frames) * frames[0].width * frames[0].height)
        pace.note((self.folder.weights or self.folder.root).resolve(), placing.device().type, seconds * share)

    def _net(self, request: ImageRequest | ClipRequest) -> Found | None:
        """The network that reads the control picture; Refused where it is another one by now."""
        if not isinstance(request, ImageRequest) or not request.control:
            return None
        found, digest = loras.net(request.controlnet or "")
        if digest != request.net:
            raise Refused("lora.changed", name=request.controlnet)
        return found

    def _guided(self, one: Pipeline, net: Found) -> Pipeline:
        """The pipeline that does the same with that network; Refused where there is none."""
        name = one.name if net.kind == "ip_adapter" else signatures.counterpart(one.name, "control")
        found = signatures.pipeline(name)
        if found is None or (net.kind == "ip_adapter" and "ip_adapter_image" not in found.takes):
            raise Refused("model.lacks", model=self.title, name=f"control ({net.name})")
        return found

    def _pipeline(self, name: str, request: ImageRequest | ClipRequest, net: Found | None) -> Any:
        """The one of that class, and with that network, with a new scheduler: what that counts is of one picture."""
        import diffusers

        first, cls, digest = self._loaded[""], getattr(diffusers, name), getattr(request, "net", None) or ""
        adapter, control = (net if net and (net.kind == "ip_adapter") is own else None for own in (True, False))
        key = f"{name} {digest if control else ''}"
        if key not in self._loaded:
            self._adapters.set_ip_adapter(first, None)
            more = {"controlnet": _controlnet(control)} if control else {}
            same = type(first) is cls and not control
            self._loaded[key] = first if same else placing.placed(cls.from_pipe(first, dtype=placing.dtype(), **more))
        pipeline = self._loaded[key]
        self._adapters.set_ip_adapter(pipeline, adapter, digest, getattr(request, "control_strength", None) or 0.0)
        if own := getattr(first, "scheduler", None):
            cls = getattr(diffusers, pipeline_facts.schedulers(self.folder)[request.scheduler])
            pipeline.scheduler = cls.from_config(own.config)
        return pipeline

    def _about(self, request: ImageRequest | ClipRequest, frames: Sequence[Image.Image]) -> dict[str, Any]:
        """What else the bits depend on, and where what was made lies in the semantic space."""
        words, kept = plain(loras.words(request.prompt)), placing.kept(self._loaded[""]).word
        return {"how": {"batch": 1, **placing.here(), "memory": kept}, **self._places.about(words, frames)}


def load(folder: PipelineFolder) -> dict[str, Any]:
    """The folder's own pipeline, under ""."""
    memory = placing.chosen(folder.found)
    silence()
    import diffusers

    safe: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    about: dict[str, Any] = {"local_files_only": True, "dtype": placing.dtype()}
    with loads(folder.weights or folder.root):
        if folder.weights and not folder.generator:
            cls = getattr(diffusers, folder.pipeline.name)
            whole = cls.from_single_file(str(folder.weights), config=str(folder.root), **about, **safe)
        else:
            parts = {folder.generator: _generator(folder, about)} if folder.weights else {}
            whole = diffusers.DiffusionPipeline.from_pretrained(folder.root, **parts, **about, **safe)
        return {"": placing.placed(whole, memory)}


def _generator(folder: PipelineFolder, about: dict[str, Any]) -> Any:
    """The one that is a file of its own, in whose numbers it stays where that is GGUF."""
    import diffusers

    cls = getattr(diffusers, folder.components[folder.generator][1])
    if folder.weights and folder.weights.suffix == ".gguf":
        about = {**about, "quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=about["dtype"])}
    return cls.from_single_file(str(folder.weights), config=str(folder.root), subfolder=folder.generator, **about)


def _controlnet(found: Found) -> Any:
    """A network that reads a picture; Refused where it does not load."""
    import diffusers

    about: dict[str, Any] = {"dtype": placing.dtype(), "local_files_only": True}
    with loads(found.path):
        if found.path.is_file():
            return diffusers.ControlNetModel.from_single_file(str(found.path), **about)
        return getattr(diffusers, found.family).from_pretrained(found.path, use_safetensors=True, **about)
