"""The gallery and its search, for programs; how jobs and stored files are described, and how files are served."""

import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import FileResponse, Response
from pydantic import AfterValidator

from models.messages import Refused
from models.references.credits import lines
from studio import inputs
from studio.api.routing import Rejected, Route, Served, ServedStudio
from studio.api.schemas import LARGEST, SHA256, AnnotationsIn, CreditsOut, Hits, ItemOut, JobOut, Page
from studio.api.uploads import in_turn
from studio.clips import MAX_FRAMES, ClipFile
from studio.events import Saved
from studio.export.clips import FORMATS
from studio.export.make import Wanted, bundled, exported, stills
from studio.gallery import PAGE, Filter, Gallery, GalleryItem
from studio.media import MEDIA, is_webp
from studio.metadata.files import credits_in
from studio.metadata.origin import nameless
from studio.queue import QueuedJob
from studio.studio import Studio

PREFIX = "/api/v1"
# A file is named by its content: it never changes.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
Digest = Annotated[str, Path(pattern=SHA256, description="sha256 of the picture's file.")]
OptionalDigest = Annotated[str | None, Query(pattern=SHA256, description="sha256 of a picture of the gallery.")]
Name = Annotated[str, Query(max_length=200)]


def _known_kind(kind: str) -> str:
    if kind and kind not in MEDIA:
        raise ValueError(f"there are {', '.join(MEDIA)}")
    return kind


Kind = Annotated[
    str,
    AfterValidator(_known_kind),
    Query(description="Of this kind.", json_schema_extra={"enum": ["", *MEDIA]}),
]
FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/*": {}, "text/plain": {}}, "description": "A file."}}

routes = APIRouter(route_class=Route, tags=["gallery"])


def chosen(
    style: Name = "",
    model: Name = "",
    kind: Kind = "",
    tag: Name = "",
    board: Name = "",
    starred: bool = False,
    rating: Annotated[int, Query(ge=0, le=5, description="At least.")] = 0,
) -> Filter:
    """Which pictures, whenever they were made and whether they are in the bin or not."""
    return Filter(style, model, kind, tag, board, starred, rating)


Chosen = Annotated[Filter, Depends(chosen)]


def wanted(
    chosen: Chosen,
    since: Annotated[float | None, Query(description="Seconds since the epoch.")] = None,
    until: float | None = None,
    deleted: Annotated[bool, Query(description="Those in the bin instead.")] = False,
) -> Filter:
    """Which pictures: all that is given must hold."""
    return replace(chosen, since=since, until=until, deleted=deleted)


Where = Annotated[Filter, Depends(wanted)]


def describe_saved(saved: Saved) -> dict[str, Any]:
    """A file that a job made, as JSON; it is named by its sha256."""
    facts = asdict(saved)
    sha256 = FilePath(facts.pop("path")).stem
    return {**facts, "sha256": sha256, "url": f"{PREFIX}/gallery/{sha256}/file", "seconds": round(saved.seconds, 3)}


def describe_jobs(studio: Studio, jobs: Sequence[QueuedJob]) -> dict[str, Any]:
    """Jobs and the state of the queue, as JSON."""
    queue, line = studio.queue, studio.queue.line()
    listed = [describe_queued(studio, job, line.get(job.id, 0)) for job in jobs]
    notice = str(studio.trouble() or "")
    return {"jobs": listed, "counts": queue.counts(), "paused": queue.is_paused(), "notice": notice}


def describe_queued(studio: Studio, job: QueuedJob, ahead: int) -> dict[str, Any]:
    """A job with its pictures and how far it is, as JSON."""
    live = studio.store.progress.read(job.id)[1] if job.state != "waiting" else None
    return {
        **{name: value for name, value in vars(job).items() if name in JobOut.model_fields},
        "sentence": job.sentence,
        "unknown": [asdict(word) for word in live.unknown] if live else [],
        "read_as": live.read_as if live else "",
        "notes": list(map(str, inputs.notes(job.request))),
        "ahead": ahead,
        "progress": {"step": live.step, "total": live.total} if live and job.state == "running" else None,
        "pictures": [describe_saved(saved) for _, saved in sorted(studio.gallery.results(job.id, job).items())],
        "request": nameless(job.request.model_dump(mode="json")),
    }


def describe_item(item: GalleryItem) -> dict[str, Any]:
    """A file of the gallery, as JSON."""
    facts, place = asdict(item), f"{PREFIX}/gallery/{item.sha256}"
    del facts["path"]
    return {**facts, "url": f"{place}/file", "thumbnail": f"{place}/thumbnail"}


@routes.get("/gallery", response_model=Page)
def page(
    served: ServedStudio,
    where: Where,
    before: Annotated[int | None, Query(ge=0, le=LARGEST, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> Any:
    """Pictures, newest first."""
    gallery = served.studio.gallery
    items = gallery.page(where, before, limit + 1)
    follows = items[limit - 1].number if len(items) > limit else None
    return {"pictures": list(map(describe_item, items[:limit])), "next": follows, "count": gallery.count(where)}


@routes.get("/gallery/{sha256}", response_model=ItemOut)
def get(served: ServedStudio, sha256: Digest) -> Any:
    """One picture; the bin's too."""
    return describe_item(item_of(served.studio.gallery, sha256))


@routes.patch("/gallery/{sha256}", response_model=ItemOut)
def annotate(served: ServedStudio, sha256: Digest, body: AnnotationsIn) -> Any:
    """Star, rate, note, tag a picture, or put it on boards. Fields that are left out stay; lists are replaced whole."""
    changes = {name: value for name, value in body if value is not None}
    return _changed(served.studio.gallery, sha256, lambda names: served.studio.gallery.mark(names, **changes))


@routes.delete("/gallery/{sha256}", response_model=ItemOut)
def delete(served: ServedStudio, sha256: Digest) -> Any:
    """Put a picture in the bin."""
    return _changed(served.studio.gallery, sha256, served.studio.gallery.delete)


@routes.post("/gallery/{sha256}/restore", response_model=ItemOut)
def restore(served: ServedStudio, sha256: Digest) -> Any:
    """Take a picture out of the bin."""
    return _changed(served.studio.gallery, sha256, served.studio.gallery.restore)


@routes.get("/gallery/{sha256}/credits", response_model=CreditsOut)
def credits(served: ServedStudio, sha256: Digest) -> Any:
    """Whom a picture or clip is owed to."""
    owed = credits_in(item_of(served.studio.gallery, sha256).path)
    return {"credits": owed, "lines": lines(owed)}


@routes.get("/gallery/{sha256}/file", response_class=Response, responses=FILE)
def file(served: ServedStudio, sha256: Digest) -> Response:
    """The file itself, byte for byte."""
    return file_response(item_of(served.studio.gallery, sha256))


def file_response(item: GalleryItem) -> Response:
    """The stored file, byte for byte; 404 where it is gone."""
    if not item.path.is_file():
        raise Rejected(404, "api.file_gone")
    return FileResponse(item.path, media_type=item.media_type, headers=FOREVER)


@routes.get("/gallery/{sha256}/frames/{number}", response_class=Response, responses=FILE)
def frame(served: ServedStudio, sha256: Digest, number: Annotated[int, Path(ge=1, le=MAX_FRAMES)]) -> Response:
    """A frame of a clip as PNG; the first is 1."""
    try:
        clip = ClipFile.open(item_of(served.studio.gallery, sha256).path)
    except Refused as refusal:
        raise Rejected(404, "api.file_gone") from refusal
    if number > clip.count:
        raise Rejected(404, "clip.no_such_frame", frames=clip.count, number=number)
    _, data = next(stills(clip, [number]))
    return Response(data, media_type="image/png", headers=FOREVER)


@routes.get("/gallery/{sha256}/export", response_class=Response, responses=FILE)
async def export(served: ServedStudio, sha256: Digest, wanted: Annotated[Wanted, Depends()]) -> Response:
    """A picture or clip made ready for something; several files come as a ZIP."""
    return await in_turn(_exported, served, sha256, wanted)


def _exported(served: Served, sha256: str, wanted: Wanted) -> Response:
    item, larger = item_of(served.studio.gallery, sha256), partial(served.studio.larger, model=served.model)
    if not item.medium.visual or not item.path.is_file():
        raise Rejected(404, "api.no_picture", sha256=sha256)
    name, data = bundled(exported(item.path, wanted, larger), credits_in(item.path))
    kinds = {kind.suffix: kind.media_type for kind in FORMATS.values()}
    kind = kinds.get(FilePath(name).suffix) or mimetypes.guess_type(name)[0]
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


@routes.get("/gallery/{sha256}/thumbnail", response_class=Response, responses=FILE)
def thumbnail(served: ServedStudio, sha256: Digest) -> Response:
    """A small picture of it, at most 128 pixels a side."""
    data, kind = small(served.studio.gallery, item_of(served.studio.gallery, sha256))
    return Response(data, media_type=kind, headers=FOREVER)


def small(gallery: Gallery, item: GalleryItem) -> tuple[bytes, str]:
    """A small preview and its media type; 404 where the file is gone."""
    try:
        data = gallery.thumbnail(item.sha256)
    except KeyError as error:
        raise Rejected(404, "api.file_gone") from error
    return data, "image/webp" if is_webp(data) else item.media_type


@routes.get("/search", response_model=Hits)
async def search(
    served: ServedStudio,
    where: Where,
    words: Annotated[str, Query(max_length=2_000)] = "",
    like: OptionalDigest = None,
    without: Annotated[str, Query(max_length=2_000, description="Words that are taken away.")] = "",
    unlike: OptionalDigest = None,
    k: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 20,
    meaning: Annotated[bool, Query(description="Else only what says the words.")] = True,
) -> Any:
    """Pictures by words, by likeness to a picture of the gallery, or by both, and away from others."""
    if without and unlike:  # `asearch` takes one of them
        raise Refused("api.words_or_picture")
    studio = served.studio
    near, far = [key and (await to_thread.run_sync(item_of, studio.gallery, key)).path for key in (like, unlike)]
    hits = await studio.asearch(
        words, like=near or None, without=far or without, k=k, wanted=where, meaning=meaning, model=served.model
    )
    return {"hits": [{"picture": describe_item(hit.picture), "score": hit.score} for hit in hits]}


def item_of(gallery: Gallery, sha256: str) -> GalleryItem:
    """A picture of the gallery, or of its bin; 404 where there is none."""
    try:
        return gallery.get(sha256)
    except KeyError as error:
        raise Rejected(404, "api.no_picture", sha256=sha256) from error


def _changed(gallery: Gallery, sha256: str, change: Callable[[list[str]], Any]) -> dict[str, Any]:
    """The picture after a change; 404 where there is none."""
    item_of(gallery, sha256)
    change([sha256])
    return describe_item(item_of(gallery, sha256))
