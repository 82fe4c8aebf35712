"""PNG files that say where they come from: A1111's `parameters` text, our own JSON, and the XMP mark for AI pictures.

Text chunks are iTXt, so that any language survives. What a file says is untrusted: sizes are capped, and it is only
ever shown as text.
"""

import importlib.metadata
import io
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.data.pixels import FORMATS, MAX_BYTES
from studio.capabilities import Refused
from studio.events import Result
from studio.requests import ImageRequest
from studio.vectors import as_bytes

OWN = "studio"  # keyword of our chunk
TEXT_LIMIT = 2**20  # characters of a chunk that are looked at

# IPTC's term for pictures made wholly by a trained model (cv.iptc.org/newscodes/digitalsourcetype).
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def version() -> str:
    """The studio's version, or "unknown" where it runs from a checkout that was never installed."""
    try:
        return importlib.metadata.version("studio128")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Job:
    """A resolved request, its identity and the digest of the model that does it."""

    request: ImageRequest
    id: str
    digest: str


def png_bytes(result: Result, job: Job) -> bytes:
    """A PNG file of a finished picture, with its origin inside."""
    info, picture = PngInfo(), result.picture
    info.add_itxt("parameters", parameters(job, result.seed, picture.size))
    info.add_itxt(OWN, json.dumps(_own(job, result), ensure_ascii=False))
    info.add_itxt("XML:com.adobe.xmp", XMP)
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def parameters(job: Job, seed: int, size: tuple[int, int]) -> str:
    """The text that A1111 and its kin write and read. They take the last line for settings, if it has three or more."""
    request = job.request
    settings = {
        "Steps": request.steps,
        "Sampler": request.scheduler,
        "CFG scale": f"{request.guidance:g}",
        "Seed": seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": job.digest[:10],
        "Model": request.model,
        "Style": request.style,
        "Denoising strength": request.strength,
        "Version": f"Studio 128 {version()}",
    }
    line = ", ".join(f"{key}: {_quoted(value)}" for key, value in settings.items() if value not in ("", None))
    negative = [f"Negative prompt: {request.negative}"] if request.negative else []
    return "\n".join([request.prompt, *negative, line])


def read(path: Path) -> dict[str, Any]:
    """What the file says about itself: our JSON, else A1111's settings, else `{}`. Refused where it is no picture."""
    if not path.is_file():
        raise Refused(f"{path} is {'a folder' if path.is_dir() else 'not there'}; give a picture file.")
    if path.stat().st_size > MAX_BYTES:
        raise Refused(f"{path} is larger than {MAX_BYTES >> 20} MB; give a smaller picture.")
    texts = _texts(path)
    own = _own_of(texts.get(OWN, ""))
    return own or parse_parameters(texts.get("parameters", ""))


def parse_parameters(text: str) -> dict[str, Any]:
    """A1111's text -> `{prompt, negative, steps, scheduler, guidance, seed, ...}`; `{}` where it is none."""
    *lines, last = text[:TEXT_LIMIT].strip().split("\n")
    pairs: dict[str, str] = dict(re.findall(r'\s*([\w /-]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', last))
    if len(pairs) < 3:
        return {}
    prompt, _, negative = "\n".join(lines).partition("Negative prompt:")
    names: dict[str, str] = {"Steps": "steps", "Sampler": "scheduler", "CFG scale": "guidance", "Seed": "seed"}
    settings = {names.get(key, key): _unquoted(value) for key, value in pairs.items()}
    return {"prompt": prompt.strip(), "negative": negative.strip(), **settings}


def _own(job: Job, result: Result) -> dict[str, Any]:
    fields = job.request.model_dump(mode="json")
    for picture in [fields["like"], fields["image"], fields["mask"], *(part["picture"] for part in fields["mix"])]:
        if picture:  # the file travels; where its maker keeps his pictures is nobody's business
            picture["path"] = Path(picture["path"]).name
    made: dict[str, Any] = {"index": result.index, "seed": result.seed, "score": result.score, "how": result.how}
    if result.vector:  # float16 is finer than any two pictures that a person can tell apart
        made |= {"space": result.space, "vector": b64encode(as_bytes(result.vector)).decode()}
    return {"version": version(), "job_id": job.id, "digest": job.digest, **made, "request": fields}


def _texts(path: Path) -> dict[str, str]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            text: dict[Any, Any] = getattr(picture, "text", None) or picture.info
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refused(f"{path} is not a picture that can be read ({', '.join(FORMATS)}).") from error
    return {str(key): str(value) for key, value in text.items() if isinstance(value, str)}


def _own_of(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text[:TEXT_LIMIT])
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("request"), dict) else {}


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def _unquoted(text: str) -> str:
    try:
        return json.loads(text) if text.startswith('"') else text.strip()
    except ValueError:
        return text.strip()
