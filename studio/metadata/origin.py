"""What a file says of where it comes from, written and read: our own record, and A1111's text for everybody else.

The text's format is that of A1111's `infotext_utils.parse_generation_parameters`; `programs.toml` has the names.
"""

import importlib.metadata
import json
import math
import re
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.references.credits import Credit, Redraw
from studio.media import Artifact, as_bytes, from_bytes
from studio.planner import Job

OWN = "studio"  # keyword of our record
KEYWORDS = frozenset((OWN, "parameters"))
# In the record and the artifact.
SAME = ("index", "seed", "score", "how", "candidates", "known", "read_as", "credits", "redrawn")

DEPTH = 64  # levels of JSON that are followed
LAST_LINE = 2**15  # characters of A1111's settings
# Unanchored and with bounded keys, so that a hostile line takes no more than linear time.
PAIR = re.compile(r'(\w[\w \-/]{1,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')

PROGRAMS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("programs.toml").read_text(encoding="utf-8"))


def version() -> str:
    """The studio's version, or "unknown" where it runs from a checkout that was never installed."""
    try:
        return importlib.metadata.version("studio128")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


class Origin(BaseModel):
    """Our record of one artifact. `request` holds the fields of the whole request, `index` and `seed` say which of its
    pictures this is, `how` what else it takes to make it again bit for bit. `vector` is its place in the semantic space
    named `space`: float16 as base64, finer than any two pictures that a person can tell apart.
    `candidates` are those of a caption that were not taken; it is not `known` where it says that the model can't tell.
    `credits` are the stored drawings that it was drawn from, and those that pictures were which it was made from;
    `redrawn` the things that were drawn again.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    version: str
    job_id: str
    digest: str
    index: int = Field(ge=0, lt=2**31)
    seed: int = Field(ge=0, lt=2**64)
    score: float | None = None
    how: dict[str, Any] = {}
    space: str = ""
    vector: str = ""
    candidates: tuple[tuple[str, float], ...] = ()
    known: bool = True
    read_as: str = ""
    credits: tuple[Credit, ...] = ()
    redrawn: tuple[Redraw, ...] = ()
    request: dict[str, Any]


def origin(job: Job, artifact: Artifact) -> Origin:
    """The record of a finished artifact. Pictures that it was made from are named by file name and content."""
    facts: dict[str, Any] = {name: getattr(artifact, name) for name in SAME}
    if artifact.vector:
        facts |= {"space": artifact.space, "vector": b64encode(as_bytes(artifact.vector)).decode()}
    request = {**nameless(job.request.model_dump(mode="json")), "model": public_name(job.request.model)}
    return Origin(version=version(), job_id=job.id, digest=job.digest, request=request, **facts)


def placed(artifact: Artifact, record: dict[str, Any]) -> Artifact:
    """An artifact with the vector, index, seed and score in its file's record."""
    vector = b64decode(record.get("vector", ""))
    if vector and len(vector) % 2 == 0:
        place = from_bytes(vector, len(vector) // 2)[0]
        artifact = replace(artifact, space=str(record.get("space", "")), vector=tuple(place.tolist()))
    return replace(artifact, index=int(record["index"]), seed=int(record["seed"]), score=record.get("score"))


@dataclass(frozen=True)
class Provenance:
    """What a file says of its origin: A1111's text, our record as JSON under its keyword, and its credits."""

    parameters: str
    record: str
    keyword: str = OWN
    credits: tuple[Credit, ...] = ()

    def with_how(self, **how: int | str) -> "Provenance":
        """What a file says that is made from this one, and how: the number of a `frame`, the colour behind a clip."""
        record = Origin.model_validate_json(self.record)
        return replace(self, record=record.model_copy(update={"how": {**record.how, **how}}).model_dump_json())


def provenance(job: Job, artifact: Artifact) -> Provenance:
    """What the file of a finished artifact says."""
    size = (artifact.width, artifact.height) if artifact.width else None
    record = origin(job, artifact)
    return Provenance(parameters(job, artifact.seed, size), record.model_dump_json(), credits=record.credits)


def is_picture(value: object) -> bool:
    """Whether a part of a request, as plain values, is a picture file."""
    return isinstance(value, dict) and set(value) == {"path", "sha256"}


def nameless(value: Any) -> Any:
    """Plain values without folders: the file is passed on, and the folders of whoever made it are private."""
    if isinstance(value, list | tuple):
        return [nameless(part) for part in value]
    if not isinstance(value, dict):
        return value
    if is_picture(value):
        name = re.split(r"[/\\]", str(value["path"]))[-1]
        return {**value, "path": name.encode(errors="replace").decode()}
    return {key: nameless(part) for key, part in value.items()}


def public_name(model: str) -> str:
    """A model without the folders of whoever has it: "diffusers:/home/me/sd" is "diffusers:sd"."""
    kind, colon, name = model.partition(":")
    parts = re.split(r"[/\\]", name.rstrip("/\\"))
    is_path = len(parts) > 2 or (parts[0] in ("", ".", "..", "~") and len(parts) > 1)
    return f"{kind}{colon}{parts[-1]}" if is_path else model


def parameters(job: Job, seed: int, size: tuple[int, int] | None = None) -> str:
    """The text that A1111 and programs like it read: prompts, then a line of three settings or more."""
    names = ("steps", "scheduler", "guidance", "style", "strength")
    fields = {name: getattr(job.request, name, None) for name in names}
    drawing = {
        "Steps": fields["steps"],
        "Sampler": fields["scheduler"],
        "CFG scale": None if fields["guidance"] is None else f"{fields['guidance']:g}",
        "Seed": seed,
    }
    settings: dict[str, object] = {
        **(drawing if job.request.task in ("image", "clip") else {}),
        "Size": f"{size[0]}x{size[1]}" if size else None,
        "Model hash": job.digest[:10],
        "Model": public_name(job.request.model).removeprefix("diffusers:"),
        "Style": fields["style"],
        "Denoising strength": fields["strength"],
        "Version": f"Studio 128 {version()}",
    }
    return a1111_text(getattr(job.request, "prompt", ""), getattr(job.request, "negative", ""), settings)


def a1111_text(prompt: str, negative: str, settings: dict[str, object]) -> str:
    """A prompt, a negative prompt and a line of settings as A1111 writes them; empty settings are left out."""
    texts = {key: str(value) for key, value in settings.items() if value not in ("", None)}
    quoted = {key: json.dumps(text, ensure_ascii=False) for key, text in texts.items() if re.search(r'[,:\n"]', text)}
    line = ", ".join(f"{key}: {text}" for key, text in {**texts, **quoted}.items())
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else []), line])


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_texts(texts: dict[str, str]) -> dict[str, Any]:
    """The settings of our record, else of A1111's text; `{}` where there is neither.

    Ours are an `Origin`; A1111's are `program` and, where given, `prompt`, `negative`, `steps`, `guidance`, `seed`,
    `scheduler`, `size` ("512x512"), `model`, `style`, and what has no name here under `other`.
    """
    if record := parse_record(texts.get(OWN, "")):
        return record
    settings = parse_parameters(texts.get("parameters", ""))
    return {"program": "A1111", **settings} if settings else {}


def parse_record(text: str) -> dict[str, Any]:
    """Our record."""
    try:
        record = Origin.model_validate(parsed(text))
    except (ValidationError, RecursionError):
        return {}
    # Lists, as in JSON.
    lists: dict[str, Any] = {"candidates": list(map(list, record.candidates))}
    lists |= {name: [asdict(row) for row in getattr(record, name)] for name in ("credits", "redrawn")}
    return {**record.model_dump(), **lists}


def parse_parameters(text: str) -> dict[str, Any]:
    """A1111's text: prompt, "Negative prompt:" at the start of a line, then a last line of three or more settings."""
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last) if len(last) <= LAST_LINE else []
    if len(pairs) < 3:
        return {}
    stripped = [line.strip() for line in lines]
    negatives = [i for i, line in enumerate(stripped) if line.startswith("Negative prompt:")]
    cut = negatives[0] if negatives else len(stripped)
    negative = "\n".join(line.removeprefix("Negative prompt:").strip() for line in stripped[cut:])
    settings = {key.strip(): _unquoted(value.strip()) for key, value in pairs}
    known = {ours: settings.pop(theirs) for ours, theirs in PROGRAMS["a1111"].items() if theirs in settings}
    return _settings({"prompt": "\n".join(stripped[:cut]), "negative": negative, **known}, settings)


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    value = parsed(text)
    return value if isinstance(value, str) else text


def parsed(text: str) -> Any:
    """JSON, without the numbers that are none; None where it is not JSON or goes too deep."""
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    level = [value]
    for _ in range(DEPTH):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [part for whole in inside for part in whole]
    return None if level else value


def _finite(text: str) -> float | None:
    return float(text) if math.isfinite(float(text)) else None


def _settings(known: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """With whole numbers and numbers as such. What is no number where one is due joins the others."""
    kinds: dict[str, Callable[[Any], Any]] = {"steps": _whole, "seed": _whole, "guidance": _number}
    settings = {}
    for name, value in known.items():
        fit = kinds.get(name, str)(value) if value is not None else None
        if fit is not None:
            settings[name] = fit
        elif value is not None:
            other[name] = value
    useful = any(name in settings for name in ("prompt", "seed", "steps"))
    return {**settings, **({"other": other} if other else {})} if useful else {}


def _whole(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?\d{1,20}", text, re.ASCII) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
