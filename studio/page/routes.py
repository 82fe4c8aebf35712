"""What the page fetches beside Gradio's own: pictures, small ones, files made ready for other programs, and news."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response
from PIL import Image

from models.messages import Refused
from studio.export.apps import APPS, fit
from studio.export.drawing import Drawing, Larger, both
from studio.export.svg import svg
from studio.metadata import encoded
from studio.page import downloads
from studio.page.frame import Frame
from studio.page.pulse import Pulse
from studio.page.refusals import in_language
from studio.page.words import language

# A picture is named by what it holds: it never changes. What is made of it does, with the studio.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
ANEW = {"cache-control": "no-cache"}
TYPES = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".zip": "application/zip",
}


def router(frame: Frame) -> APIRouter:
    """The routes of one page."""
    routes, pulse, gallery = APIRouter(include_in_schema=False), Pulse(frame.studio), frame.studio.gallery

    @routes.get("/pictures/{name}")
    def picture(name: str) -> FileResponse:
        path = frame.picture(name)
        if path is None:
            raise HTTPException(404, "no such picture")
        return FileResponse(path, media_type="image/png", headers=FOREVER)

    @routes.get("/thumbnails/{name}")
    def thumbnail(name: str) -> Response:
        if frame.picture(name) is None:
            raise HTTPException(404, "no such picture")
        data = gallery.thumbnail(name.removesuffix(".png"))
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/webp"
        return Response(data, media_type=kind, headers=FOREVER)

    @routes.get("/downloads/{digest}/{use}")
    def download(request: Request, digest: str, use: str, outline: bool = False) -> Response:
        path, spoken = frame.picture(f"{digest}.png"), language(request.headers)
        if use not in APPS and use not in ("png", "svg"):
            raise HTTPException(404, "nothing that a picture can be made ready for")
        if path is None:
            raise HTTPException(404, in_language(downloads.GONE, spoken))
        try:
            data, suffix = made(path, use, outline, frame.larger)
        except Refused as refusal:
            raise HTTPException(422, in_language(str(refusal), spoken)) from refusal
        named = downloads.attached(f"{digest[:16]}-{use}{suffix}")
        return Response(data, media_type=TYPES[suffix], headers={**ANEW, **named})

    @routes.get("/pulse")
    def beat(request: Request, job: str = "") -> dict[str, Any]:
        return pulse.beat(job, language(request.headers))

    routes.include_router(downloads.router(frame))
    return routes


def made(path: Path, use: str, outline: bool, larger: Larger) -> tuple[bytes, str]:
    """A picture of the gallery as a file for `use`: "png", "svg" or one of APPS, with a white outline or without."""
    app = APPS.get(use)
    picture, more = both(path, downloads.opened(path), app.sizes[0] if app else None, larger, outline)
    if use == "svg":
        return svg(picture).encode(), ".svg"
    return fit(Drawing(picture, more), app) if app else (_png(picture), ".png")


def _png(picture: Image.Image) -> bytes:
    return encoded([picture], None, "png")
