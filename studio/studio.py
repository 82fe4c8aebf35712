"""The studio in one object: a home with its queue and gallery, and the worker that does what is submitted.

What takes a while comes in two forms. `generate` waits; `agenerate` is awaited, and blocks no event loop.
"""

import asyncio
import contextlib
import contextvars
import functools
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from PIL import Image

from models.messages import Message, Refused
from studio import inputs, settings
from studio.backends.base import Opener, open_backend
from studio.duplicates import Duplicates, Group
from studio.events import Answer, Cancelled, Content, Done, End, Failed, Progress, Reading, Saved, Vector
from studio.files import ready_folder, write_whole
from studio.gallery import Filter
from studio.home import Home, JobEvents
from studio.planner import Job, job_id, plan, resolve
from studio.queue import QueuedJob
from studio.requests import MediaRequest, SearchRequest, make_request
from studio.search import Hit, embed_parts, query_vector, search_request
from studio.syntax import Wildcards
from studio.worker import Supervisor

Files = str | Path | Sequence[str | Path]

POLL = 0.05  # seconds between two polls of the store
THREADS = 64  # of calls that are awaited at the same time
# Set where the caller of an awaited method was cancelled.
NEVER = threading.Event()
STOP: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("stop", default=NEVER)
P = ParamSpec("P")
R = TypeVar("R")


class Stopped(Exception):
    """The caller of an awaited method was cancelled."""


def awaitable(
    method: Callable[Concatenate["Studio", P], R],
) -> Callable[Concatenate["Studio", P], Awaitable[R]]:
    """A blocking method as a coroutine. When that is cancelled, the method raises `Stopped` at its next poll."""

    @functools.wraps(method)
    async def coroutine(self: "Studio", *args: P.args, **kwargs: P.kwargs) -> R:
        stop, context = threading.Event(), contextvars.copy_context()
        context.run(STOP.set, stop)
        call = functools.partial(context.run, method, self, *args, **kwargs)
        try:
            running = asyncio.get_running_loop().run_in_executor(self.threads, call)
        except RuntimeError as error:
            raise Refused("studio.closed") from error
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            with contextlib.suppress(Exception):
                await running
            raise

    coroutine.__doc__ = f"As `{method.__name__}`. A task that is cancelled stops it."
    return coroutine


class Studio:
    """The studio at `home`; None is STUDIO_HOME, else the system's place for user data.

    Several processes may have one on the same home: they share queue, gallery and worker. The worker is a process that
    starts with the first thing to do and ends with `close`; what it had not done is done another day. All methods may
    be called from any thread. What can't be done raises `Refused`, with one sentence that says why and what to do.

        from studio import Studio

        with Studio() as studio:
            for picture in studio.generate("a smiling cat", count=4, seed=7):
                print(picture.path, picture.seed)
            for hit in studio.search("something to eat", without="fruit"):
                print(hit.picture.path, hit.score)
    """

    def __init__(self, home: str | Path | None = None, opener: Opener = open_backend) -> None:
        self.home = settings.home(home)
        self.store = Home(self.home)
        self.queue, self.gallery = self.store.queue, self.store.gallery
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="studio")
        self._opener, self._worker = opener, Supervisor(self.home, self.store.database, opener)
        self._duplicates = Duplicates(self.gallery)
        self._closed, self.trouble = False, self._worker.trouble

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- Media --------------------------------------------------------------------------------------------------------

    def make(self, task: str, *, model: str = "embedded", **fields: Any) -> list[Saved]:
        """Make artifacts of a task ("image", "clip", "caption", "enlarge"), in the gallery, and wait for them.

        `fields` are those of the task's request; pictures are given by path. What was made before is found, not made
        again. Stopped with Ctrl-C, the jobs are cancelled. Refused where it can't be done, or somebody cancels it.
        """
        jobs: list[str] = []
        try:
            for planned in self.prepare(task, model=model, **fields):
                if STOP.get().is_set():
                    raise Stopped
                jobs.append(self.submit(planned))
            return [saved for job in jobs for saved in self.result(job)]
        except (KeyboardInterrupt, Stopped):
            self.queue.cancel(jobs)
            raise

    def generate(self, prompt: str = "", *, model: str = "embedded", **fields: Any) -> list[Saved]:
        """Make pictures: `generate("a cat", style="noto", count=4, seed=7, image="cat.png", strength=0.5)`.

        `fields` are those of `ImageRequest`; otherwise as `make`.
        """
        return self.make("image", model=model, prompt=prompt, **fields)

    def animate(self, prompt: str = "", *, model: str = "embedded", **fields: Any) -> list[Saved]:
        """Make clips: `animate("a cat jumps", frames=16, fps=8)`, `animate(image="cat.png")`.

        `fields` are those of `ClipRequest`; otherwise as `make`.
        """
        return self.make("clip", model=model, prompt=prompt, **fields)

    def caption(self, picture: str | Path, *, model: str = "embedded", **fields: Any) -> Saved:
        """Describe a picture file: `caption("cat.png", language="zh").text`.

        `fields` are those of `CaptionRequest`; otherwise as `make`.
        """
        return self.make("caption", model=model, image=picture, **fields)[0]

    def prepare(self, task: str, *, model: str = "embedded", **fields: Any) -> list[Job]:
        """Planned jobs, not yet submitted: one, or one an artifact where the seed draws words. Refused as `make`."""
        return self.plan(make_request(task, model=model, **fields))

    def plan(self, requests: MediaRequest | Sequence[MediaRequest]) -> list[Job]:
        """Jobs for requests of one model, planned with the lists of this home; Refused where they can't be done."""
        first = requests if isinstance(requests, MediaRequest) else requests[0]
        jobs = plan(requests, self._opener(first.model), Wildcards(settings.wildcards(self.home)))
        ready_folder(self.gallery.folder, sum(job.request.count for job in jobs))
        return jobs

    def submit(self, job: Job, priority: int = 0) -> str:
        """Put a job in line -> its id. What is in line, or made and still there, is not done twice."""
        self.gallery.restore_job(job.id)
        again = len(self.gallery.results(job.id)) < job.request.count
        self.queue.submit(replace(job, request=inputs.keep(job.request, self.home)), priority, again)
        self._worker.wake()
        return job.id

    def events(self, job: str) -> Iterator[Progress | Saved | End]:
        """What happens to a job until it ends, from the store. Progress between two polls is left out, the latest holds
        it all; whoever comes late, or twice, gets the state so far first. When the studio is closed it stops without an
        end: the job goes on another day. KeyError for a job that nobody knows.
        """
        polled = JobEvents(self.store, job)
        while not self._closed:
            yield from polled.poll()
            if polled.ended:
                return
            self._wait()

    async def aevents(self, job: str) -> AsyncIterator[Progress | Saved | End]:
        """As `events`. Whoever stops listening leaves the job as it is."""
        polled = JobEvents(self.store, job)
        while not self._closed:
            for event in await asyncio.to_thread(polled.poll):
                yield event
            if polled.ended:
                return
            await asyncio.sleep(POLL)

    async def amake(self, jobs: Sequence[Job]) -> AsyncGenerator[tuple[str, Progress | Saved | End], None]:
        """Submit planned jobs -> (job, event) of one after the other. Whoever stops listening cancels them."""
        submitted: list[str] = []
        try:
            for job in jobs:
                submitted.append(await asyncio.shield(asyncio.to_thread(self.submit, job)))
            for name in submitted:
                async for event in self.aevents(name):
                    yield name, event
        except (asyncio.CancelledError, GeneratorExit):
            self.queue.cancel(job.id for job in jobs)
            raise

    def result(self, job: str) -> list[Saved]:
        """Wait for a job -> its artifacts. Refused where it fails or is cancelled; KeyError where nobody knows it."""
        events = list(self.events(job))
        end = events[-1] if events else None
        if isinstance(end, Failed):
            raise Refused(end.message)
        if isinstance(end, Cancelled):
            raise Refused("job.cancelled")
        if not isinstance(end, Done):
            raise Refused("studio.closed")
        return sorted((event for event in events if isinstance(event, Saved)), key=lambda saved: saved.index)

    def cancel(self, job: str) -> None:
        """Stop a job at its next step, or before it begins. Nothing happens where it has ended."""
        self.queue.cancel([job])

    def current(self) -> QueuedJob | None:
        """The running job, else the first waiting one: a page that was closed resumes there."""
        return next(iter(self.queue.jobs(limit=1)), None)

    # --- Answers ------------------------------------------------------------------------------------------------------

    def ask(self, resolved: Any) -> tuple[Answer, ...]:
        """Have the worker answer a planned request that stores nothing, and wait. Refused where it can't.

        Such requests go before all jobs, and are answered between two steps of one that runs. The first one waits until
        the model is loaded; one that was asked lately has its answer at once.
        """
        name = job_id(resolved, self._opener(resolved.model).digest(), interactive=True)
        self.queue.ask(resolved, name)
        self._worker.wake()
        while True:
            if (answers := self.queue.answer(name)) is not None:
                return answers
            if self._closed:
                raise Refused("studio.closed")
            self._wait()

    def content(self, resolved: Any) -> Content:
        """The artifact that the worker makes of a planned request, stored nowhere. Waits and refuses as `ask`."""
        (answer,) = (answer for answer in self.ask(resolved) if isinstance(answer, Content))
        return answer

    def embed(
        self, texts: Sequence[str] = (), pictures: Sequence[str | Path] = (), *, model: str = "embedded"
    ) -> list[Vector]:
        """Vectors in the semantic space: of the texts, then of the files of pictures and clips, each 128 numbers.

            cat, dog = studio.embed(["a cat", "a dog"])
            likeness = sum(a * b for a, b in zip(cat.vector, dog.vector))  # their cosine

        They have length 1. Refused where a text is empty or a file can't be read.
        """
        images = tuple({"path": str(path)} for path in pictures)
        request = self._resolve(make_request("embed", texts=tuple(texts), images=images, model=model))
        answers = [answer for part in embed_parts(request) for answer in self.ask(part)]
        vectors = [answer for answer in answers if isinstance(answer, Vector)]
        names = [*texts, *map(str, pictures)]
        return [replace(vector, input=name) for name, vector in zip(names, vectors, strict=True)]

    def read(self, *texts: str, negative: str = "", model: str = "embedded") -> list[Reading]:
        """What becomes of the words of prompts, as `read("a dancing cat")[0].parts`: drawn, left out (also because the
        negative prompt names it), or not known.

        Where one names nothing that can be drawn, `instead` holds prompts to take. Refused where one is empty.
        """
        request = self._resolve(make_request("read", texts=texts, negative=negative, model=model))
        return [answer for answer in self.ask(request) if isinstance(answer, Reading)]

    def enlarge(self, picture: str | Path, size: int = 512, *, model: str = "embedded") -> Image.Image:
        """A picture file made larger, `size` pixels a side, and stored nowhere; `make("enlarge", ...)` stores it.

            studio.enlarge("cat.png").save("cat-512.png")

        Straight RGBA. What is not square stands in the middle of a transparent square. Refused where it can't be read
        and where the model has no such size.
        """
        request = make_request("enlarge", image={"path": str(picture)}, size=size, model=model)
        with Image.open(io.BytesIO(self.content(self._resolve(request)).data)) as enlarged:
            return enlarged.convert("RGBA")

    def larger(self, picture: Path, *, model: str = "embedded") -> Image.Image | None:
        """A picture file in the largest size that the model makes of it, or None. Errors as for `enlarge`."""
        largest = self._opener(model).capabilities().enlarges
        return self.enlarge(picture, largest, model=model) if largest else None

    def export(
        self, file: str | Path, out: str | Path | None = None, *, model: str = "embedded", **wanted: Any
    ) -> list[Path]:
        """Write a picture or clip file as others into the folder `out` (None: its own) -> their paths:
        `export("clip.webp", "ready", app="telegram")`, `export("clip.webp", format="gif", matte="white")`.

        `wanted` are the fields of `Wanted`. The model enlarges where more pixels are wanted. Refused where it can't be
        read, or made so.
        """
        from studio.export.make import Wanted, exported  # FFmpeg and more, which only this needs

        file = Path(file)
        folder = Path(out) if out else file.parent
        ready_folder(folder, 1)
        files = exported(file, Wanted(**wanted), functools.partial(self.larger, model=model))
        for name, data in files.items():
            write_whole(folder / name, data)
        return [folder / name for name in files]

    def search(
        self,
        words: str = "",
        *,
        like: str | Path | None = None,
        without: str | Path = "",
        k: int = 20,
        wanted: Filter | None = None,
        meaning: bool = True,
        model: str = "embedded",
    ) -> list[Hit]:
        """Artifacts of the gallery, at most `k`, best first: those that say all `words` in prompt, caption, note or
        tags, then those whose vectors are near to the words' and to that of `like`, the file of a picture or a clip.

        `without` is subtracted: words, or a picture where it is a Path. Artifacts of another space than that of `model`
        are found by their words only; so are all where `meaning` is off or the model is not installed. With nothing to
        look for, the newest of those `wanted`.

            studio.search("cat", without="hat", wanted=Filter(style="noto"))
            studio.search(like="cat.png", without=Path("dog.png"))
        """
        request = search_request(words, like, without, k, meaning, model)
        return self.store.search.find(request, *self.query_vector(request), wanted)

    def duplicates(self) -> list[Group]:
        """Groups of near-duplicates in the gallery: one drawing again, moved, in another size or other colours.

        for group in studio.duplicates():
            studio.gallery.delete(one.sha256 for one in group.others)  # to the bin
        """
        return self._duplicates.groups()

    def query_vector(self, request: SearchRequest) -> tuple[np.ndarray | None, str]:
        """The unit vector of a search, None where only words are matched, and its space. Errors as for `search`."""
        pictures, space = bool(request.like or request.unlike), ""
        self._opener(request.model)
        with contextlib.nullcontext() if pictures else contextlib.suppress(Refused):
            space = self.space(request.model) if request.meaning or pictures else ""
        resolved = self._resolve(request) if pictures else request
        return query_vector(resolved, self.ask) if space else None, space

    def foreign(self, model: str = "embedded") -> Message | None:
        """A message if artifacts have vectors of another model; None if none has or this one is not installed."""
        with contextlib.suppress(Refused):
            if count := self.store.search.foreign(self.space(model)):
                return Message("search.other_model", {"count": f"{count:,}"})
        return None

    def space(self, model: str = "embedded") -> str:
        """The name of a model's semantic space: vectors of two don't compare. Refused where it is not installed."""
        backend = self._opener(model)
        backend.digest()
        return backend.space()

    # --- Prompt files -------------------------------------------------------------------------------------------------

    def batch(
        self, file: Files, out: str | Path | None = None, *, model: str = "embedded", cluster: str | None = None
    ) -> dict[str, Any]:
        """Do the jobs of prompt files in the folder `out` (None: one in the home), as `studio batch` does.

        Returns its figures: `{total, done, found, failed, errors: [{file, line, message}], problem, out}`. It is done
        in this process, past the queue, or on the Ray cluster at the address `cluster` ("local": over the devices of
        this machine). Stopped in any way, the same call goes on where it was. Refused where there is nothing to do, or
        the folder holds another batch.
        """
        from studio.batch.run import Runner, run_files  # readers of many formats, which only prompt files need

        def watch(runner: Runner) -> None:
            with contextlib.closing(runner.run()) as running:
                for _ in running:
                    if STOP.get().is_set():
                        runner.stopped = True
                        return

        files = [file] if isinstance(file, str | Path) else file
        lists, to = Wildcards(settings.wildcards(self.home)), Path(out) if out else None
        done = run_files([str(one) for one in files], model, lists, to, self.home, watch, self._opener, cluster)
        return {**done.as_dict(), "out": str(done.folder.path)}

    # --- The same, awaited --------------------------------------------------------------------------------------------

    agenerate = awaitable(generate)
    aanimate = awaitable(animate)
    acaption = awaitable(caption)
    aresult = awaitable(result)
    aask = awaitable(ask)
    acontent = awaitable(content)
    aembed = awaitable(embed)
    aenlarge = awaitable(enlarge)
    aread = awaitable(read)
    aexport = awaitable(export)
    asearch = awaitable(search)
    abatch = awaitable(batch)

    # --- The worker ---------------------------------------------------------------------------------------------------

    def open(self, model: str = "") -> None:
        """Start the worker: it does the waiting jobs, or loads `model` if there are none."""
        self._worker.wake(model)

    def close(self) -> None:
        """End the worker; its job returns to the queue, and saved artifacts stay."""
        self._closed = True
        self._worker.close()
        self.threads.shutdown(wait=False)

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _resolve(self, request: Any) -> Any:
        return resolve(request, self._opener(request.model).capabilities())

    def _wait(self) -> None:
        """Wait for the next poll; Stopped where the caller was cancelled."""
        if STOP.get().wait(POLL):
            raise Stopped
