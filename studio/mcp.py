"""The studio as tools for chat programs, by the Model Context Protocol: make, edit and find pictures, manage the queue.

One server speaks over HTTP, beside the page, or over stdio. A tool answers with data for programs, and with text,
pictures and links for people and models that read along.
"""

import asyncio
import base64
import functools
import inspect
import mimetypes
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent, ToolAnnotations
from pydantic import BaseModel, Field
from starlette.routing import BaseRoute

from models.messages import Refused
from models.prompts.reading import Reading
from models.references.credits import lines
from studio import inputs
from studio.api.gallery import small
from studio.api.guard import BODY_LIMIT
from studio.api.uploads import Uploads, in_turn, uploads
from studio.backends.base import offered, open_backend
from studio.capabilities import Style
from studio.clips import ClipFile
from studio.doors import SETTINGS, ModelState, Setting, model_states, request_fields, with_settings
from studio.events import Progress, Saved, Unknown, not_drawn
from studio.export.make import Wanted, exported, stills
from studio.files import UPLOAD, is_plain, make_folder, write_whole
from studio.gallery import Gallery, GalleryItem
from studio.metadata.files import credits_in
from studio.metadata.origin import version
from studio.planner import Job
from studio.queue import QueuedJob, State
from studio.requests import PICTURES
from studio.studio import Studio

PATH = "/mcp"
WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LISTED = 20  # jobs
SHA256 = re.compile(r"[0-9a-f]{64}")
PICTURE = "The id of a picture in the gallery, or the picture itself in base64"
SHOWN = 8  # pictures shown in the chat; all are linked
RESOURCE = "studio://pictures/{id}"  # how a client reads a stored file
FILE = "studio://files/{folder}/{name}"  # and one that a tool wrote
SMALL = 65_536  # bytes of a written file that is shown in the chat
DRAWN = (".svg", ".json", ".zip")  # endings of files that have no pixels

Model = Annotated[str, Field(description="One of `models`; else the usual one.")]
Wait = Annotated[bool, Field(description="Without it the job is only put in the queue; `status` tells of it.")]


class PictureOut(BaseModel):
    """A picture of the gallery."""

    id: str = Field(description="sha256 of its file; other tools take it as a picture.")
    path: str = Field(description="The file, where the studio runs.")
    prompt: str = Field(description="What it was made from; of a caption, the caption.")
    seed: int
    score: float | None = Field(description="Cosine to what was asked for, -1 to 1.")
    media_type: str
    credits: str = Field(description="Whom it is owed to: what to paste beside it.")


class JobOut(BaseModel):
    """A job, and the pictures that it made so far."""

    id: str
    state: State
    prompt: str
    ahead: int = Field(description="Jobs that come before it.")
    step: int = Field(description="How far it is, of `total` steps; 0 of 0 while the model is loaded.")
    total: int
    sentence: str = Field(description="Why it failed.")
    unknown: list[Unknown]
    read_as: str = Field(description="What is read of the prompt, where that is not its very words.")
    notes: list[str] = Field(description="What is worth knowing of the files that it was given.")
    pictures: list[PictureOut]


class Jobs(BaseModel):
    """Jobs; `counts` by state are those of the whole queue."""

    jobs: list[JobOut]
    counts: dict[str, int]
    paused: bool
    notice: str = Field(description="The latest message of the worker.")


class Hits(BaseModel):
    """Pictures that were found, best first. A score is None where a picture was found by its words alone."""

    pictures: list[PictureOut]


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
        blocks: list[ContentBlock] = [TextContent(type="text", text="\n".join(map(_file_line, told)))]
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
    uri = FILE.format(folder=path.parent.name.removeprefix(UPLOAD), name=path.name)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileOut(path=str(path), uri=uri, media_type=kind, **facts)


def _file_line(file: FileOut) -> str:
    moving = f", {file.frames} frames, {file.seconds} s" if file.frames > 1 else ""
    size = f"{file.width} x {file.height}{moving}, " if file.width else ""
    return f"- {file.path} ({size}{file.bytes:,} bytes)"


def server(studio: Studio, model: str, local: bool = False) -> MCPServer:
    """The tools of a studio. `model` is the usual one; a `local` client may give pictures by path."""
    about, tools = "Makes, edits and finds stickers on this computer.", Tools(studio, model, local)
    # At its usual level it would turn on the logs of every library.
    mcp = MCPServer("studio128", "Studio 128", about, WORDS["instructions"], version=version(), log_level="WARNING")
    makes = ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for name, words in WORDS["making"].items():
        mcp.add_tool(tools.making(words), name, description=words["about"], annotations=makes)
    for tool in (tools.cancel, tools.export, tools.frames):
        mcp.add_tool(tool, annotations=makes)
    for tool in (tools.search, tools.read, tools.status, tools.styles, tools.models):
        mcp.add_tool(tool, annotations=looks)
    mcp.resource(RESOURCE, name="picture", title="A picture of the gallery", mime_type="image/png")(tools.picture)
    mcp.resource(FILE, name="file", title="A file that a tool wrote", mime_type="application/octet-stream")(
        tools.files.read
    )
    return mcp


def http_routes(server: MCPServer) -> list[BaseRoute]:
    """The tools over HTTP, as routes of an app, while `server.session_manager.run()` is entered, once.
    `studio.api.guard`, which stands before the app, decides who may send requests.
    """
    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        streamable_http_path=PATH, transport_security=guarded, max_request_body_size=BODY_LIMIT
    )
    return list(app.routes)


def _parameter(name: str, setting: Setting) -> Any:
    """A setting as a tool's parameter."""
    about = f"{PICTURE}. {setting.help}" if setting.is_picture else setting.help
    return Annotated[setting.type, Field(description=about)]


def _tool(function: Callable[..., Any]) -> Callable[..., Any]:
    """A refusal is the tool's answer, in one sentence. What is no coroutine runs in a thread."""

    @functools.wraps(function)
    async def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await asyncio.to_thread(function, *args, **kwargs)
        except Refused as refusal:
            sentence = TextContent(type="text", text=str(refusal))
            return CallToolResult(content=[sentence], is_error=True)

    return answered


def _with_wanted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Parameters for the fields of `Wanted` in place of the function's `**wanted`."""
    own = inspect.signature(function)
    fields = [one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(Wanted).parameters.values()]
    named = [*list(own.parameters.values())[:-1], *fields]
    function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
    return function


class Tools:
    """What a client may ask for. The docstring of a tool is what it reads of it."""

    def __init__(self, studio: Studio, model: str, local: bool) -> None:
        self._studio, self._model, self._local = studio, model, local
        self.files = FileStore(studio.home / "cache")

    def making(self, words: dict[str, Any]) -> Callable[..., Any]:
        """A tool that makes something, as the words say."""

        @_tool
        @with_settings(*words["settings"].split(), annotate=_parameter, required=words.get("required", ()))
        async def make(
            ctx: Context, model: Model = "", wait: Wait = True, **fields: Any
        ) -> Annotated[CallToolResult, Jobs]:
            return await self._make(ctx, words["task"], fields, model, wait)

        return make

    @_tool
    async def search(
        self,
        query: Annotated[str, Field(description="Words; those that mean it are found too.")] = "",
        like: Annotated[str, Field(description=f"{PICTURE}: and like this one.")] = "",
        without: Annotated[str, Field(description="Words: and not this.")] = "",
        k: Annotated[int, Field(description="At most so many.", ge=1, le=100)] = 8,
        model: Model = "",
    ) -> Annotated[CallToolResult, Hits]:
        """Find pictures in the gallery by words, by likeness to a picture, or by both. Without either: the newest."""
        studio, served = self._studio, self._served(model)
        with uploads(studio.home, studio.gallery) as files:
            path = await asyncio.to_thread(self._path, files, like, "like") if like.strip() else None
            hits = await studio.asearch(query, like=path, without=without, k=k, model=served)
        found = [(hit.picture, hit.score) for hit in hits]
        return await asyncio.to_thread(hits_result, studio.gallery, found)

    @_tool
    async def read(
        self,
        texts: Annotated[list[str], Field(description="Prompts.", min_length=1)],
        negative: Annotated[str, Field(description="What they are read beside.")] = "",
        model: Model = "",
    ) -> list[Reading]:
        """Say what becomes of the words of prompts before anything is drawn: drawn as what, left out, or not known.
        `instead` are prompts to take where one names nothing that can be drawn.
        """
        return await self._studio.aread(*texts, negative=negative, model=self._served(model))

    @_tool
    def status(
        self,
        job: Annotated[str, Field(description="A job's id, or its first characters; else all that are open.")] = "",
    ) -> Annotated[CallToolResult, Jobs]:
        """Say what runs, what waits and what went wrong; of one job also the pictures that it made."""
        queue = self._studio.queue
        jobs = (
            [queue.job(queue.find(job))] if job else queue.jobs(limit=LISTED) + queue.jobs(["failed", "quarantined"], 5)
        )
        return jobs_result(self._studio, jobs)

    @_tool
    def cancel(
        self, job: Annotated[str, Field(description="A job's id, or its first characters.")]
    ) -> Annotated[CallToolResult, Jobs]:
        """Stop a job at its next step, or take it out of the queue. What it made stays."""
        found = self._studio.queue.find(job)
        self._studio.cancel(found)
        return jobs_result(self._studio, [self._studio.queue.job(found)])

    @_tool
    def styles(self, model: Model = "") -> list[Style]:
        """List the styles that a model knows."""
        return list(open_backend(self._served(model)).capabilities().styles)

    @_tool
    def models(self) -> list[ModelState]:
        """List the models, the usual one first, and what is missing where one is not ready."""
        return model_states(self._model)

    @_tool
    @_with_wanted
    def export(
        self, picture: Annotated[str, Field(description=f"{PICTURE}; or a clip.")], model: Model = "", **wanted: Any
    ) -> Annotated[CallToolResult, Files]:
        """Make a picture or clip ready for a chat app, or write it in another format or size. Files stay for a day."""
        larger = functools.partial(self._studio.larger, model=self._served(model))
        with uploads(self._studio.home, self._studio.gallery) as files:
            made = exported(Path(self._path(files, picture, "picture")), Wanted(**wanted), larger)
        return self.files.answer(made)

    @_tool
    def frames(
        self,
        clip: Annotated[str, Field(description=f"{PICTURE}; of a clip.")],
        number: Annotated[int, Field(description="So many, evenly spread.", ge=1, le=64)] = 8,
        at: Annotated[float | None, Field(description="Only the one that is shown at this second.")] = None,
    ) -> Annotated[CallToolResult, Files]:
        """Take frames of a clip as pictures. Files stay for a day."""
        with uploads(self._studio.home, self._studio.gallery) as files:
            found = ClipFile.open(self._path(files, clip, "clip"))
            numbers = found.choice(at=at, number=None if at is not None else number)
            name = f"{found.path.stem}-{{:04}}.png".format
            made = {name(frame.number): data for frame, data in stills(found, numbers)}
        return self.files.answer(made)

    def picture(self, id: str) -> bytes:
        """The file of a picture of the gallery."""
        try:
            return self._studio.gallery.get(id).path.read_bytes()
        except (KeyError, OSError) as error:
            raise ResourceNotFoundError(f"there is no picture {id} in the gallery.") from error

    # --- Requests -----------------------------------------------------------------------------------------------------

    def _served(self, model: str) -> str:
        """The model that a call names, else the usual one; a remote client may name only those that are offered."""
        return (model if self._local else offered(model, self._model)) if model else self._model

    async def _make(self, ctx: Context, task: str, fields: dict[str, Any], model: str, wait: bool) -> CallToolResult:
        """Put it in the queue, and report progress until it is done. A call that is cancelled cancels its jobs."""
        studio = self._studio
        planned = await in_turn(self._prepared, task, fields, self._served(model))
        if wait:
            jobs = await self._follow(ctx, planned)
        else:
            jobs = [await asyncio.to_thread(studio.submit, job) for job in planned]
        made = [await asyncio.to_thread(studio.queue.job, job) for job in jobs]
        if sentences := [job.sentence for job in made if job.sentence]:
            raise Refused(sentences[0])
        return await asyncio.to_thread(jobs_result, studio, made)

    async def _follow(self, ctx: Context, planned: list[Job]) -> list[str]:
        jobs: list[str] = []
        furthest = -1.0
        async with aclosing(self._studio.amake(planned)) as events:
            async for job, event in events:
                jobs += [job] if job not in jobs else []
                if isinstance(event, Progress):
                    far = len(jobs) - 1 + (event.step / event.total if event.total else 0.0)
                    if far > furthest:  # the protocol wants it to grow
                        what = f"step {event.step} of {event.total}" if event.total else "loading the model"
                        await ctx.report_progress(far, len(planned), what)
                        furthest = far
        return jobs

    def _prepared(self, task: str, fields: dict[str, Any], model: str) -> list[Job]:
        """Planned jobs for a tool's arguments; their pictures are copied into the home."""
        studio = self._studio
        with uploads(studio.home, studio.gallery) as files:
            said = {name: value for name, value in request_fields(fields).items() if value not in (None, "")}
            for name in [name for name in said if SETTINGS[name].is_picture]:
                said[name] = self._path(files, said[name], name)
            jobs = studio.prepare(task, **said, model=model)
            return [replace(job, request=inputs.keep(job.request, studio.home)) for job in jobs]

    def _path(self, files: Uploads, text: str, name: str) -> str:
        """The file of a picture that is given by its id, as base64, or, by this computer's user, by path."""
        text = text.strip()
        if SHA256.fullmatch(text):
            return files.add_stored(text, name).path
        if self._local and Path(text[-8:]).suffix.lower() in PICTURES:  # base64 has no dot
            place = urlsplit(text)
            try:
                return str(Path(unquote(place.path) if place.scheme == "file" else text).expanduser())
            except RuntimeError as error:
                raise Refused("api.no_such_user", path=text) from error
        return files.add_base64(text, name).path


# --- What is answered -------------------------------------------------------------------------------------------------


def jobs_result(studio: Studio, jobs: Sequence[QueuedJob]) -> CallToolResult:
    """Jobs and the state of the queue, with the pictures that they made."""
    queue, listed = studio.queue, [_job(studio, job) for job in jobs]
    counts = {str(state): count for state, count in queue.counts().items()}
    data = Jobs(jobs=listed, counts=counts, paused=queue.is_paused(), notice=str(studio.trouble() or queue.notice()))
    lines = [line for job in listed for line in (_headline(job), *map(_line, job.pictures))]
    lines += ["The queue is paused."] if data.paused else []
    text = "\n".join(lines) or "Nothing runs and nothing waits."
    return _result(studio.gallery, data, text, [one for job in listed for one in job.pictures])


def hits_result(gallery: Gallery, found: Sequence[tuple[GalleryItem, float | None]]) -> CallToolResult:
    """Pictures that were found, with their scores."""
    pictures = [_picture(kept, kept.prompt, None if score is None else round(score, 4)) for kept, score in found]
    text = "\n".join([f"{len(pictures)} found.", *map(_line, pictures)])
    return _result(gallery, Hits(pictures=pictures), text, pictures)


def _picture(one: GalleryItem | Saved, prompt: str, score: float | None) -> PictureOut:
    """A file of the gallery is named by its sha256."""
    path, kind = Path(one.path), one.media_type
    named = {"id": path.stem, "path": str(path), "prompt": prompt, "seed": one.seed}
    return PictureOut.model_validate({**named, "score": score, "media_type": kind, "credits": lines(credits_in(path))})


def _job(studio: Studio, job: QueuedJob) -> JobOut:
    live = studio.store.progress.read(job.id)[1] if job.state != "waiting" else None
    live, made = live or Progress(0, 0), sorted(studio.gallery.results(job.id, job).items())
    return JobOut(
        id=job.id,
        state=job.state,
        prompt=job.request.title,
        ahead=studio.queue.ahead(job.id),
        step=live.step,
        total=live.total,
        sentence=job.sentence,
        unknown=list(live.unknown),
        read_as=live.read_as,
        notes=list(map(str, inputs.notes(job.request))),
        pictures=[_picture(saved, saved.text or job.request.title, saved.score) for _, saved in made],
    )


def _result(gallery: Gallery, data: Jobs | Hits, text: str, pictures: list[PictureOut]) -> CallToolResult:
    """The first pictures are shown, all are linked."""
    blocks: list[ContentBlock] = [TextContent(type="text", text=text)]
    blocks += [block for one in pictures[:SHOWN] if (block := _content(gallery, one))]
    for one in pictures:
        name, uri = Path(one.path).name, RESOURCE.replace("{id}", one.id)
        kind, title = one.media_type, one.prompt or name
        blocks.append(ResourceLink(type="resource_link", uri=uri, name=name, title=title, mime_type=kind))
    return CallToolResult(content=blocks, structured_content=data.model_dump(mode="json"))


def _content(gallery: Gallery, picture: PictureOut) -> ContentBlock | None:
    """A stored file in the chat: text as text, a picture made small where it is large; None where it is gone."""
    try:
        kept = gallery.get(picture.id)
        if kept.kind == "text":
            return TextContent(type="text", text=kept.text)
        data, kind = small(gallery, kept)
    except (KeyError, OSError, Refused):
        return None
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)


def _headline(job: JobOut) -> str:
    where = f", {job.ahead} before it" if job.state == "waiting" else ""
    where = f", step {job.step} of {job.total}" if job.state == "running" else where
    words = [str(one) for one in not_drawn(job.unknown)]
    words += [f"Read as: {job.read_as}."] if job.read_as else []
    said = (f"Job {job.id[:12]}: {job.state}{where}.", job.sentence, *words, *job.notes)
    return " ".join(part for part in said if part)


def _line(picture: PictureOut) -> str:
    score = "" if picture.score is None else f", score {picture.score}"
    return f"- {picture.path} (seed {picture.seed}{score}): {picture.prompt}"
