"""Files that tools write for a client: they lie in the home's cache for a day, and are read by their address."""

import base64
import mimetypes
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field

from studio.clips import ClipFile
from studio.files import UPLOAD, is_plain, make_folder, write_whole

RESOURCE = "studio://files/{folder}/{name}"
SHOWN = 8  # pictures shown in the chat, none of more than SMALL bytes; all files are linked
SMALL = 65_536
DRAWN = (".svg", ".json", ".zip")  # endings of files that have no pixels


class FileOut(BaseModel):
    """A file; of what has pixels, what is read back from it."""

    path: str = Field(description="Where it is for a day, on the computer where the studio runs.")
    uri: str = Field(description="The resource to read it by.")
    media_type: str
    bytes: int
    width: int = 0
    height: int = 0
    frames: int = 0
    seconds: float = Field(0.0, description="Of one play; 0 for a still picture.")


class Files(BaseModel):
    """Files that were written."""

    files: list[FileOut]


class FileStore:
    """Files below `root`, the cache of a home. The worker clears folders like these away once they are a day old."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def answer(self, files: Mapping[str, bytes]) -> CallToolResult:
        """Write files, by name, into a folder of their own, and tell of them."""
        make_folder(self._root)
        folder = Path(tempfile.mkdtemp(prefix=UPLOAD, dir=self._root))
        for name, data in files.items():
            write_whole(folder / name, data, "--home")
        told = [_told(folder / name) for name in files]
        blocks: list[ContentBlock] = [TextContent(type="text", text="\n".join(map(_line, told)))]
        blocks += [
            ImageContent(type="image", data=base64.b64encode(files[Path(one.path).name]).decode(), mime_type=kind)
            for one in told[:SHOWN]
            if (kind := one.media_type).startswith("image/") and one.width and one.bytes <= SMALL
        ]
        for one in told:
            name, kind = Path(one.path).name, one.media_type
            blocks.append(ResourceLink(type="resource_link", uri=one.uri, name=name, mime_type=kind, size=one.bytes))
        return CallToolResult(content=blocks, structured_content=Files(files=told).model_dump(mode="json"))

    def read(self, folder: str, name: str) -> bytes:
        """A file that a tool wrote."""
        for path in self._root.glob(f"{UPLOAD}*/*"):
            if (path.parent.name.removeprefix(UPLOAD), path.name) == (folder, name) and is_plain(path):
                return path.read_bytes()
        raise ResourceNotFoundError(f"there is no file {name} any more.")


def _told(path: Path) -> FileOut:
    facts: dict[str, Any] = {"bytes": path.stat().st_size}
    if path.suffix not in DRAWN:
        clip = ClipFile.open(path)
        facts |= {"width": clip.width, "height": clip.height, "frames": clip.count, "seconds": round(clip.seconds, 3)}
    uri = RESOURCE.format(folder=path.parent.name.removeprefix(UPLOAD), name=path.name)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileOut(path=str(path), uri=uri, media_type=kind, **facts)


def _line(file: FileOut) -> str:
    moving = f", {file.frames} frames, {file.seconds} s" if file.frames > 1 else ""
    size = f"{file.width} x {file.height}{moving}, " if file.width else ""
    return f"- {file.path} ({size}{file.bytes:,} bytes)"
