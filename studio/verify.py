"""Make an artifact again from what its file says, and compare: is this what the studio makes of these settings?

Artifacts of a visual medium are compared by their pixels, all others by their bytes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.data.pixels import premultiply
from models.messages import Refused
from studio import media
from studio.backends.base import MODELS, Backend, open_backend, run
from studio.capabilities import Capabilities
from studio.export.clips import FORMATS, Clip, clip_file
from studio.export.make import Wanted
from studio.media import Artifact
from studio.metadata.files import KINDS as FILES
from studio.metadata.files import content, encoded, media_type, read_bytes, strip
from studio.metadata.origin import Origin, version
from studio.metadata.restore import restore
from studio.planner import job_id, resolve
from studio.requests import REQUESTS, make_request

CLOSE = 40.0  # dB; what another processor or number type does is well above
CLOSE_STEP = 16  # levels of 255: rounding moves all pixels a little, a brush moves some of them a lot
COLOURS = {"matte", "ground"}  # what an export may have put behind a clip
MEDIA_TYPES = {kind.media_type: name for name, kind in FILES.items()}
MOVING = {kind.media_type: name for name, kind in FORMATS.items()}


@dataclass(frozen=True)
class Verdict:
    """`result` is identical, close or different. `psnr` is in dB, of premultiplied RGBA; None where all that shows is
    equal and where sizes differ. `why` says what differs, nothing where nothing does.
    """

    result: str
    psnr: float | None
    why: str


def verify(path: Path, model: str | None = None, opener: Callable[[str], Backend] = open_backend) -> Verdict:
    """Make the artifact in `path` again, alone, from its seed in the shape that it was made in, and compare.

    `model` is the backend to do it, else the one that the file names. Refused where the file holds no record of ours,
    or where it can't be made here any more.
    """
    data = content(path)
    settings = read_bytes(data, path)
    if "request" not in settings:
        raise Refused("metadata.no_record", file=str(path))
    record, kind, before = Origin.model_validate(settings), media_type(data, path), strip(data, path)
    pixels = None if kind in media.media_types(visual=False).values() else _pixels(Clip.read(path, before).frames)
    wanted = Wanted(format="mp4", matte=str(record.how.get("matte", "")), ground=str(record.how.get("ground", "white")))
    named = str(record.request.get("model"))
    if not model and named not in MODELS:  # one with an argument may be any folder or address: only the user says that
        raise Refused("metadata.say_model", file=str(path), model=named)
    backend = opener(model or named)
    request = _request(path, settings, backend.capabilities())
    backend.load()
    artifact = next(event for event in run(backend, request) if isinstance(event, Artifact))
    number = record.how.get("frame")  # of a picture that was taken from a clip
    if isinstance(number, int) and 1 <= number <= artifact.frames:
        artifact = media.image(media.frames(artifact.data)[number - 1], how={**artifact.how, "frame": number})
    differences = _differences(record, backend.digest(), artifact)
    if pixels is None or not artifact.medium.visual:
        if before == artifact.data:
            return Verdict("identical", None, "")
        return Verdict("different", None, "; ".join(differences) or _tampered(record, "the content was"))
    again = artifact.data
    if kind != artifact.media_type:  # as the file was encoded, with its losses
        if kind in MOVING and (artifact.kind == "clip" or kind not in MEDIA_TYPES):
            again = clip_file(Clip.read("", artifact.data), MOVING[kind], **wanted.colours(MOVING[kind]))
        else:
            again = encoded(media.frames(artifact.data)[0], None, MEDIA_TYPES[kind])
    return _verdict(pixels, _pixels(media.frames(again)), differences, record)


def _request(path: Path, settings: dict[str, Any], can: Capabilities) -> Any:
    # Another model is a matter of its digest.
    known = {**settings, "request": {**settings["request"], "model": "embedded"}}
    again = restore(known, can, path.parent, tuple(REQUESTS))
    if again.lost:
        raise Refused("metadata.not_again", file=str(path), why=again.lost[0])
    return resolve(make_request(**again.fields), can)


def _pixels(frames: Iterable[Image.Image]) -> np.ndarray:
    """Frames as straight RGBA, (F, H, W, 4)."""
    return np.stack(list(map(np.asarray, frames)))


def _differences(record: Origin, digest: str, artifact: Artifact) -> list[str]:
    """What differs from when the artifact was made: model, version, or how it was made."""
    differences = []
    if record.digest != digest:
        differences.append(f"made with another model ({record.digest[:10]}, here {digest[:10]})")
    if record.version != version():
        differences.append(f"made by version {record.version}, this is {version()}")
    for name in sorted({*record.how, *artifact.how} - COLOURS):
        before, here = record.how.get(name, "unknown"), artifact.how.get(name, "unknown")
        if before != here:
            differences.append(f"made with {name} {before}, here {here}")
    return differences


def _verdict(before: np.ndarray, after: np.ndarray, differences: list[str], record: Origin) -> Verdict:
    if before.shape != after.shape:
        sizes = [_size(frames) for frames in (before, after)]
        return Verdict("different", None, "; ".join([f"it is {sizes[0]} and was made as {sizes[1]}", *differences]))
    if np.array_equal(before, after):
        return Verdict("identical", None, "")
    step = np.abs(premultiply(before).astype(float) - premultiply(after))
    mean = float(np.square(step).mean())
    if not mean:
        return Verdict("close", None, "only the colours of invisible pixels differ")
    psnr = round(10 * math.log10(255**2 / mean), 2)
    if psnr >= CLOSE and step.max() <= CLOSE_STEP:
        why = "; ".join(differences) or "the last bits differ, as they do on another processor"
        return Verdict("close", psnr, why)
    return Verdict("different", psnr, "; ".join(differences) or _tampered(record))


def _size(frames: np.ndarray) -> str:
    count = f", {len(frames)} frames" if len(frames) > 1 else ""
    return f"{frames.shape[2]}x{frames.shape[1]}{count}"


def _tampered(record: Origin, what: str = "the pixels were") -> str:
    """Same model and version, other content: the file was edited, and the job's id tells whether its settings were."""
    try:
        same = job_id(make_request(**record.request), record.digest) == record.job_id
    except Refused:
        same = False
    return f"{what if same else 'the settings were'} changed after it was made"
