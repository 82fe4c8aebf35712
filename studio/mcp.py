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
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_origin
from urllib.parse import unquote, urlsplit

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.mcpserver.tools.base import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo
from starlette.routing import BaseRoute

from models.messages import Refused
from models.prompts.parsed import Reading
from models.references.credits import lines
from studio import inputs
from studio.api import schemas
from studio.api.gallery import describe_item, describe_jobs, small
from studio.api.guard import BODY_LIMIT
from studio.api.uploads import Uploads, in_turn, uploads
from studio.backends.base import ModelState, model_states, offered, open_backend
from studio.capabilities import FAST_FIELD, Style, with_fast
from studio.events import Progress, Unknown, not_drawn
from studio.export.make import Wanted, exported, wanted_fields
from studio.files import UPLOAD, is_plain, make_folder, write_whole
from studio.gallery import Gallery, GalleryItem
from studio.metadata.files import credits_in
from studio.metadata.origin import version
from studio.planner import Job
from studio.queue import QueuedJob
from studio.requests import (
    PICTURES,
    REQUESTS,
    ImageRequest,
    MediaRequest,
    Picture,
    fields_of,
    limits,
    media_tasks,
    plain_type,
    types_in,
)
from studio.studio import Studio

PATH = "/mcp"
LISTED = 20  # jobs
SHA256 = re.compile(r"[0-9a-f]{64}")
PICTURE = "The id of a picture in the gallery, or the picture itself in base64"
SHOWN = 8  # pictures shown in the chat; all are linked
RESOURCE = "studio://pictures/{id}"  # how a client reads a stored file
FILE = "studio://files/{folder}/{name}"  # and one that a tool wrote
SMALL = 65_536  # bytes of a written file that is shown in the chat

INSTRUCTIONS = """\
Studio 128 draws stickers, emoji and icons with transparent backgrounds on this computer. It knows short English \
and Chinese descriptions such as `a smiling cat with a red hat`; words that it does not know are named in the \
answer. Its pictures lie in its gallery and are named by their id."""
SCHEMA = {"ge": "minimum", "le": "maximum"}  # the words of JSON schema
MAKES = ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False)
LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)

Model = Annotated[str, Field(description="One of `models`; else the usual one.")]
Wait = Annotated[bool, Field(description="Without it the job is only put in the queue; `status` describes it.")]


class StoredFile(BaseModel):
    """What the tools tell of a stored file beside what HTTP does."""

    path: str = Field(description="The file, where the studio runs.")
    credits: str = Field(description="Whom it is owed to: what to paste beside it.")


class ToolPicture(schemas.PictureOut, StoredFile):  # type: ignore[valid-type,misc]
    """A file that a job made. Its sha256 is its id: other tools take it as a picture."""


class ToolJob(schemas.JobOut):  # type: ignore[valid-type,misc]
    """A job as it stands."""

    pictures: list[ToolPicture]


class ToolJobs(schemas.Jobs):
    """Jobs, and how many there are in each state of the whole queue."""

    jobs: list[ToolJob]


class ToolItem(schemas.ItemOut, StoredFile):  # type: ignore[valid-type,misc]
    """A file of the gallery. Its sha256 is its id: other tools take it as a picture."""


class ToolHit(schemas.HitOut):
    """A picture of a search; `score` is its cosine to the query, null where only words match."""

    picture: ToolItem


class ToolHits(schemas.Hits):
    """Best first."""

    hits: list[ToolHit]  # type: ignore[assignment]


class FileOut(BaseModel):
    """A file that a tool wrote."""

    path: str = Field(description="Where it is for a day, on the computer where the studio runs.")
    uri: str = Field(description="The resource to read it by.")
    media_type: str
    bytes: int


class Files(BaseModel):
    """Files that were written."""

    files: list[FileOut]


# --- The server and its tools ----------------------------------------------------------------------------------------


def server(studio: Studio, model: str, local: bool = False) -> MCPServer:
    """The tools of a studio. `model` is the usual one; a `local` client may give pictures by path."""
    about, tools = "Makes, edits and finds stickers on this computer.", Tools(studio, model, local)
    mcp = MCPServer(
        "studio128",
        "Studio 128",
        about,
        INSTRUCTIONS,
        tools=[*(tools.media_tool(name, kind) for name, kind in media_tools().items()), tools.export_tool()],
        version=version(),
        log_level="WARNING",  # at its usual level it would turn on the logs of every library
    )
    mcp.add_tool(tools.cancel, annotations=MAKES)
    for tool in (tools.search, tools.read, tools.status, tools.styles, tools.models):
        mcp.add_tool(tool, annotations=LOOKS)
    mcp.resource(RESOURCE, name="picture", title="A picture of the gallery", mime_type="image/png")(tools.picture)
    mcp.resource(FILE, name="file", title="A file that a tool wrote", mime_type="application/octet-stream")(tools.file)
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


def media_tools() -> dict[str, type[MediaRequest]]:
    """A tool for each request that users make, by name."""
    return {kind.command or task: kind for task, kind in media_tasks().items() if kind.command is not None}


def fields_in(kind: type[MediaRequest]) -> dict[str, FieldInfo]:
    """The fields of a request that a tool takes: all but lists."""
    fields = {**fields_of(kind), **({"fast": FAST_FIELD} if kind is ImageRequest else {})}
    return {name: field for name, field in fields.items() if get_origin(field.annotation) is not tuple}


def _arguments(kind: type[MediaRequest]) -> dict[str, Any]:
    """The arguments of a tool: fields of its request, pictures as text, which model does it, and whether to wait."""
    arguments: dict[str, Any] = {}
    for name, field in fields_in(kind).items():
        about = f"{PICTURE}. {field.description}" if Picture in types_in(field.annotation) else field.description
        ends = {SCHEMA[key]: limit for key, limit in limits(field).items()}  # planning refuses in a sentence
        default = ... if field.is_required() else field.default
        arguments[name] = (Annotated[plain_type(field), Field(description=about, json_schema_extra=ends)], default)
    return arguments | {"model": (Model, ""), "wait": (Wait, True)}


def _model_tool(
    name: str,
    about: str,
    fields: dict[str, Any],
    answer: type[BaseModel],
    function: Callable[..., Any],
    context: str | None = None,
) -> Tool:
    """A tool whose arguments are a pydantic model's `fields`, as `create_model` takes them."""
    arguments = create_model(f"{name}Arguments", __base__=ArgModelBase, **fields)
    return Tool(
        fn=function,
        name=name,
        title=None,
        description=about,
        parameters=arguments.model_json_schema(),
        fn_metadata=FuncMetadata(arg_model=arguments, output_model=answer),
        is_async=True,
        context_kwarg=context,
        annotations=MAKES,
    )


def _tool(function: Callable[..., Any]) -> Callable[..., Any]:
    """A tool that answers a refusal in one sentence. A function that is no coroutine runs in a thread."""

    @functools.wraps(function)
    async def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await asyncio.to_thread(function, *args, **kwargs)
        except Refused as refusal:
            return CallToolResult(content=[TextContent(type="text", text=str(refusal))], is_error=True)

    return answered


class Tools:
    """The tools of a client. A tool's docstring is its description."""

    def __init__(self, studio: Studio, model: str, local: bool) -> None:
        self._studio, self._model, self._local = studio, model, local

    def media_tool(self, name: str, kind: type[MediaRequest]) -> Tool:
        """A tool that makes what a request asks for; the request's docstring is its description."""

        @_tool
        async def make(ctx: Context, model: str, wait: bool, **fields: Any) -> CallToolResult:
            return await self._make(ctx, kind.model_fields["task"].default, fields, model, wait)

        return _model_tool(name, inspect.getdoc(kind) or "", _arguments(kind), ToolJobs, make, context="ctx")

    @_tool
    async def search(
        self,
        query: Annotated[str, Field(description="Words; those that mean it are found too.")] = "",
        like: Annotated[str, Field(description=f"{PICTURE}: and like this one.")] = "",
        without: Annotated[str, Field(description="Words: and not this.")] = "",
        k: Annotated[int, Field(description="At most so many.", ge=1, le=100)] = 8,
        model: Model = "",
    ) -> Annotated[CallToolResult, ToolHits]:
        """Find pictures in the gallery by words, by likeness to a picture, or by both. Without either: the newest."""
        studio, served = self._studio, self._served(model)
        with uploads(studio.home, studio.gallery) as files:
            path = await asyncio.to_thread(self._path, files, like, "like") if like.strip() else None
            hits = await studio.asearch(query, like=path, without=without, k=k, model=served)
        return await asyncio.to_thread(hits_result, studio.gallery, [(hit.picture, hit.score) for hit in hits])

    @_tool
    async def read(
        self,
        texts: Annotated[list[str], Field(description="Prompts.", min_length=1)],
        negative: Annotated[str, Field(description="The negative prompt.")] = "",
        model: Model = "",
    ) -> list[Reading]:
        """Tell what becomes of the words of prompts before anything is drawn: drawn as what, left out, or not known.
        `instead` are prompts to take where one names nothing that can be drawn.
        """
        return await self._studio.aread(*texts, negative=negative, model=self._served(model))

    @_tool
    def status(
        self,
        job: Annotated[str, Field(description="A job's id, or its first characters; else all that are open.")] = "",
    ) -> Annotated[CallToolResult, ToolJobs]:
        """List what runs, what waits and what went wrong; of one job also its pictures."""
        queue = self._studio.queue
        jobs = (
            [queue.job(queue.find(job))] if job else queue.jobs(limit=LISTED) + queue.jobs(["failed", "quarantined"], 5)
        )
        return jobs_result(self._studio, jobs)

    @_tool
    def cancel(
        self, job: Annotated[str, Field(description="A job's id, or its first characters.")]
    ) -> Annotated[CallToolResult, ToolJobs]:
        """Stop a job at its next step, or take it out of the queue. Its finished pictures stay."""
        identity = self._studio.queue.find(job)
        self._studio.cancel(identity)
        return jobs_result(self._studio, [self._studio.queue.job(identity)])

    @_tool
    def styles(self, model: Model = "") -> list[Style]:
        """List the styles that a model knows."""
        return list(open_backend(self._served(model)).capabilities().styles)

    @_tool
    def models(self) -> list[ModelState]:
        """List the models, the usual one first, and what is missing where one is not ready."""
        return model_states(self._model)

    def export_tool(self) -> Tool:
        """The tool `export`: its arguments are a picture, a model, and the fields of `Wanted`."""

        @_tool
        def export(picture: str, model: str, **wanted: Any) -> CallToolResult:
            larger = functools.partial(self._studio.larger, model=self._served(model))
            with uploads(self._studio.home, self._studio.gallery) as files:
                path = Path(self._path(files, picture, "picture"))
                return self._written(exported(path, Wanted(**wanted), larger))

        picture = Annotated[str, Field(description=f"{PICTURE}; or a clip.")]
        fields: dict[str, Any] = {"picture": (picture, ...), "model": (Model, "")}
        fields |= {name: (field.annotation, field) for name, field in wanted_fields().items()}
        about = (
            "Make a picture or clip ready for a chat app, or write it in another format or size. Files stay for a day."
        )
        return _model_tool("export", about, fields, Files, export)

    def _written(self, files: Mapping[str, bytes]) -> CallToolResult:
        """Write files, by name, into a new folder of the cache, which the worker clears away once it is a day old."""
        make_folder(self._studio.home / "cache")
        folder = Path(tempfile.mkdtemp(prefix=UPLOAD, dir=self._studio.home / "cache"))
        written, shown, links = list[FileOut](), list[ContentBlock](), list[ContentBlock]()
        for name, data in files.items():
            write_whole(folder / name, data, "--home")
            uri = FILE.format(folder=folder.name.removeprefix(UPLOAD), name=name)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            written.append(FileOut(path=str(folder / name), uri=uri, media_type=kind, bytes=len(data)))
            if kind.startswith("image/") and kind != "image/svg+xml" and len(data) <= SMALL:
                shown.append(ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind))
            links.append(ResourceLink(type="resource_link", uri=uri, name=name, mime_type=kind, size=len(data)))
        text = "\n".join(f"- {file.path} ({file.bytes:,} bytes)" for file in written)
        content = [TextContent(type="text", text=text), *shown[:SHOWN], *links]
        return CallToolResult(content=content, structured_content=Files(files=written).model_dump(mode="json"))

    def file(self, folder: str, name: str) -> bytes:
        """A file that a tool wrote."""
        for path in (self._studio.home / "cache").glob(f"{UPLOAD}*/*"):
            if (path.parent.name.removeprefix(UPLOAD), path.name) == (folder, name) and is_plain(path):
                return path.read_bytes()
        raise ResourceNotFoundError(f"there is no file {name} any more.")

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
        ended = [await asyncio.to_thread(studio.queue.job, job) for job in jobs]
        if sentences := [job.sentence for job in ended if job.sentence]:
            raise Refused(sentences[0])
        return await asyncio.to_thread(jobs_result, studio, ended)

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
            given = {name: value for name, value in with_fast(fields).items() if value not in (None, "")}
            for name in [name for name in given if Picture in types_in(REQUESTS[task].model_fields[name].annotation)]:
                given[name] = self._path(files, given[name], name)
            jobs = studio.prepare(task, **given, model=model)
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


# --- Answers ----------------------------------------------------------------------------------------------------------


def jobs_result(studio: Studio, jobs: Sequence[QueuedJob]) -> CallToolResult:
    """Jobs with their pictures, and the state of the queue."""
    data, text, items = describe_jobs(studio, jobs), list[str](), list[_Item]()
    for job, queued in zip(data["jobs"], jobs, strict=True):
        text.append(_headline(job))
        results = studio.gallery.results(queued.id, queued)
        for picture in job["pictures"]:
            path = Path(results[picture["index"]].path)
            picture |= _stored(path)
            items.append(_Item(path, picture["media_type"], picture["text"] or queued.request.title))
            text.append(_line(items[-1], picture["seed"], picture["score"]))
    text += ["The queue is paused."] if data["paused"] else []
    return _result(studio.gallery, data, "\n".join(text) or "Nothing runs and nothing waits.", items)


def hits_result(gallery: Gallery, hits: Sequence[tuple[GalleryItem, float | None]]) -> CallToolResult:
    """The pictures of a search, with their scores."""
    rows, text, items = list[dict[str, Any]](), [f"{len(hits)} found."], list[_Item]()
    for item, score in hits:
        score = None if score is None else round(score, 4)
        rows.append({"picture": {**describe_item(item), **_stored(item.path)}, "score": score})
        items.append(_Item(item.path, item.media_type, item.prompt))
        text.append(_line(items[-1], item.seed, score))
    return _result(gallery, {"hits": rows}, "\n".join(text), items)


class _Item(NamedTuple):
    """A stored file that is shown and linked; it is named by its sha256."""

    path: Path
    media_type: str
    words: str


def _stored(path: Path) -> dict[str, str]:
    return {"path": str(path), "credits": lines(credits_in(path))}


def _result(gallery: Gallery, data: dict[str, Any], text: str, items: list[_Item]) -> CallToolResult:
    """The first files are shown, all are linked."""
    blocks: list[ContentBlock] = [TextContent(type="text", text=text)]
    blocks += [block for item in items[:SHOWN] if (block := _content(gallery, item.path.stem))]
    for path, kind, words in items:
        uri, title = RESOURCE.replace("{id}", path.stem), words or path.name
        blocks.append(ResourceLink(type="resource_link", uri=uri, name=path.name, title=title, mime_type=kind))
    return CallToolResult(content=blocks, structured_content=data)


def _content(gallery: Gallery, sha256: str) -> ContentBlock | None:
    """A stored file in the chat: text as text, a picture made small where it is large; None where it is gone."""
    try:
        item = gallery.get(sha256)
        if item.kind == "text":
            return TextContent(type="text", text=item.text)
        if not item.medium.visual:
            return None
        data, kind = small(gallery, item)
    except (KeyError, OSError, Refused):
        return None
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)


def _headline(job: dict[str, Any]) -> str:
    where = f", {job['ahead']} before it" if job["state"] == "waiting" else ""
    where = f", step {job['progress']['step']} of {job['progress']['total']}" if job["progress"] else where
    words = [str(message) for message in not_drawn([Unknown(**word) for word in job["unknown"]])]
    words += [f"Read as: {job['read_as']}."] if job["read_as"] else []
    parts = (f"Job {job['id'][:12]}: {job['state']}{where}.", job["sentence"], *words, *job["notes"])
    return " ".join(part for part in parts if part)


def _line(item: _Item, seed: int, score: float | None) -> str:
    return f"- {item.path} (seed {seed}{'' if score is None else f', score {score}'}): {item.words}"
