"""What a picture's file says of where it comes from: our own record, and A1111's text for everybody else."""

import importlib.metadata
import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.references.credits import Credit
from studio.media import Artifact, as_bytes, from_bytes
from studio.planner import Job

OWN = "studio"  # keyword of our record
SAME = ("index", "seed", "score", "how", "candidates", "known", "read_as", "credits")  # in the record and the artifact


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
    `credits` are the stored drawings that it was drawn from, and those that pictures were which it was made from.
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
    line = ", ".join(f"{key}: {_quoted(value)}" for key, value in settings.items() if value not in ("", None))
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else []), line])


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text
