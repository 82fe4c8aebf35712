"""Other people's models: a pipeline that diffusers loads from a folder or file. torch is imported by `load`, not
before; `pipelines` says what a folder can do without it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from PIL import Image, ImageOps

from models.compose.masks import levels
from models.messages import Refused
from models.prompts.weighting import plain, segments, token_weights, weigh
from models.runtime import silence
from studio import loras, media, settings
from studio.backends import pipelines, runtime
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.inputs import Batches, SemanticSpace, unchanged
from studio.backends.pipelines import PARAMETERS, Pipeline, PipelineFolder
from studio.backends.runtime import Returned, first_line, loading, running, stepwise
from studio.capabilities import Capabilities
from studio.disk.models import LocalModel, read_header
from studio.events import Progress
from studio.media import on_ground
from studio.requests import ClipRequest, ImageRequest, Lora, sides

T = TypeVar("T")
CLIP = "CLIPText"  # in the names of the classes of CLIP's text encoders
CUTOFF = 1e-2  # smaller singular values, as shares of the largest, have no part in the map of previews
SHOWN = 256  # pixels of the longer side of a preview


class Diffusers(Backend):
    """The pipeline in the folder or file `name`, or in the Hugging Face cache under that id."""

    def __init__(self, name: str) -> None:
        self.name, self.title = name, Path(name).name.removesuffix(".safetensors")
        self._loaded: dict[str, Any] = {}  # pipelines by class and ControlNet, which share their components
        self._adapters, self._memory = Adapters(), ""
        self._semantic = SemanticSpace()

    @cached_property
    def folder(self) -> PipelineFolder:
        return PipelineFolder.named(self.name)

    def capabilities(self) -> Capabilities:
        """By the pipeline's class and configurations."""
        return pipelines.capabilities(self.folder, self.title, self.space())

    def check(self) -> None:
        _ = self.folder.files

    def digest(self) -> str:
        """Of all files that the pipeline is loaded from."""
        return self.folder.digest()

    def space(self) -> str:
        return self._semantic.space()

    def load(self) -> None:
        if not self._loaded or self._memory != settings.memory():
            self.check()  # says what is wrong before seconds go into importing torch
            self._loaded, self._adapters, self._memory = {}, Adapters(), settings.memory()
            self._loaded = {"": _load(self.folder)}
            self._previews = Previews(pipelines.side_multiple(self.folder))

    def loaded(self) -> Any:
        """The pipeline."""
        self.load()
        return self._loaded[""]

    @property
    def tasks(self) -> Mapping[str, Handler]:
        handlers = {"image": self._images, "clip": per_request(self._clips)}
        task = pipelines.task_of(self.folder.pipeline)
        tasks: dict[str, Handler] = {task: handlers[task]} if task in handlers else {}
        return {**tasks, **({"embed": per_request(self._semantic.vectors)} if self.space() else {})}

    # --- Pictures and clips -------------------------------------------------------------------------------------------

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """One call a picture, with its own generator, so its bits do not depend on the other pictures."""
        if any(request.ranker not in (None, self.space()) for request in requests):
            raise Refused("model.ranker_replaced")
        batches = Batches(requests)
        for k, slot in ((k, slot) for k, batch in enumerate(batches.batches) for slot in batch):
            request = requests[slot.number]
            for step in self._steps(request, slot.seed, previews):
                if not isinstance(step, Returned):
                    yield from batches.progress(k, *step[:2], [step[2]] if step[2] else [])
                    continue
                (picture,) = step.value
                facts = {"index": slot.index, "seed": slot.seed, **self._facts(request, [picture])}
                best = batches.chosen(slot, facts.get("score", 0.0), media.image(picture, **facts))
                if best is not None:
                    yield slot.number, best

    def _clips(self, request: ClipRequest) -> Iterator[Event]:
        for index, seed in enumerate(request.seeds()):
            for step in self._steps(request, seed, True):
                if isinstance(step, Returned):
                    frames = [frame.convert("RGBA") for frame in step.value]
                    facts = {"index": index, "seed": seed, **self._facts(request, frames)}
                    yield media.clip(frames, request.fps or 1, request.loop, **facts)
                else:
                    done, total, preview = step
                    yield Progress(index * total + done, request.count * total, {index: preview} if preview else {})

    def _steps(
        self, request: ImageRequest | ClipRequest, seed: int, previews: bool
    ) -> Iterator[tuple[int, int, bytes] | Returned]:
        """(step, steps, preview) of one picture or clip, then its frames."""
        import torch

        self.load()
        by, start = pipelines.calls(self.folder), Start.of(request, self.capabilities())
        edit = "mask_image" if getattr(request, "mask", None) or "image" not in by else "image"
        cls, control = by["" if request.image is None else edit], _control_net(request)
        if control:
            cls = self._with_control(cls, control)
        arguments = _arguments(cls, request, start, control.kind if control else "")
        pipeline, latents, steps = self._pipeline(cls.name, request, control), None, request.steps or 1
        if cls.loras:
            self._adapters.set_loras(pipeline, request.loras or ())
        prompt = {"prompt": arguments.pop("prompt", "")} if "prompt" in cls.takes else {}
        arguments["generator"] = torch.Generator().manual_seed(seed)

        def work(report: Callable[[Any], None]) -> Any:
            negative = arguments.get("negative_prompt", "")
            with weighted_prompt(pipeline, prompt.get("prompt", ""), negative) as words:
                return runtime.call(pipeline, **dict.fromkeys(prompt, words), **arguments, **_callback(cls, report))

        output = cast(Any, None)
        with running(self.title), closing(stepwise(work)) as reports:
            for report in reports:
                if isinstance(report, Returned):
                    output = report.value
                    continue
                step, total, latents = report
                if not torch.isfinite(latents).all():
                    raise Refused("pipeline.not_finite", model=self.title, step=step)
                preview = self._previews(latents, start.size) if previews else None
                yield step, max(total or steps, step), media.quick_png(preview) if preview else b""
        frames: list[Image.Image] = list(output.images[:1] if hasattr(output, "images") else output.frames[0])
        if latents is not None:
            self._previews.learn(latents, frames[len(frames) // 2])
        yield Returned([start.composite(frame) for frame in frames])

    def _with_control(self, cls: Pipeline, control: LocalModel) -> Pipeline:
        """The pipeline that does the same with that network; Refused where there is none."""
        name = cls.name if control.kind == "ip_adapter" else pipelines.counterpart(cls.name, "control")
        controlled = pipelines.pipeline(name)
        if controlled is None or (control.kind == "ip_adapter" and "ip_adapter_image" not in controlled.takes):
            raise Refused("model.lacks", model=self.title, name=f"control ({control.name})")
        return controlled

    def _pipeline(self, name: str, request: ImageRequest | ClipRequest, control: LocalModel | None) -> Any:
        """The pipeline of class `name` with that network, and with a new scheduler, whose state is of one picture."""
        import diffusers

        base, cls, digest = self._loaded[""], getattr(diffusers, name), getattr(request, "net", None) or ""
        is_adapter = control is not None and control.kind == "ip_adapter"
        controlnet = None if is_adapter else control
        key = f"{name} {digest if controlnet else ''}"
        if key not in self._loaded:
            self._adapters.set_ip_adapter(base, None)
            if type(base) is cls and not controlnet:
                self._loaded[key] = base
            else:
                parts = {"controlnet": _load_controlnet(controlnet)} if controlnet else {}
                self._loaded[key] = runtime.place(cls.from_pipe(base, dtype=runtime.dtype(), **parts))
        pipeline = self._loaded[key]
        strength = getattr(request, "control_strength", None) or 0.0
        self._adapters.set_ip_adapter(pipeline, control if is_adapter else None, digest, strength)
        if scheduler := getattr(base, "scheduler", None):
            cls = getattr(diffusers, pipelines.schedulers(self.folder)[request.scheduler])
            pipeline.scheduler = cls.from_config(scheduler.config)
        return pipeline

    def _facts(self, request: ImageRequest | ClipRequest, frames: Sequence[Image.Image]) -> dict[str, Any]:
        """What the bits depend on, and the vector of the frames in the semantic space."""
        how = {"batch": 1, **runtime.bits_depend_on(), "memory": runtime.memory_of(self._loaded[""]).word}
        return {"how": how, **self._semantic.facts(plain(loras.words(request.prompt)), frames)}


def _control_net(request: ImageRequest | ClipRequest) -> LocalModel | None:
    """The network that reads the control picture; Refused where its file changed since the request was resolved."""
    if not isinstance(request, ImageRequest) or not request.control:
        return None
    net, digest = loras.net(request.controlnet or "")
    if digest != request.net:
        raise Refused("lora.changed", name=request.controlnet)
    return net


# --- Loading ----------------------------------------------------------------------------------------------------------


def _load(folder: PipelineFolder) -> Any:
    """The folder's pipeline."""
    way = runtime.choose_memory(folder.model)
    silence()
    import diffusers

    safe: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    options: dict[str, Any] = {"local_files_only": True, "dtype": runtime.dtype()}
    with loading(folder.weights or folder.root):
        if folder.weights and not folder.generator:
            cls = getattr(diffusers, folder.pipeline.name)
            pipeline = cls.from_single_file(str(folder.weights), config=str(folder.root), **options, **safe)
        else:
            parts = {folder.generator: _load_generator(folder, options)} if folder.weights else {}
            pipeline = diffusers.DiffusionPipeline.from_pretrained(folder.root, **parts, **options, **safe)
        return runtime.place(pipeline, way)


def _load_generator(folder: PipelineFolder, options: dict[str, Any]) -> Any:
    """The generator from a file of its own; one of GGUF stays quantised."""
    import diffusers

    cls = getattr(diffusers, folder.components[folder.generator][1])
    if folder.weights and folder.weights.suffix == ".gguf":
        quantised = diffusers.GGUFQuantizationConfig(compute_dtype=options["dtype"])
        options = {**options, "quantization_config": quantised}
    return cls.from_single_file(str(folder.weights), config=str(folder.root), subfolder=folder.generator, **options)


def _load_controlnet(net: LocalModel) -> Any:
    """A ControlNet; Refused where it does not load."""
    import diffusers

    options: dict[str, Any] = {"dtype": runtime.dtype(), "local_files_only": True}
    with loading(net.path):
        if net.path.is_file():
            return diffusers.ControlNetModel.from_single_file(str(net.path), **options)
        return getattr(diffusers, net.family).from_pretrained(net.path, use_safetensors=True, **options)


class Adapters:
    """The LoRAs (by PEFT) and the IP-Adapter of a pipeline, whose components other pipelines share."""

    def __init__(self) -> None:
        self._loras: tuple[Lora, ...] = ()
        self._ip_adapter: tuple[Any, str] | None = None

    def set_ip_adapter(self, pipeline: Any, net: LocalModel | None, digest: str = "", strength: float = 0.0) -> None:
        """Load that IP-Adapter at that strength; None unloads the current one. Refused where it does not fit."""
        if self._ip_adapter and self._ip_adapter != (pipeline, digest if net else ""):
            self._ip_adapter[0].unload_ip_adapter()
            self._ip_adapter = None
        if net is None:
            return
        if not self._ip_adapter:
            encoder = loras.encoder(net)
            if getattr(pipeline, "image_encoder", None) is None and not encoder.is_dir():
                raise Refused("control.no_encoder", path=str(net.path), folder=str(encoder))
            options = {"image_encoder_folder": encoder.name if encoder.is_dir() else None, "local_files_only": True}
            try:
                with loading(net.path):
                    pipeline.load_ip_adapter(str(net.path.parent), subfolder="", weight_name=net.path.name, **options)
            except BaseException:
                pipeline.unload_ip_adapter()
                raise
            self._ip_adapter = runtime.place(pipeline), digest
        pipeline.set_ip_adapter_scale(strength)

    def set_loras(self, pipeline: Any, wanted: tuple[Lora, ...]) -> None:
        """Load these LoRAs and no others. Refused where a file has changed, or fits nothing in the pipeline."""
        if wanted == self._loras:
            return
        self._loras = ()
        pipeline.unload_lora_weights()
        try:
            for number, lora in enumerate(wanted):
                _load_lora(pipeline, lora, f"lora{number}")
            if wanted:
                names = [f"lora{number}" for number in range(len(wanted))]
                pipeline.set_adapters(names, adapter_weights=[lora.weight for lora in wanted])
        except BaseException:
            pipeline.unload_lora_weights()
            raise
        self._loras = wanted


def _load_lora(pipeline: Any, lora: Lora, adapter: str) -> None:
    path = loras.unchanged(lora)
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "adapter_name": adapter}
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, **options)
    except runtime.ERRORS as error:
        raise Refused("lora.no_fit", path=str(path), problem=first_line(error)) from error
    if not any(adapter in names for names in pipeline.get_list_adapters().values()):
        raise Refused("lora.no_fit", path=str(path), problem=", ".join(sorted(read_header(path).shapes)[:2]))


# --- Requests as calls ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """The pictures of a call, all of one `size` (width, height), straight RGB; the mask is 255 where it is redrawn."""

    size: tuple[int, int]
    image: Image.Image | None = None
    last: Image.Image | None = None
    control: Image.Image | None = None
    mask: Image.Image | None = None

    @classmethod
    def of(cls, request: ImageRequest | ClipRequest, can: Capabilities) -> "Start":
        """Of a resolved request; Refused where a file changed since. Without a size in the request, a picture gets as
        many pixels as the model's default, in its own shape.
        """
        control, mask, last = (getattr(request, name, None) for name in ("control", "mask", "last"))
        picture = unchanged(request.image) if request.image else None
        size = sides(request.size or can.size)
        if picture and not request.size:
            share = (size[0] * size[1] / (picture.width * picture.height)) ** 0.5
            size = sides(can.nearest(*(max(1, round(side * share)) for side in picture.size)))

        def opaque(picture: Image.Image) -> Image.Image:
            """On white, scaled and cropped to the size."""
            return ImageOps.fit(on_ground(picture), size, Image.Resampling.LANCZOS)

        guide = opaque(unchanged(control)) if control else None
        if picture is None:
            return cls(size, control=guide)
        grey = ImageOps.fit(levels(unchanged(mask)), size) if mask else None
        return cls(size, opaque(picture), opaque(unchanged(last)) if last else None, guide, grey)

    def composite(self, output: Image.Image) -> Image.Image:
        """The output where the mask is white, the start picture elsewhere."""
        if self.image is None or self.mask is None or output.size != self.size:
            return output
        return Image.composite(output.convert("RGB"), self.image, self.mask)


def _arguments(cls: Pipeline, request: ImageRequest | ClipRequest, start: Start, control: str) -> dict[str, Any]:
    """The call's arguments but for generator and callback; `control` is the kind of the control network."""
    guidance = next((name for name in PARAMETERS["guidance"] if cls.takes.get(name) is not None), "")
    strength = getattr(request, "strength", None)
    if strength is not None:  # at least one step is left
        strength = min(1.0, max(strength, 1.000001 / (request.steps or 1)))
    arguments: dict[str, Any] = {
        "prompt": loras.words(request.prompt),
        "num_inference_steps": request.steps,
        guidance: request.guidance,
        "output_type": "pil",
        "image": start.image,
        "last_image": start.last,
        "strength": strength,
        "num_frames": getattr(request, "frames", None),
        "frame_rate": getattr(request, "fps", None),
        "fps": getattr(request, "fps", None),
        "negative_prompt": request.negative or None,
        "use_resolution_binning": False,  # a size is drawn as it is requested
    }
    if start.control is not None:
        slots = ("ip_adapter_image",) if control == "ip_adapter" else ("control_image", "image")
        arguments[next(slot for slot in slots if slot in cls.takes)] = start.control
        arguments["controlnet_conditioning_scale"] = getattr(request, "control_strength", None)
    if start.image is not None:
        arguments["mask_image"] = start.mask or Image.new("L", start.size, 255)
    if start.image is not None or request.size:
        arguments["width"], arguments["height"] = start.size
    if request.negative and guidance != "true_cfg_scale":  # distilled models read a negative prompt only with this
        arguments["true_cfg_scale"] = request.guidance
    return {name: value for name, value in arguments.items() if name in cls.takes and value is not None}


def _callback(cls: Pipeline, report: Callable[[Any], None]) -> dict[str, Any]:
    """Arguments that make a call report (step, steps, latents)."""
    if "callback_on_step_end" in cls.takes:

        def on_step_end(pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
            report((step + 1, getattr(pipeline, "num_timesteps", 0), values["latents"]))
            return values

        return {"callback_on_step_end": on_step_end}
    if "callback" in cls.takes:
        return {"callback": lambda step, time, latents: report((step + 1, 0, latents)), "callback_steps": 1}
    return {}


# --- Previews ---------------------------------------------------------------------------------------------------------


class Previews:
    """Latents as small pictures, by the linear map to colours that fits the last decoded picture; before the first one,
    their mean in grey.

    The shape says the layout: (1, C, h, w), (1, N, C) tokens, or (1, C, T, h, w) of a clip.
    """

    def __init__(self, multiple: int) -> None:
        self._multiple, self._map = multiple, np.zeros((0, 3))

    def __call__(self, latents: Any, size: tuple[int, int]) -> Image.Image | None:
        """A picture of latents that become one of `size` (width, height); None where their layout is unknown."""
        cells = self._cells(latents, size)
        if cells is None:
            return None
        if len(self._map) == cells.shape[-1]:
            colours = cells @ self._map
        else:
            mean = cells[..., :-1].mean(-1, keepdims=True)
            colours = 0.5 + 0.2 * np.repeat((mean - mean.mean()) / (mean.std() + 1e-6), 3, -1)
        picture = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
        share = SHOWN / max(size)
        return picture.resize((round(size[0] * share), round(size[1] * share)), Image.Resampling.BICUBIC)

    def learn(self, latents: Any, picture: Image.Image) -> None:
        """Fit the map (least squares) to the picture that the last latents became."""
        cells = self._cells(latents, picture.size)
        if cells is None:
            return
        small = picture.convert("RGB").resize((cells.shape[1], cells.shape[0]), Image.Resampling.BOX)
        rows, colours = cells.reshape(-1, cells.shape[-1]), np.asarray(small).reshape(-1, 3) / 255
        self._map = np.linalg.lstsq(rows, colours, rcond=CUTOFF)[0]

    def _cells(self, latents: Any, size: tuple[int, int]) -> np.ndarray | None:
        """Numbers of each place and a one (h, w, C + 1); of a clip those of its middle frame."""
        values = latents[0].detach().float().cpu().numpy()
        if values.ndim == 4:  # channels or frames come first: a latent has more cells than channels
            values = values[:, values.shape[1] // 2] if values.shape[0] > values.shape[1] else values[len(values) // 2]
        if values.ndim == 3:
            cells = np.moveaxis(values, 0, -1)
        else:
            width, height = (side // self._multiple for side in size)
            if values.ndim != 2 or not width * height or len(values) % (width * height):
                return None
            frames = values.reshape(-1, height, width, values.shape[-1])
            cells = frames[len(frames) // 2]
        return np.pad(cells, ((0, 0), (0, 0), (0, 1)), constant_values=1)


# --- Prompts ----------------------------------------------------------------------------------------------------------


@contextmanager
def weighted_prompt(pipeline: Any, prompt: str, negative: str) -> Iterator[str]:
    """Yields the words of a prompt without marks, to be given to the pipeline meanwhile.

    As A1111 reads prompts: weighted words, `(cat:1.3)`, move the states of their tokens, and a prompt longer than
    CLIP's limit is encoded in chunks whose states are concatenated. A pipeline whose code fixes the length cuts it.
    Weights are ignored by an encoder that tokenises the words otherwise inside of the prompt.
    """
    runs, words = segments(prompt), plain(prompt)
    encoders: list[tuple[Any, Any, bool]] = [
        (tokenizer, encoder, CLIP in type(encoder).__name__)
        for name, tokenizer in pipeline.components.items()
        if name.startswith("tokenizer") and hasattr(tokenizer, "model_max_length")
        if (encoder := getattr(pipeline, name.replace("tokenizer", "text_encoder"), None)) is not None
    ]
    counts = [
        math.ceil(len(tokenizer(text, add_special_tokens=False)["input_ids"]) / (tokenizer.model_max_length - 2))
        for tokenizer, _, clip in encoders
        for text in (words, negative)
        if clip
    ]
    with ExitStack() as undo:
        for tokenizer, encoder, clip in encoders:
            length, tokens, weights = tokenizer.model_max_length, list[int](), list[float]()
            if any(run.weight != 1 for run in runs) and getattr(tokenizer, "is_fast", False):
                read = tokenizer(words, add_special_tokens=False, return_offsets_mapping=True)
                tokens, weights = read["input_ids"], token_weights(runs, read["offset_mapping"])
            chunks = max(counts) if clip else 1
            if chunks > 1:
                undo.callback(setattr, tokenizer, "model_max_length", length)
                tokenizer.model_max_length = length * chunks
            if chunks > 1 or tokens:
                undo.callback(_restore_forward, encoder, encoder.__dict__.get("forward"))
                chunk = length if chunks > 1 else 0
                encoder.forward = _WeightedForward(encoder.forward, tokenizer, chunk, tokens, weights)
        yield words


def _restore_forward(encoder: Any, forward: Any) -> None:
    """Back to an instance's forward (offloading sets one), or to that of its class."""
    if forward is None:
        del encoder.forward
    else:
        encoder.forward = forward


class _WeightedForward:
    """The forward of a text encoder whose rows are chunks of `length` tokens (0: one chunk), and whose `tokens` have
    `weights`.
    """

    def __init__(
        self, forward: Any, tokenizer: Any, length: int, tokens: Sequence[int], weights: Sequence[float]
    ) -> None:
        self._forward, self._length, self._tokens, self._weights = forward, length, list(tokens), list(weights)
        self._ends = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id

    def __call__(self, *args: Any, **named: Any) -> Any:
        ids = args[0] if args else named.get("input_ids")
        if ids is None:
            return self._forward(*args, **named)
        mask, rows = named.get("attention_mask"), ids.tolist()
        weights, chunks = [self._row_weights(row) for row in rows], ids.shape[1] // self._length if self._length else 1
        if chunks > 1:
            weights = [self._in_chunks(row, values, (1.0,) * 3) for row, values in zip(rows, weights, strict=True)]
            pieces = ids.new_tensor([self._in_chunks(row, row, self._ends) for row in rows]).reshape(-1, self._length)
            rest = {name: value for name, value in named.items() if name not in ("input_ids", "attention_mask")}
            output = self._forward(pieces, **rest)
            _change(output, list(output), lambda states: self._concatenated(states, chunks))
        else:
            output = self._forward(*args, **named)
        if self._tokens and hasattr(output, "keys"):
            masks = (ids.new_ones(ids.shape) if mask is None else mask).split(1)
            weighed = [name for name in ("last_hidden_state", "hidden_states") if name in output]
            _change(output, weighed, lambda states: _weigh_rows(states, masks, weights))
        return output

    def _row_weights(self, row: list[int]) -> list[float]:
        """The weight of each token of a row; of a prompt that is too long, of those that fit."""
        for first in range(len(row)):
            count = min(len(self._tokens), len(row) - first - 1)
            whole = count == len(self._tokens) or first < 2
            if count and whole and row[first : first + count] == self._tokens[:count]:
                return [*[1.0] * first, *self._weights[:count], *[1.0] * (len(row) - first - count)]
        return [1.0] * len(row)

    def _in_chunks(self, row: Sequence[int], values: Sequence[T], ends: tuple[T, T, T]) -> list[T]:
        """A row's values by chunk: between the first two of `ends`, padded with the third."""
        first, last, padding = ends
        inside, chunked, eos = self._length - 2, list[T](), self._ends[1]
        end = row.index(eos, 1) if eos in row[1:] else len(row)
        for at in range(1, 1 + len(row) // self._length * inside, inside):
            part = values[at : min(at + inside, end)]
            chunked += [first, *part, last, *[padding] * (inside - len(part))]
        return chunked

    def _concatenated(self, states: Any, count: int) -> Any:
        """States of `count` chunks one after the other; of a pooled state that of the first."""
        return states.reshape(-1, count * self._length, states.shape[-1]) if states.ndim == 3 else states[::count]


def _change(output: Any, names: Sequence[str], change: Callable[[Any], Any]) -> None:
    for name in names:
        value = output[name]
        output[name] = tuple(map(change, value)) if isinstance(value, tuple) else change(value)


def _weigh_rows(states: Any, masks: Any, weights: Any) -> Any:
    import torch

    return torch.cat([weigh(*row) for row in zip(states.split(1), masks, weights, strict=True)])
