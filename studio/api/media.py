"""What HTTP and tools know of a medium: how a stored file is described, and how its bytes are served."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse, Response

from studio.api.routing import Rejected
from studio.events import Saved
from studio.gallery import Gallery, Kept

PREFIX = "/api/v1"
# A file is named by its content: it never changes.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def describe_saved(saved: Saved) -> dict[str, Any]:
    """A file that a job made, as JSON; it is named by its sha256."""
    path = Path(saved.path)
    facts = {name: value for name, value in asdict(saved).items() if name != "path"}
    place = {"sha256": path.stem, "url": f"{PREFIX}/gallery/{path.stem}/file"}
    return {**facts, **place, "seconds": round(saved.seconds, 3)}


def describe_kept(kept: Kept) -> dict[str, Any]:
    """A file of the gallery, as JSON."""
    facts = {name: value for name, value in asdict(kept).items() if name != "path"}
    place = f"{PREFIX}/gallery/{kept.sha256}"
    return {**facts, "url": f"{place}/file", "thumbnail": f"{place}/thumbnail"}


def file_response(kept: Kept) -> Response:
    """The stored file, byte for byte; 404 where it is gone."""
    if kept.path.is_symlink() or not kept.path.is_file():
        raise Rejected(404, "api.file_gone")
    return FileResponse(kept.path, media_type=kept.media_type, headers=FOREVER)


def thumbnail(gallery: Gallery, kept: Kept) -> tuple[bytes, str]:
    """A small preview and its media type; 404 where the file is gone."""
    try:
        data = gallery.thumbnail(kept.sha256)
    except KeyError as error:
        raise Rejected(404, "api.file_gone") from error
    return data, "image/webp" if data[:4] == b"RIFF" else kept.media_type


def thumbnail_response(gallery: Gallery, kept: Kept) -> Response:
    """The small preview."""
    data, kind = thumbnail(gallery, kept)
    return Response(data, media_type=kind, headers=FOREVER)
