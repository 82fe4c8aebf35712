"""What happens when something on the page is pressed: requests go to the queue, and what comes back is watched.

No event computes a picture. A watcher that is dropped with its tab leaves the job running; the page that is opened next
picks it up.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from studio import settings
from studio.backends.registry import open_backend
from studio.capabilities import Capabilities, Refused
from studio.files import ready_folder
from studio.page.view import Stage, header, nothing_yet, refused, strip
from studio.page.words import language
from studio.requests import image_request, resolve
from studio.studio import Studio
from studio.wildcards import Wildcards

HEARTBEAT = 2.0  # seconds
REMEMBERED = 36  # pictures shown below the stage
NAME = re.compile(r"([0-9a-f]{64})\.png")

# What an event shows: stage, strip, make, stop, job.
Shown = tuple[Any, Any, Any, Any, Any]


class Desk:
    """Stands between one page and the studio. `model` is the backend's name."""

    def __init__(self, studio: Studio, model: str) -> None:
        self.studio, self.model = studio, model
        self.can: Capabilities = open_backend(model).capabilities()
        self._lists = Wildcards(settings.wildcards(studio.home))

    def greet(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """A page was opened: say hello in its language and show the job that is being done, if there is one."""
        spoken, job = language(request.headers.get("accept-language")), self.studio.current()
        yield header(spoken), nothing_yet(spoken, self._problem()), self._remembered(spoken), *_buttons(False), ""
        if job:
            yield from ((gr.skip(), *shown) for shown in self._watch(job.id, spoken))

    def start(
        self,
        prompt: str | None,
        negative: str | None,
        style: str | None,
        count: int,
        seed: str | None,
        steps: int,
        guidance: float,
        scheduler: str,
        like: str | None,
        request: gr.Request,
    ) -> Iterator[Shown]:
        """Put a job in line and watch it."""
        fields: dict[str, Any] = {"prompt": prompt or "", "negative": negative or "", "style": style or ""}
        fields |= {"count": int(count), "seed": _whole_number(seed)}
        fields |= {"steps": int(steps), "guidance": float(guidance), "scheduler": scheduler, "model": self.model}
        try:
            asked = resolve(image_request(**fields, like={"path": like} if like else None), self.can, self._lists)
            ready_folder(self.studio.gallery.folder, asked.count)
            job = self.studio.submit(asked)
        except Refused as refusal:
            yield refused(str(refusal)), gr.skip(), *_buttons(False), ""
            return
        yield from self._watch(job, language(request.headers.get("accept-language")))

    def stop(self, job: str) -> None:
        """Stop the job on show."""
        self.studio.cancel(job)

    def like(self, event: gr.EventData) -> tuple[Any, Any]:
        """ "More like this": the picture becomes the one to be like, and the settings open to show it."""
        name = str(event._data.get("like", "")) if isinstance(event._data, dict) else ""
        path = self.picture(name)
        return (str(path), gr.Accordion(open=True)) if path else (gr.skip(), gr.skip())

    def picture(self, name: str) -> Path | None:
        """The file of a finished picture by its name; only pictures of ours have such names."""
        match = NAME.fullmatch(name)
        path = self.studio.gallery.file(match[1]) if match else None
        return path if path and path.is_file() and not path.is_symlink() else None

    def _watch(self, job: str, spoken: str) -> Iterator[Shown]:
        request = self.studio.queue.job(job).request
        stage = Stage(spoken, request.prompt, request.count, ahead=self.studio.queue.ahead(job))
        yield stage.html(), gr.skip(), *_buttons(True), job
        for event in self.studio.events(job, HEARTBEAT):
            if event is None:  # nothing new, but a tab that was closed is noticed only when something is said
                stage.ahead = self.studio.queue.ahead(job)
            else:
                stage.note(event)
            if not stage.end:
                yield stage.html(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        yield stage.html(), self._remembered(spoken), *_buttons(False), ""

    def _remembered(self, spoken: str) -> str:
        """The newest pictures of the gallery, each with its prompt."""
        return strip([(kept.path.name, kept.prompt) for kept in self.studio.gallery.page(limit=REMEMBERED)], spoken)

    def _problem(self) -> str:
        """Why the model can't work, or nothing."""
        try:
            open_backend(self.model).digest()
        except Refused as refusal:
            return str(refusal)
        return ""


def _whole_number(text: str | None) -> int | str | None:
    """A seed as typed: nothing is None; what is no number stays text, and the request refuses it."""
    stripped = (text or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,20}", stripped, re.ASCII) else stripped or None


def _buttons(busy: bool) -> tuple[Any, Any]:
    """Make and stop, while a job runs and else."""
    return gr.Button(interactive=not busy), gr.Button(interactive=busy)
