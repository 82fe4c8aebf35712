"""LoRAs that a prompt names, as in A1111: `a cat <lora:sketch:0.8>` draws with that share of the file `sketch`. An
adapter in a folder, as `peft` writes them, has the folder's name."""

import re
from pathlib import Path

from models.messages import Refused, did_you_mean
from studio import settings
from studio.disk.models import ADAPTERS, Digests, LocalModel, below, read_header
from studio.files import sha256
from studio.requests import Lora

FOLDER = "loras"  # in the home
PREFERENCES = "preferences"  # the adapter that is learned from ratings
MOST = 10.0  # of a weight
_TAG = re.compile(r"\s*<lora:([^:<>]+)(?::([^:<>]*))?(?::[^<>]*)?>")


def words(prompt: str) -> str:
    """The prompt without its LoRAs."""
    return _TAG.sub("", prompt).strip()


def marked(prompt: str, name: str, weight: float) -> str:
    """The prompt with a LoRA at a weight, which replaces its earlier mark; without it at weight 0."""
    others = _TAG.sub(lambda tag: "" if tag[1].strip() == name else tag[0], prompt).strip()
    return f"{others} <lora:{name}:{weight:g}>".strip() if weight else others


def preferences(weight: float, base: str, needed: bool) -> Lora | None:
    """What was learned from ratings, at a weight: where it is in use for the generator of digest `base`, or `needed`;
    else None. Refused where it is needed, and nothing was learned."""
    path = settings.home() / FOLDER / PREFERENCES / ADAPTERS[0]
    if not path.is_file():
        if needed:
            raise Refused("learn.no_preferences")
        return None
    if not needed and settings.preferences() != base:
        return None
    return Lora(name=PREFERENCES, weight=weight, sha256=Digests(settings.home()).of(path))


def named(prompt: str) -> dict[str, float]:
    """The weights of the LoRAs that a prompt names, which add up; Refused where one is no number."""
    weights: dict[str, float] = {}
    for name, text in _TAG.findall(prompt):
        try:
            weight = float(text or 1)
        except ValueError:
            weight = float("nan")
        if not abs(weight) <= MOST:
            raise Refused("lora.weight", name=name.strip(), weight=text, most=f"{MOST:g}")
        weights[name.strip()] = weights.get(name.strip(), 0.0) + weight
    return weights


def resolved(prompt: str) -> tuple[Lora, ...]:
    """The LoRAs that a prompt names with what their files hold; Refused where one is not there or not whole."""
    weights, digests = named(prompt), Digests(settings.home())
    there = files() if weights else {}
    for name in weights:
        if name not in there:
            folders = [str(folder) for folder in _folders()]
            raise Refused("lora.unknown", name=name, hint=did_you_mean(name, there), folders=folders)
        read_header(there[name])
    return tuple(Lora(name=name, weight=weight, sha256=digests.of(there[name])) for name, weight in weights.items())


def unchanged(lora: Lora) -> Path:
    """The file of a resolved request's LoRA; Refused where it is not there any more, or another."""
    path = files().get(lora.name)
    if path is None or sha256(path) != lora.sha256:
        raise Refused("lora.changed", name=lora.name)
    return path


def files() -> dict[str, Path]:
    """The LoRAs that are there, by name: in the home's folder, and in the folders with models."""
    home = settings.home() / FOLDER
    return {model.name: model.path for model in _models() if model.kind == "lora" or model.path.parent == home}


def nets() -> dict[str, LocalModel]:
    """The networks that read a picture for a pipeline (ControlNets, IP-Adapters), by name."""
    readers = ("controlnet", "ip_adapter")
    return {model.path.stem: model for model in _models() if model.kind in readers and not model.problem}


def net(name: str) -> tuple[LocalModel, str]:
    """The network of that name with its digest; Refused where there is none."""
    there = nets()
    if name not in there:
        folders = [str(folder) for folder in _folders()]
        raise Refused("control.unknown", name=name, hint=did_you_mean(name, there), folders=folders)
    model, digests = there[name], Digests(settings.home())
    if model.kind == "ip_adapter":  # what reads the picture first may lie beside it
        return model, digests.of_files([model.path, *encoder(model).rglob("*.safetensors")], model.path.parent)
    return model, digests.of_model(model, compute=True)


def encoder(model: LocalModel) -> Path:
    """The folder beside an IP-Adapter with its image encoder, as repositories of the hub have it."""
    return model.path.parent / "image_encoder"


def _models() -> list[LocalModel]:
    """The models of all folders, those of the home last: in a table by name they replace others."""
    return [model for folder in _folders() if folder.is_dir() for model in below(folder)][::-1]


def _folders() -> list[Path]:
    return [settings.home() / FOLDER, *settings.model_folders(settings.home())]
