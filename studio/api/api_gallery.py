"""The gallery and its search, for programs."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import FileResponse, Response

from models.messages import Refused
from studio.api.api_models import LARGEST, SHA256, HitOut, Hits, KeptOut, MarksIn, Page
from studio.gallery import PAGE, Filter, Kept
from studio.studio import Studio

Digest = Annotated[str, Path(pattern=SHA256, description="sha256 of the picture's file.")]
Maybe = Annotated[str | None, Query(pattern=SHA256, description="sha256 of a picture of the gallery.")]
Name = Annotated[str, Query(max_length=200)]
TYPES = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".avif": "image/avif"}
# A picture is named by what it holds: it never changes.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
GONE = "the picture's file is gone; `studio doctor` says what to do."
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A picture file."}}


def wanted(
    style: Name = "",
    model: Name = "",
    tag: Name = "",
    board: Name = "",
    starred: bool = False,
    rating: Annotated[int, Query(ge=0, le=5, description="At least.")] = 0,
    since: Annotated[float | None, Query(description="Seconds since the epoch.")] = None,
    until: float | None = None,
    deleted: Annotated[bool, Query(description="Those in the bin instead.")] = False,
) -> Filter:
    """Which pictures: all that is given must hold."""
    return Filter(style, model, tag, board, starred, rating, since, until, deleted)


class Gallery:
    """Finished pictures."""

    def __init__(self, studio: Studio, model: str) -> None:
        self._studio, self._gallery, self._model = studio, studio.gallery, model

    def add_to(self, routes: APIRouter) -> None:
        """All routes of this file."""
        tag: dict[str, Any] = {"tags": ["gallery"]}
        routes.add_api_route("/gallery", self.page, methods=["GET"], **tag)
        routes.add_api_route("/gallery/{sha256}", self.get, methods=["GET"], **tag)
        routes.add_api_route("/gallery/{sha256}", self.mark, methods=["PATCH"], **tag)
        routes.add_api_route("/gallery/{sha256}", self.delete, methods=["DELETE"], **tag)
        routes.add_api_route("/gallery/{sha256}/restore", self.restore, methods=["POST"], **tag)
        shown: dict[str, Any] = {"methods": ["GET"], "response_class": Response, "responses": PICTURE, **tag}
        routes.add_api_route("/gallery/{sha256}/file", self.file, **shown)
        routes.add_api_route("/gallery/{sha256}/thumbnail", self.thumbnail, **shown)
        routes.add_api_route("/search", self.search, methods=["GET"], **tag)

    def page(
        self,
        where: Annotated[Filter, Depends(wanted)],
        before: Annotated[int | None, Query(ge=0, le=LARGEST, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> Page:
        """Pictures, newest first."""
        kept = self._gallery.page(where, before, limit + 1)
        shown = kept[:limit]
        follows = shown[-1].number if len(kept) > limit else None
        return Page(pictures=[KeptOut.of(one) for one in shown], next=follows, count=self._gallery.count(where))

    def get(self, sha256: Digest) -> KeptOut:
        """One picture; the bin's too."""
        return KeptOut.of(self._kept(sha256))

    def mark(self, sha256: Digest, body: MarksIn) -> KeptOut:
        """Star, rate, note, tag a picture, or put it on boards. What is left out stays; lists are given whole."""
        changes = {name: value for name, value in body if value is not None}
        self._kept(sha256)
        self._gallery.mark([sha256], **changes)
        return self.get(sha256)

    def delete(self, sha256: Digest) -> KeptOut:
        """Put a picture in the bin."""
        self._kept(sha256)
        self._gallery.delete([sha256])
        return self.get(sha256)

    def restore(self, sha256: Digest) -> KeptOut:
        """Take a picture out of the bin."""
        self._kept(sha256)
        self._gallery.restore([sha256])
        return self.get(sha256)

    def file(self, sha256: Digest) -> Response:
        """The file itself, byte for byte."""
        path = self._kept(sha256).path
        if path.is_symlink() or not path.is_file():
            raise HTTPException(404, GONE)
        return FileResponse(path, media_type=TYPES.get(path.suffix), headers=FOREVER)

    def thumbnail(self, sha256: Digest) -> Response:
        """A small picture of it, at most 128 pixels a side."""
        path = self._kept(sha256).path
        try:
            data = self._gallery.thumbnail(sha256)
        except KeyError as error:
            raise HTTPException(404, GONE) from error
        small = data[:4] == b"RIFF"
        return Response(data, media_type="image/webp" if small else TYPES.get(path.suffix), headers=FOREVER)

    async def search(
        self,
        where: Annotated[Filter, Depends(wanted)],
        words: Annotated[str, Query(max_length=2_000)] = "",
        like: Maybe = None,
        without: Annotated[str, Query(max_length=2_000, description="Words that are taken away.")] = "",
        unlike: Maybe = None,
        k: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 20,
        meaning: Annotated[bool, Query(description="Else only what says the words.")] = True,
    ) -> Hits:
        """Pictures by words, by likeness to a picture of the gallery, or by both, and away from others."""
        if without and unlike:  # one of them is all that `asearch` takes
            raise Refused("words or a picture can be taken away, not both; leave one of them out.")
        pictures = [digest and (await to_thread.run_sync(self._kept, digest)).path for digest in (like, unlike)]
        hits = await self._studio.asearch(
            words,
            like=pictures[0] or None,
            without=pictures[1] or without,
            k=k,
            wanted=where,
            meaning=meaning,
            model=self._model,
        )
        return Hits(hits=[HitOut(picture=KeptOut.of(hit.picture), score=hit.score) for hit in hits])

    def _kept(self, sha256: str) -> Kept:
        try:
            return self._gallery.get(sha256)
        except KeyError as error:
            raise HTTPException(404, f"there is no picture {sha256}.") from error
