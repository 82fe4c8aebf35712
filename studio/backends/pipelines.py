"""The pipelines of diffusers, read without importing it: what a class takes and returns (from its source files), what
lies in a folder or file, and what a pipeline can do. Importing diffusers takes seconds, and torch.
"""

import ast
import importlib.util
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio import settings
from studio.capabilities import Capabilities, Range, Sides
from studio.disk.memory import GENERATORS
from studio.disk.models import (
    DECIDING,
    Digests,
    LocalModel,
    describe,
    library,
    located,
    look,
    read_header,
    read_json,
    with_networks,
)
from studio.requests import Size, spelled

INDEX = "model_index.json"
REQUIRED = "required"  # the default of a parameter that has none
# The tables of diffusers' automatic pipelines, and the parameter that their classes take.
EDITS = {"IMAGE2IMAGE": "image", "INPAINT": "mask_image", "IMAGE2VIDEO": "image"}
DENOISERS = ("unet", "transformer", "prior")  # names that components have in all pipelines
ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3), (9, 16))  # of the sizes that are offered
LARGEST = 2048  # pixels a side, or twice the model's size if that is more
STEPS, GUIDANCE, FRAMES, LONGEST, RATE = 30, 5.0, 16, 257, 16  # where a pipeline has no default
PARAMETERS: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("parameters.toml").read_text(encoding="utf-8")
)
NEVER = (
    "style",
    "like",
    "mix",
    "expand",
    "variations",
    "extend",
    "motion_strength",
    "reference_strength",
    "preferences",
)


# --- Classes, from the source files of diffusers ----------------------------------------------------------------------


@dataclass(frozen=True)
class Pipeline:
    """A pipeline's class.

    `takes`: the parameters of its call with their defaults (REQUIRED without one, None where the default is no
    constant). `gives`: the fields of its output: images, frames, audios. `constants`: values that its code sets for
    what the call leaves open, such as {"height": 1024, "default_sample_size": 128}. `loras`: whether it loads them.
    """

    name: str
    loras: bool
    takes: dict[str, Any]
    gives: frozenset[str]
    constants: dict[str, Any]


@cache
def pipeline(name: str) -> Pipeline | None:
    """The pipeline of that class; None where diffusers has none of that name."""
    lineage = _lineage(name)
    methods = (node for tree in lineage for node in tree.body if isinstance(node, ast.FunctionDef))
    call = next((method for method in methods if method.name == "__call__"), None)
    if call is None:
        return None
    parameters, defaults = call.args.args[1:] + call.args.kwonlyargs, [*call.args.defaults, *call.args.kw_defaults]
    takes = {arg.arg: REQUIRED for arg in parameters}
    takes |= {
        arg.arg: _constant(default)
        for arg, default in zip(reversed(parameters), reversed(defaults), strict=False)
        if default
    }
    calls = (node.value for node in ast.walk(call) if isinstance(node, ast.Return) and isinstance(node.value, ast.Call))
    outputs = frozenset(keyword.arg for output in calls for keyword in output.keywords if keyword.arg)
    loras = any(ast.unparse(base).endswith("LoraLoaderMixin") for tree in lineage for base in tree.bases)
    return Pipeline(name, loras, takes, outputs, _constants(lineage[0]))


@cache
def counterpart(name: str, takes: str) -> str:
    """The class with the same components that takes a picture ("image"), also a mask ("mask_image"), or a ControlNet
    ("control"), by diffusers' tables of automatic pipelines; "" where there is none.
    """
    tables = _auto_pipelines()
    places = [(task, key) for task, table in tables.items() for key, cls in table.items() if cls == name]
    if takes == "control":
        names = [tables[task].get(f"{key}-controlnet", "") for task, key in places]
    else:
        tasks = [task for task, parameter in EDITS.items() if parameter == takes]
        names = [tables.get(task, {}).get(key, "") for task in tasks for _, key in places]
    return next((other for other in names if other not in ("", name)), "")


@cache
def compatible_schedulers(name: str) -> tuple[str, ...]:
    """The schedulers that can replace the class `name`, itself first."""
    others = _assignments(name).get("_compatibles")
    if isinstance(others, ast.ListComp):  # over the members of an enumeration
        names = list(_assignments(ast.unparse(others.generators[0].iter)))
    else:
        names = ast.literal_eval(others) if others else []
    return (name, *(other for other in names if other != name and other in _class_files()))


@cache
def _diffusers_root() -> Path:
    spec = importlib.util.find_spec("diffusers")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@cache
def _class_files() -> dict[str, Path]:
    """The file of each class of a pipeline or scheduler."""
    root = _diffusers_root()
    files = sorted([*root.glob("pipelines/**/*.py"), *root.glob("schedulers/*.py")])
    return {
        name: file
        for file in files
        for name in re.findall(r"^class (\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


@cache
def _lineage(name: str) -> tuple[ast.ClassDef, ...]:
    """The class and its bases, as far as they are pipelines or schedulers, nearest first."""
    file = _class_files().get(name)
    body = ast.parse(file.read_text(encoding="utf-8")).body if file else []
    tree = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)
    return (tree, *(cls for base in tree.bases for cls in _lineage(ast.unparse(base)))) if tree else ()


def _assignments(name: str) -> dict[str, ast.expr]:
    """The attributes that the class sets."""
    nodes = (node for tree in _lineage(name)[:1] for node in tree.body if isinstance(node, ast.Assign))
    return {ast.unparse(node.targets[0]): node.value for node in nodes}


def _constants(tree: ast.ClassDef) -> dict[str, Any]:
    """Values of assignments such as `height = height or 1024` and `self.default_sample_size = 128`."""
    constants: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            value = node.value
            if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
                value = value.values[-1]
            if isinstance(constant := _constant(value), int):
                constants.setdefault(ast.unparse(node.targets[0]).removeprefix("self."), constant)
    return constants


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


@cache
def _auto_pipelines() -> dict[str, dict[str, str]]:
    """The tables of the automatic pipelines: {task: {key: class}}."""
    tree = ast.parse((_diffusers_root() / "pipelines" / "auto_pipeline.py").read_text(encoding="utf-8"))
    tables: dict[str, dict[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (
            task := re.fullmatch(r"AUTO_(\w+)_PIPELINES_MAPPING", ast.unparse(node.targets[0]))
        ):
            pairs = [pair.elts for pair in ast.walk(node.value) if isinstance(pair, ast.Tuple)]
            tables[task[1]] = {ast.literal_eval(key): ast.unparse(cls) for key, cls in pairs}
    return tables


# --- Folders and files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineFolder:
    """A pipeline as diffusers saves it: the folder `root` with `model_index.json` and a folder for each component.

    With `weights` all weights, or the generator's alone, lie in that file, and `root` holds the rest. Every property
    may raise Refused, which names the file that is wrong.
    """

    root: Path
    weights: Path | None = None

    @classmethod
    def named(cls, name: str) -> "PipelineFolder":
        """A folder, a file, or what the Hugging Face cache has under that id; nothing is downloaded."""
        path = located(name)
        if not path.is_file():
            return cls(path)
        read_header(path)  # a pickle is refused
        beside = path.with_suffix("")
        if (beside / INDEX).is_file():
            return cls(beside, path)
        family = getattr(describe(path), "family", "")
        for model in look(settings.model_folders(settings.home())):  # of the same family, for its configurations
            if family and model.family == family and (model.path / INDEX).is_file():
                return cls(model.path, path)
        raise Refused("pipeline.no_config", path=str(path), folder=str(beside), family=family or "?")

    @cached_property
    def index(self) -> dict[str, Any]:
        """The content of `model_index.json`."""
        if not self.root.is_dir():
            raise Refused("pipeline.no_folder", path=str(self.root))
        if not (self.root / INDEX).is_file():
            raise Refused("pipeline.no_index", path=str(self.root), index=INDEX)
        return read_json(self.root / INDEX)

    @cached_property
    def pipeline(self) -> Pipeline:
        """Its class, as diffusers has it."""
        name = self.index.get("_class_name")
        known = pipeline(name) if isinstance(name, str) else None
        if known is None:
            code = "pipeline.remote_code" if isinstance(name, list) else "pipeline.unknown_class"
            raise Refused(code, path=str(self.root / INDEX), name=str(name))
        return known

    @cached_property
    def components(self) -> dict[str, tuple[str, str]]:
        """Library and class of each component that it has."""
        components = {}
        for name, entry in self.index.items():
            if not isinstance(entry, list) or name.startswith("_"):
                continue
            if len(entry) != 2 or not all(isinstance(part, str | None) for part in entry):
                raise Refused("disk.damaged", path=str(self.root / INDEX), problem=f"{name}: {entry}")
            module, cls = entry
            known = module in ("diffusers", "transformers") or (_diffusers_root() / "pipelines" / str(module)).is_dir()
            if module and not known:
                raise Refused("pipeline.remote_code", path=str(self.root / INDEX), name=f"{module}.{cls}")
            if module and cls:
                components[name] = (module, cls)
        return components

    @cached_property
    def generator(self) -> str:
        """The component whose weights, and no others, are in the file; "" where that holds all, or there is none."""
        alone = self.weights and getattr(describe(self.weights), "kind", "") == "generator"
        return next((name for name in self.components if name in GENERATORS), "") if alone else ""

    @property
    def model(self) -> LocalModel | None:
        """Its networks, for the estimate of the memory that it needs."""
        model = describe(self.weights or self.root)
        if not (model and self.generator):
            return model
        folders = {name: self.root / name for name in self.components if name != self.generator}
        rest = with_networks(LocalModel("", self.root), folders)
        generator = (replace(part, name=self.generator) for part in model.components)
        return replace(model, components=(*rest.components, *generator), width=rest.width)

    def config(self, component: str) -> dict[str, Any]:
        """The configuration of a component; {} where it has none."""
        path = self.root / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
        return read_json(path) if component in self.components and path.is_file() else {}

    @cached_property
    def files(self) -> list[Path]:
        """All files that decide what it makes. Refused where a component is missing, is of another class than the index
        says, or needs a library that is not installed.
        """
        _ = self.pipeline
        in_file = set(self.components) if self.weights and not self.generator else {self.generator}
        files = [self.root / INDEX]
        for name, (_, cls) in self.components.items():
            if not (self.root / name).is_dir():
                raise Refused("disk.no_component", path=str(self.root), component=name)
            config = self.root / name / "config.json"
            if name not in in_file and config.is_file():
                content = read_json(config)
                if (actual := content.get("_class_name")) not in (None, cls):
                    raise Refused("pipeline.wrong_component", path=str(config), actual=actual, expected=cls)
                if method := content.get("quantization_config", {}).get("quant_method"):
                    library(config, str(method).partition("_")[0])  # "bitsandbytes_4bit"
            listed = sorted(path for path in (self.root / name).rglob("*") if path.suffix in DECIDING)
            files += [path for path in listed if name not in in_file or path.suffix != ".safetensors"]
        folders = {name: self.root / name for name in self.components if name not in in_file}
        with_networks(LocalModel("", self.root), folders)  # Refused where weights are missing or cut short
        return files

    def digest(self) -> str:
        """sha256 of the names and the contents of `files`, and of the file with weights."""
        digests = Digests(settings.home())
        beside = {"weights": digests.of(self.weights)} if self.weights else {}
        return digests.of_files(self.files, self.root, **beside)


# --- Capabilities -----------------------------------------------------------------------------------------------------


def calls(folder: PipelineFolder) -> dict[str, Pipeline]:
    """The pipelines that do its tasks with the same components, by what they take: "" words, "image", "mask_image"."""
    base = folder.pipeline
    pipelines: dict[str, Pipeline] = {}
    for takes in ("mask_image", "image"):
        edits = base.takes.get("image") is REQUIRED or {"image", "strength"} <= base.takes.keys()
        if takes in base.takes and (takes == "mask_image" or edits):
            pipelines[takes] = base
            break
        other = pipeline(counterpart(base.name, takes))
        if other and (takes == "image" or "mask_image" in other.takes):
            pipelines[takes] = other
    if base not in pipelines.values():
        pipelines[""] = base
        if "image" in base.takes:
            pipelines.setdefault("image", base)
    return pipelines


def task_of(cls: Pipeline) -> str:
    """The task that a pipeline does: "image", "clip" or "" for neither."""
    if "frames" in cls.gives or (not cls.gives and "num_frames" in cls.takes):
        return "clip"
    return "image" if "images" in cls.gives or not cls.gives else ""


def capabilities(folder: PipelineFolder, title: str, space: str) -> Capabilities:
    """Of a folder's pipeline; `space` is its semantic space or "". Refused where it makes no pictures or clips."""
    base, by = folder.pipeline, calls(folder)
    task = task_of(base)
    if not task:
        raise Refused("pipeline.no_task", path=str(folder.root / INDEX), name=base.name)
    takes: dict[str, Any] = {name: default for cls in by.values() for name, default in cls.takes.items()} | base.takes

    def default(names: Sequence[str], otherwise: float) -> float:
        """Of the first of the parameters whose default is a number."""
        values = (takes.get(name) for name in names)
        return next((x for x in values if isinstance(x, int | float) and not isinstance(x, bool)), otherwise)

    size, multiple = default_size(folder), side_multiple(folder)
    lacks = [name for name, parameters in PARAMETERS.items() if not any(one in takes for one in parameters)]
    steps, guidance = default(PARAMETERS["steps"], STEPS), default(PARAMETERS["guidance"], GUIDANCE)
    strength = by["image"].takes.get("strength") if "image" in by else None
    return Capabilities(
        title=title,
        tasks=(task, "embed") if space else (task,),
        size=spelled(*size),
        sizes=_offered_sizes(size, multiple),
        sides=None if "size" in lacks else Sides(least=multiple, most=max(LARGEST, 2 * max(size)), multiple=multiple),
        schedulers=tuple(schedulers(folder)),
        steps=Range(least=1, most=max(150, steps), usual=steps),
        guidance=Range(least=0, most=max(30, guidance), usual=guidance),
        count=Range(least=1, most=64, usual=1),
        best_of=Range(least=1, most=16 if space else 1, usual=1),
        ranker=space,
        lacks=(*lacks, *NEVER),
        needs=() if "" in by else ("image",),
        memory=True,
        loras=base.loras,
        controls=any("ip_adapter_image" in cls.takes or counterpart(cls.name, "control") for cls in by.values()),
        pictures=False,
        edits=bool(set(by) - {""}),
        strength=Range(
            least=0.05, most=1, usual=min(max(strength, 0.05), 1) if isinstance(strength, int | float) else 0.6
        ),
        frames=Range(least=1, most=LONGEST, usual=default(("num_frames",), FRAMES)),
        fps=Range(least=1, most=60, usual=default(("frame_rate", "fps"), RATE)),
    )


def default_size(folder: PipelineFolder) -> tuple[int, int]:
    """(width, height) without a size in the call: the call's default, else what the denoiser was made for."""
    base = folder.pipeline
    width, height = (base.takes.get(name) or base.constants.get(name) for name in ("width", "height"))
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    config, factor = _denoiser(folder), _vae_scale(folder)
    side: Any = base.constants.get("default_sample_size") or config.get("sample_size") or 64
    high, wide = side[-2:] if isinstance(side, list) else (side, side)
    return int(config.get("sample_width") or wide) * factor, int(config.get("sample_height") or high) * factor


def _denoiser(folder: PipelineFolder) -> dict[str, Any]:
    return next((config for name in DENOISERS if (config := folder.config(name))), {})


def _vae_scale(folder: PipelineFolder) -> int:
    """Pixels a side for each place of a latent."""
    vae = folder.config("vae")
    for name in ("scale_factor_spatial", "spatial_compression_ratio"):
        if isinstance(vae.get(name), int):
            return int(vae[name])
    if "temperal_downsample" in vae:
        return int(2 ** len(vae["temperal_downsample"]))
    if "spatio_temporal_scaling" in vae:
        return int(vae.get("patch_size", 1) * 2 ** sum(vae["spatio_temporal_scaling"]))
    widths = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or [0] * 4
    return int(2 ** (len(widths) - 1))


def side_multiple(folder: PipelineFolder) -> int:
    """The number of which width and height must be multiples: the latent's scale times the denoiser's patch size."""
    config, vae = _denoiser(folder), folder.config("vae")
    patch = config.get("patch_size", 1)
    patch = patch[-1] if isinstance(patch, list) else patch
    channels = vae.get("latent_channels") or vae.get("z_dim") or 0
    packed = 2 if channels and config.get("in_channels") == 4 * channels else 1  # latents in 2 x 2 blocks
    return _vae_scale(folder) * max(patch if isinstance(patch, int) else 1, packed)


def _offered_sizes(size: tuple[int, int], multiple: int) -> tuple[Size, ...]:
    """The model's size, and others of as many pixels."""
    area, sizes = size[0] * size[1], [spelled(*size)]
    for across, down in ASPECTS:
        width = (area * across / down) ** 0.5
        sizes.append(spelled(*(max(multiple, round(side / multiple) * multiple) for side in (width, area / width))))
    return tuple(dict.fromkeys(sizes))


def schedulers(folder: PipelineFolder) -> dict[str, str]:
    """Classes of schedulers by their names here, the pipeline's first: EulerAncestralDiscreteScheduler is
    "euler-ancestral".
    """
    cls = folder.components.get("scheduler", ("", ""))[1]
    if not cls:
        return {"own": ""}
    plain = {name: re.sub(r"Scheduler$|Discrete", "", name) for name in compatible_schedulers(cls)}
    words = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
    return {words.sub("-", short).lower(): name for name, short in plain.items()}
