"""The tools: make, edit and find pictures, and look after the queue. One server speaks over HTTP or over stdio."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from models.messages import Refused
from studio import inputs
from studio.backends.registry import KINDS, offered, open_backend
from studio.capabilities import FAST
from studio.events import Progress
from studio.gallery import Kept
from studio.mcp.given import given
from studio.mcp.told import PICTURE, Hits, Jobs, ModelOut, StyleOut, jobs_out, kept_out, refused, told
from studio.metadata import version
from studio.requests import ImageRequest
from studio.studio import Studio

INSTRUCTIONS = (
    "Studio 128 draws stickers, emoji and icons with transparent backgrounds on this computer. It knows short English "
    "and Chinese descriptions such as `a smiling cat with a red hat`; words that it does not know are named in the "
    "answer. Pictures that were made lie in its gallery and are named by their id."
)
LISTED = 20  # jobs
PICTURE_ID = "The id of a picture in the gallery, or the picture itself in base64"

Prompt = Annotated[str, Field(description="What to draw, in English or Chinese, for example: a smiling cat.")]
Negative = Annotated[str, Field(description="What should not be in it.")]
Style = Annotated[str, Field(description="One of `styles`.")]
Count = Annotated[int, Field(description="How many pictures.")]
Seed = Annotated[int | None, Field(description="The first picture's; the next ones count up. The same makes the same.")]
Steps = Annotated[int | None, Field(description="More takes longer and is finer.")]
Guidance = Annotated[float | None, Field(description="How closely to keep to the prompt.")]
BestOf = Annotated[
    int | None, Field(description="So many are drawn for each picture; the one nearest to what was asked for is kept.")
]
Fast = Annotated[bool, Field(description="Four steps without guidance: sooner there, a little worse.")]
Size = Annotated[int | None, Field(description="Pixels a side.")]
Given = Annotated[str, Field(description=f"{PICTURE_ID}.")]
Model = Annotated[str, Field(description="One of `models`; else the usual one.")]
Wait = Annotated[bool, Field(description="Without it the job is only put in line; `status` tells of it.")]
Job = Annotated[str, Field(description="A job's id, or its first characters.")]


def server(studio: Studio, model: str, local: bool = False) -> MCPServer:
    """The tools of a studio. `model` is the usual one; `local` lets pictures be given by path, for who is on the other
    side is the user of this computer.
    """
    about = "Makes, edits and finds stickers on this computer."
    tools, made = Tools(studio, model, local), version()
    # Its usual level would turn every library's chatter on.
    mcp = MCPServer("studio128", "Studio 128", about, INSTRUCTIONS, version=made, log_level="WARNING")
    makes = ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.generate, tools.edit, tools.cancel):
        mcp.add_tool(tool, annotations=makes)
    for tool in (tools.search, tools.status, tools.styles, tools.models):
        mcp.add_tool(tool, annotations=looks)
    mcp.resource(PICTURE, name="picture", title="A picture of the gallery", mime_type="image/png")(tools.picture)
    return mcp


def _plainly(tool: Callable[..., Any]) -> Callable[..., Any]:
    """What the studio refuses is the tool's answer, in the studio's own sentence."""
    if inspect.iscoroutinefunction(tool):

        @functools.wraps(tool)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await tool(*args, **kwargs)
            except Refused as refusal:
                return refused(str(refusal))

        return awaited

    @functools.wraps(tool)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except Refused as refusal:
            return refused(str(refusal))

    return called


class Tools:
    """What a client may ask for. The first paragraph of each is what it reads of it."""

    def __init__(self, studio: Studio, model: str, local: bool) -> None:
        self._studio, self._model, self._local = studio, model, local

    def _named(self, model: str) -> str:
        """The model that a call names, else the one that is served; from elsewhere only one that is offered."""
        return (model if self._local else offered(model, self._model)) if model else self._model

    @_plainly
    async def generate(
        self,
        ctx: Context,
        prompt: Prompt = "",
        negative: Negative = "",
        style: Style = "",
        count: Count = 1,
        seed: Seed = None,
        steps: Steps = None,
        guidance: Guidance = None,
        best_of: BestOf = None,
        fast: Fast = False,
        size: Size = None,
        like: Annotated[str, Field(description=f"{PICTURE_ID}: another of its sense.")] = "",
        model: Model = "",
        wait: Wait = True,
    ) -> Annotated[CallToolResult, Jobs]:
        """Draw stickers from words, or from another picture's sense, into the gallery. The same request finds what it
        made before.
        """
        fields = {"negative": negative, "style": style, "count": count, "seed": seed, "steps": steps, "size": size}
        fields |= {"prompt": prompt, "guidance": guidance, "best_of": best_of, "model": self._named(model)}
        fields["scheduler"] = FAST if fast else ""
        return await self._make(ctx, fields, {"like": like}, wait)

    @_plainly
    async def edit(
        self,
        ctx: Context,
        image: Given,
        prompt: Prompt = "",
        strength: Annotated[
            float | None, Field(description="How much of the picture is forgotten, up to 1: all of it.")
        ] = None,
        mask: Annotated[str, Field(description=f"{PICTURE_ID}: only what is white in it is drawn anew.")] = "",
        expand: Annotated[
            float | None, Field(description="Draw a border round it: 0.25 is a quarter of its side.")
        ] = None,
        variations: Annotated[int | None, Field(description="So many near relatives of it.")] = None,
        negative: Negative = "",
        style: Style = "",
        count: Count = 1,
        seed: Seed = None,
        steps: Steps = None,
        guidance: Guidance = None,
        best_of: BestOf = None,
        fast: Fast = False,
        size: Size = None,
        model: Model = "",
        wait: Wait = True,
    ) -> Annotated[CallToolResult, Jobs]:
        """Draw a picture anew: all of it, or where a mask is white, or a border round it. The old one stays."""
        fields: dict[str, Any] = {"prompt": prompt, "negative": negative, "style": style, "count": count, "seed": seed}
        fields |= {"steps": steps, "guidance": guidance, "size": size, "strength": strength, "expand": expand}
        fields |= {"variations": variations, "best_of": best_of, "model": self._named(model)}
        fields["scheduler"] = FAST if fast else ""
        return await self._make(ctx, fields, {"image": image, "mask": mask}, wait)

    @_plainly
    async def search(
        self,
        query: Annotated[str, Field(description="Words; those that mean it are found too.")] = "",
        like: Annotated[str, Field(description=f"{PICTURE_ID}: and like this one.")] = "",
        without: Annotated[str, Field(description="Words: and not this.")] = "",
        k: Annotated[int, Field(description="At most so many.", ge=1, le=100)] = 8,
        model: Model = "",
    ) -> Annotated[CallToolResult, Hits]:
        """Find pictures in the gallery by words, by likeness to a picture, or by both. Without either: the newest."""
        with given(self._studio, self._local) as files:
            path = (await asyncio.to_thread(files.pictures, like=like)).get("like")
            model = self._named(model)
            hits = await self._studio.asearch(query, like=path, without=without, k=k, model=model)
        found = Hits(pictures=[kept_out(hit.picture, hit.score) for hit in hits])
        return await asyncio.to_thread(told, self._studio, found)

    @_plainly
    def status(
        self,
        job: Annotated[str, Field(description="A job's id, or its first characters; else all that are open.")] = "",
    ) -> Annotated[CallToolResult, Jobs]:
        """Say what runs, what waits and what went wrong; of one job also the pictures that it made."""
        queue = self._studio.queue
        if job:
            return told(self._studio, jobs_out(self._studio, [queue.job(queue.find(job))]))
        return told(self._studio, jobs_out(self._studio, queue.jobs(limit=LISTED) + queue.jobs(["failed", "aside"], 5)))

    @_plainly
    def cancel(self, job: Job) -> Annotated[CallToolResult, Jobs]:
        """Stop a job at its next step, or take it out of line. What it made stays."""
        found = self._studio.queue.find(job)
        self._studio.cancel(found)
        return told(self._studio, jobs_out(self._studio, [self._studio.queue.job(found)]))

    @_plainly
    def styles(self, model: Model = "") -> list[StyleOut]:
        """List the styles that a model knows."""
        known = open_backend(self._named(model)).capabilities().styles
        return [StyleOut(name=style.name, zh=style.zh, words=list(style.words)) for style in known]

    def models(self) -> list[ModelOut]:
        """List the models, the usual one first, and what is missing where one is not ready."""
        usual = self._model.partition(":")[0]
        return [_model_out(name) for name in (self._model, *(kind for kind in KINDS if kind != usual))]

    def picture(self, id: str) -> bytes:
        """The file of a picture of the gallery."""
        try:
            kept: Kept = self._studio.gallery.get(id)
            return kept.path.read_bytes()
        except (KeyError, OSError) as error:
            raise ResourceNotFoundError(f"there is no picture {id} in the gallery.") from error

    async def _make(self, ctx: Context, fields: dict[str, Any], brought: dict[str, str], wait: bool) -> CallToolResult:
        """Put it in line, and say how far it is until it is done. A call that is cancelled cancels its jobs."""
        requests = await asyncio.to_thread(self._prepared, fields, brought)
        if not wait:
            jobs = [await asyncio.to_thread(self._studio.submit, request) for request in requests]
        else:
            jobs = await self._follow(ctx, requests)
        made = await asyncio.to_thread(lambda: jobs_out(self._studio, [self._studio.queue.job(job) for job in jobs]))
        if sentences := [job.sentence for job in made.jobs if job.sentence]:
            raise Refused(sentences[0])
        return await asyncio.to_thread(told, self._studio, made)

    async def _follow(self, ctx: Context, requests: list[ImageRequest]) -> list[str]:
        jobs: list[str] = []
        furthest = -1.0
        async with aclosing(self._studio.amake(requests)) as events:
            async for job, event in events:
                jobs += [job] if job not in jobs else []
                if isinstance(event, Progress):
                    far = len(jobs) - 1 + (event.step / event.total if event.total else 0.0)
                    if far > furthest:  # the protocol wants it to grow
                        what = f"step {event.step} of {event.total}" if event.total else "loading the model"
                        await ctx.report_progress(far, len(requests), what)
                        furthest = far
        return jobs

    def _prepared(self, fields: dict[str, Any], brought: dict[str, str]) -> list[ImageRequest]:
        with given(self._studio, self._local) as files:
            said: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
            requests = self._studio.prepare(**said, **files.pictures(**brought))
            return [inputs.keep(request, self._studio.home) for request in requests]


def _model_out(name: str) -> ModelOut:
    problem = ""
    try:
        open_backend(name).digest()
    except Refused as refusal:
        problem = str(refusal)
    about = KINDS[name.partition(":")[0]].about
    return ModelOut(name=name, about=about, ready=not problem, problem=problem)
