"""The studio in one object: a home with its queue and gallery, and the worker that does what is put in line.

What takes a while comes in two forms. `generate` waits; `agenerate` is awaited, and holds up no event loop.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from models.messages import Refused
from studio import inputs, settings
from studio.backends.registry import Opener, open_backend
from studio.events import Answer, Cancelled, Done, End, Failed, Progress, Saved, Vector
from studio.files import ready_folder
from studio.foreman import Foreman
from studio.gallery import Filter
from studio.house import House
from studio.prompts import given
from studio.questions import Question, opened, question_id
from studio.queue import QueuedJob
from studio.requests import (
    ImageRequest,
    SearchRequest,
    apart,
    company,
    enlarge,
    image_request,
    job_id,
    resolve,
    search_request,
)
from studio.search import Hit
from studio.sense import Sense, as_said, questions_of, sense
from studio.watch import Watch
from studio.wildcards import Wildcards

POLL = 0.05  # seconds between looks at what is watched
CLOSED = "the studio was closed before this was done; open it again, and it goes on."


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
        self.house = House(self.home)
        self.queue, self.gallery = self.house.queue, self.house.gallery
        self._opener, self._foreman = opener, Foreman(self.home, self.queue, opener)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- Pictures -----------------------------------------------------------------------------------------------------

    def generate(self, prompt: str = "", *, model: str = "embedded", **fields: Any) -> list[Saved]:
        """Make pictures, in the gallery, and wait for them. `fields` are those of `ImageRequest`, as in
        `generate("a cat", style="noto", count=4, seed=7, image="cat.png", strength=0.5)`; pictures are given by path.

        What was made before is found, not made again. Stopped with Ctrl-C, the jobs are cancelled. Refused where it
        can't be done, or where somebody cancels it.
        """
        jobs: list[str] = []
        try:
            self._submit_all(self.prepare(prompt, model=model, **fields), jobs)
            return [saved for job in jobs for saved in self.result(job)]
        except KeyboardInterrupt:
            self.queue.cancel(jobs)
            raise

    async def agenerate(self, prompt: str = "", *, model: str = "embedded", **fields: Any) -> list[Saved]:
        """As `generate`. A task that is cancelled while it waits cancels its jobs: nobody else is told of them."""
        requests = await asyncio.to_thread(self.prepare, prompt, model=model, **fields)
        events: dict[str, list[Progress | Saved | End]] = {}
        async with contextlib.aclosing(self.amake(requests)) as made:
            async for job, event in made:
                events.setdefault(job, []).append(event)
        return [saved for heard in events.values() for saved in _result(heard)]

    async def amake(self, requests: Sequence[ImageRequest]) -> AsyncGenerator[tuple[str, Progress | Saved | End], None]:
        """Submit resolved requests and say what happens, one job after the other, each event with the job's id.

        Whoever stops listening before the end cancels the jobs.
        """
        jobs, left = list[str](), threading.Event()
        try:
            await asyncio.to_thread(self._submit_all, requests, jobs, left)
            for job in jobs:
                async for event in self.aevents(job):
                    yield job, event
        except (asyncio.CancelledError, GeneratorExit):
            left.set()
            self.queue.cancel(list(jobs))
            raise

    def prepare(self, prompt: str = "", *, model: str = "embedded", **fields: Any) -> list[ImageRequest]:
        """What is to be submitted for it: one resolved request, or one a picture where the seed draws the words.

        Refused where it can't be done.
        """
        asked = image_request(prompt=prompt, model=model, **given(fields))
        can, lists = self._opener(model).capabilities(), Wildcards(settings.wildcards(self.home))
        single = apart(asked, can)
        shape = {"shape": can.shape(len(single))} if len(single) > 1 else {}
        requests = [resolve(request.model_copy(update=shape), can, lists) for request in single]
        ready_folder(self.gallery.folder, sum(request.count for request in requests))
        return requests

    def submit(self, request: ImageRequest, priority: int = 0) -> str:
        """Put a resolved request in line -> its id. What is in line, or made and still there, is not done twice."""
        job = job_id(request, self._opener(request.model).digest())
        self.gallery.take_out(job)
        again = len(self.gallery.found(job)) < request.count
        request = inputs.keep(request, self.home)
        self.queue.submit(request, job, repr(company(request)), priority, again)
        self._foreman.wake()
        return job

    def events(self, job: str, heartbeat: float | None = None) -> Iterator[Progress | Saved | End | None]:
        """What happens to a job until it ends, from the store. Progress between two looks is left out, the latest holds
        it all; whoever comes late, or twice, gets the state so far first. When the studio is closed it stops without an
        end: the job goes on another day. KeyError for a job that nobody knows. None comes every `heartbeat` seconds in
        which nothing else did, so that one who has left can be noticed.
        """
        watch, last = Watch(self.house, job), time.monotonic()
        while not self._closed:
            news: list[Progress | Saved | End | None] = [*watch.look()]
            if heartbeat is not None and not news and time.monotonic() - last > heartbeat:
                news.append(None)
            last = time.monotonic() if news else last
            yield from news
            if watch.ended:
                return
            time.sleep(POLL)

    async def aevents(self, job: str) -> AsyncIterator[Progress | Saved | End]:
        """As `events`. Whoever stops listening leaves the job as it is."""
        watch = Watch(self.house, job)
        while not self._closed:
            for event in await asyncio.to_thread(watch.look):
                yield event
            if watch.ended:
                return
            await asyncio.sleep(POLL)

    def result(self, job: str) -> list[Saved]:
        """Wait for a job -> its pictures. Refused where it fails or is cancelled; KeyError where nobody knows it."""
        return _result(list(self.events(job)))

    async def aresult(self, job: str) -> list[Saved]:
        """As `result`. Whoever stops waiting leaves the job as it is."""
        return _result([event async for event in self.aevents(job)])

    def cancel(self, job: str) -> None:
        """Stop a job at its next step, or before it begins. Nothing happens where it has ended."""
        self.queue.cancel([job])

    def current(self) -> QueuedJob | None:
        """The job that is being done, else the first in line: where a page that was closed picks the thread up."""
        return next(iter(self.queue.jobs(limit=1)), None)

    # --- Answers ------------------------------------------------------------------------------------------------------

    def ask(self, question: Question) -> tuple[Answer, ...]:
        """Have the worker answer a question whose pictures are known, and wait; Refused where it can't.

        Questions go before all jobs, and are answered between two steps of one that runs. The first one waits until the
        model is loaded; one that was asked lately has its answer at once.
        """
        name = self._put(question)
        while not self._closed:
            if (answers := self.house.questions.read(name)) is not None:
                return answers
            time.sleep(POLL)
        raise Refused(CLOSED)

    async def aask(self, question: Question) -> tuple[Answer, ...]:
        """As `ask`. A question that nobody waits for any more is answered all the same."""
        name = await asyncio.to_thread(self._put, question)
        while not self._closed:
            answers = await asyncio.to_thread(self.house.questions.read, name)
            if answers is not None:
                return answers
            await asyncio.sleep(POLL)
        raise Refused(CLOSED)

    def embed(
        self, texts: Sequence[str] = (), pictures: Sequence[str | Path] = (), *, model: str = "embedded"
    ) -> list[Vector]:
        """Places in the semantic space: of the texts, then of the picture files, each 128 numbers of length 1.

            cat, dog = studio.embed(["a cat", "a dog"])
            likeness = sum(a * b for a, b in zip(cat.vector, dog.vector))  # their cosine

        Refused where a text is empty or a picture can't be read.
        """
        said, asked = questions_of(texts, pictures, model)
        return as_said(said, [answer for question in asked for answer in self.ask(question)])

    async def aembed(
        self, texts: Sequence[str] = (), pictures: Sequence[str | Path] = (), *, model: str = "embedded"
    ) -> list[Vector]:
        """As `embed`."""
        said, asked = await asyncio.to_thread(questions_of, texts, pictures, model)
        return as_said(said, [answer for question in asked for answer in await self.aask(question)])

    def enlarge(self, picture: str | Path, size: int = 512, *, model: str = "embedded") -> Image.Image:
        """A picture file made larger, `size` pixels a side, and put nowhere; `resolve(enlarge(...))` makes a job of it.

            studio.enlarge("cat.png").save("cat-512.png")

        Straight RGBA. What is not square stands in the middle of a transparent square. Refused where it can't be read
        and where the model has no such size.
        """
        return opened(self.ask(self._enlarging(picture, size, model)))

    async def aenlarge(self, picture: str | Path, size: int = 512, *, model: str = "embedded") -> Image.Image:
        """As `enlarge`."""
        return opened(await self.aask(await asyncio.to_thread(self._enlarging, picture, size, model)))

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
        """Pictures of the gallery, at most `k`, best first: those that say all `words` in prompt, note or tags, then
        those that mean it, and mean what the picture file `like` does.

        `without` is taken away: words, or a picture where it is a Path. Pictures of another space than that of `model`
        are found by their words only; so are all where `meaning` is off or the model is not installed. With nothing to
        look for, the newest of those `wanted`.

            studio.search("cat", without="hat", wanted=Filter(style="noto"))
            studio.search(like="cat.png", without=Path("dog.png"))
        """
        looked_for = self.sense(looking(words, like, without, k, meaning, model))
        answers = self.ask(looked_for.request) if looked_for.request else ()
        return looked_for.hits(self.house.search, answers, wanted, k)

    async def asearch(
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
        """As `search`."""
        asked = looking(words, like, without, k, meaning, model)
        looked_for = await asyncio.to_thread(self.sense, asked)
        answers = await self.aask(looked_for.request) if looked_for.request else ()
        return await asyncio.to_thread(looked_for.hits, self.house.search, answers, wanted, k)

    def sense(self, asked: SearchRequest) -> Sense:
        """What a search looks for; without a request to ask where words alone are looked for. Errors are those of
        `search`.
        """
        pictures, space = bool(asked.like or asked.unlike), ""
        self._opener(asked.model)
        with contextlib.nullcontext() if pictures else contextlib.suppress(Refused):
            space = self.space(asked.model) if asked.meaning or pictures else ""
        return sense(asked, space)

    def space(self, model: str = "embedded") -> str:
        """What the semantic space of a model is called; vectors of two spaces don't compare. Refused where the model is
        not installed.
        """
        backend = self._opener(model)
        backend.digest()
        return backend.space()

    # --- Prompt files -------------------------------------------------------------------------------------------------

    def batch(
        self, file: str | Path | Sequence[str | Path], out: str | Path | None = None, *, model: str = "embedded"
    ) -> dict[str, Any]:
        """Make the pictures of prompt files in the folder `out` (None: one in the home), as `studio batch` does.

        Returns its figures: `{total, done, found, failed, errors: [{file, line, message}], problem, out}`. It is done
        in this process, past the queue. Stopped in any way, the same call goes on where it was. Refused where there is
        nothing to do, or the folder holds another batch.
        """
        return self._batch(file, out, model, threading.Event())

    async def abatch(
        self, file: str | Path | Sequence[str | Path], out: str | Path | None = None, *, model: str = "embedded"
    ) -> dict[str, Any]:
        """As `batch`. A task that is cancelled stops the batch at its next step."""
        left = threading.Event()
        try:
            return await asyncio.to_thread(self._batch, file, out, model, left)
        finally:
            left.set()

    # --- The worker ---------------------------------------------------------------------------------------------------

    def open(self, model: str = "") -> None:
        """Begin to work: what waits from another day, and loading `model` if there is nothing."""
        self._foreman.wake(model)

    def close(self) -> None:
        """End the worker; what it was doing goes back in line, what is whole on disk stays."""
        self._closed = True
        self._foreman.close()

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _submit_all(
        self, requests: Sequence[ImageRequest], jobs: list[str], left: threading.Event | None = None
    ) -> None:
        """Put requests in line, their ids into `jobs`; they are cancelled where whoever asked has `left` by then."""
        for request in requests:
            jobs.append(self.submit(request))
            if left and left.is_set():
                self.queue.cancel([jobs[-1]])
                return

    def _enlarging(self, picture: str | Path, size: int, model: str) -> ImageRequest:
        return resolve(enlarge(str(picture), size, model), self._opener(model).capabilities())

    def _put(self, question: Question) -> str:
        name = question_id(question, self._opener(question.model).digest())
        self.house.questions.ask(question, name)
        self._foreman.wake()
        return name

    def _batch(
        self, file: str | Path | Sequence[str | Path], out: str | Path | None, model: str, left: threading.Event
    ) -> dict[str, Any]:
        from studio.batch import sources  # readers of many formats, which only prompt files need
        from studio.batch.plan import Context
        from studio.batch.run import Runner, run

        def watch(runner: Runner) -> None:
            with contextlib.closing(runner.run()) as running:
                for _ in running:
                    if left.is_set():
                        runner.outcome.stopped = True
                        return

        backend, files = self._opener(model), [file] if isinstance(file, str | Path) else file
        context = Context(model, backend.capabilities(), backend.digest(), Wildcards(settings.wildcards(self.home)))
        with sources.opened([str(one) for one in files]) as read:
            outcome, path = run(backend, read, context, Path(out) if out else None, self.home, watch)
        return {**outcome.as_dict(), "out": str(path)}


def _result(events: Sequence[Progress | Saved | End | None]) -> list[Saved]:
    end = events[-1] if events else None
    if isinstance(end, Failed):
        raise Refused(end.sentence)
    if isinstance(end, Cancelled):
        raise Refused("the job was cancelled before it was done; ask again.")
    if not isinstance(end, Done):
        raise Refused(CLOSED)
    return sorted((event for event in events if isinstance(event, Saved)), key=lambda saved: saved.index)


def looking(
    words: str, like: str | Path | None, without: str | Path, k: int = 20, meaning: bool = True, model: str = "embedded"
) -> SearchRequest:
    """A search as a request; `without` is words, or a picture where it is a Path. Refused where it can't be meant."""
    unlike = {"path": str(without)} if isinstance(without, Path) else None
    return search_request(
        words=words, like={"path": str(like)} if like else None, without="" if unlike else without, unlike=unlike,
        k=k, meaning=meaning, model=model,
    )  # fmt: skip
