"""What happens when something on the Create tab is pressed: requests go to the queue, page.js watches them.

No event computes a picture, or waits for one. A tab that is closed leaves the job running, and the page that is opened
next picks it up.
"""

import time
from pathlib import Path
from typing import Any

import gradio as gr

from models.messages import Refused
from studio import inputs
from studio.metadata import read, restore
from studio.page.create import edits
from studio.page.create.view import nothing_yet, refused, strip, told
from studio.page.create.words import say
from studio.page.frame import Frame, said, whole_number
from studio.page.pulse import Pulse
from studio.page.refusals import in_language
from studio.page.styles.view import picker

REMEMBERED = 36  # pictures shown below the stage
HISTORY = 50  # earlier prompts
# The fields of a request that inputs of the same name hold, as they come.
PLAIN = ("negative", "style", "scheduler")
SAMPLED = ("steps", "guidance")  # what some schedulers leave no choice of


class Desk:
    """Stands between one page's Create tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.studio, self.pulse = frame, frame.studio, Pulse(frame.studio)

    def greet(self, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened: show the job that is being done, if there is one -> stage, strip, styles, history."""
        spoken, job = self.frame.spoken(request), self.studio.current()
        stage = self.pulse.stage(job.id, spoken).html() if job else nothing_yet(spoken, self.frame.problem())
        return stage, self.remembered(request), self.picker("", request), self.history()

    def start(self, given: dict[str, Any], request: gr.Request) -> tuple[str, Any]:
        """Put a job in line, or one a picture where the seed draws the words -> stage of the first, history.

        `given` holds the value of each input by its name.
        """
        spoken = self.frame.spoken(request)
        try:
            jobs = [self.studio.submit(request) for request in self.studio.prepare(**self.fields(given))]
        except Refused as refusal:
            return refused(in_language(str(refusal), spoken)), gr.skip()
        return self.pulse.stage(jobs[0], spoken).html(own=True), self.history()

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the inputs ask for, as fields of a request; what is left as it was is left out."""
        can = self.frame.can
        fields: dict[str, Any] = {name: given.get(name) or "" for name in PLAIN}
        fields |= {"prompt": given["prompt"] or "", "count": int(given["count"]), "seed": whole_number(given["seed"])}
        fields |= {"best_of": int(given["best_of"]), "model": self.frame.model}
        if fields["scheduler"] not in can.fixed:
            fields |= {"steps": int(given["steps"]), "guidance": float(given["guidance"])}
        if given["like"]:
            fields["like"] = {"path": given["like"]}
        if given.get("size") and int(given["size"]) != can.size:
            fields["size"] = int(given["size"])
        fields |= edits.start(given, self.studio.home, can)
        return fields | edits.blend(given)

    def sampled(self, scheduler: str, before: str) -> tuple[Any, ...]:
        """Another scheduler is there -> steps and guidance, and that scheduler as what is there now.

        One that leaves no choice of them holds them fast; after it they are the usual ones again.
        """
        can, own = self.frame.can, self.frame.can.fixed.get(scheduler)
        if own:
            held: list[Any] = [gr.update(value=getattr(own, name), interactive=False) for name in SAMPLED]
        elif before in can.fixed:
            held = [gr.update(value=getattr(can, name).usual, interactive=True) for name in SAMPLED]
        else:
            held = [gr.update(interactive=True) for _ in SAMPLED]
        return (*held, scheduler)

    def told(self, event: gr.EventData) -> None:
        """A button on the stage: stop the job, or let it finish the picture that it is at."""
        asked = said(event)
        if asked.get("own") == "stop":
            self.studio.cancel(asked.get("job", ""))
        elif asked.get("own") == "finish":
            self.studio.queue.finish_picture(asked.get("job", ""))

    def adopt(self, event: gr.EventData, request: gr.Request) -> Any:
        """The stage is free, and a job was begun elsewhere: show it."""
        try:
            return self.pulse.stage(said(event).get("job", ""), self.frame.spoken(request)).html()
        except KeyError:
            return gr.skip()

    def remembered(self, request: gr.Request) -> str:
        """The newest pictures of the gallery."""
        return strip(self.studio.gallery.page(limit=REMEMBERED), self.frame.spoken(request))

    def history(self) -> Any:
        """Prompts that were asked for before, latest first."""
        latest = self.studio.queue.latest(4 * HISTORY)
        prompts = list(dict.fromkeys(job.request.prompt for job in latest if job.request.prompt))[:HISTORY]
        return gr.Dropdown(choices=prompts, value=None, visible=bool(prompts))

    def picker(self, style: str, request: gr.Request) -> str:
        """The styles with one of them picked. The time makes it news, whatever was pressed since."""
        return f"{picker(self.frame.can.styles, style, self.frame.spoken(request))}<!-- {time.time()} -->"

    def pick(self, event: gr.EventData) -> str:
        """A style was picked -> the input that holds it."""
        value = said(event).get("value", "")
        return value if value in [one.name for one in self.frame.can.styles] else ""

    def last_seed(self) -> str:
        """The seed of the newest picture, to be kept."""
        newest = self.studio.gallery.page(limit=1)
        return str(newest[0].seed) if newest else ""

    def dropped(self, path: str, request: gr.Request) -> tuple[dict[str, Any], str]:
        """A picture was dropped: its settings, else itself to start from -> values of inputs, what to say."""
        spoken = self.frame.spoken(request)
        try:
            found = read(Path(path))
        except Refused as refusal:
            return {}, told("problem", in_language(str(refusal), spoken))
        if not found:
            return {"canvas": edits.canvas(path)}, told("unknown", say("no_settings", spoken))
        restored = restore(found, self.frame.can, self.studio.home / inputs.INPUTS)
        lost = [in_language(sentence, spoken) for sentence in restored.dropped]
        if not restored.fields:
            return {}, told("unknown", *lost)
        beyond = [say(f"of_{name}", spoken) for name in edits.beyond(restored.fields, self.frame.can)]
        if beyond:
            lost.append(say("beyond", spoken, names=("、" if spoken == "zh" else ", ").join(beyond)))
        return self.values(restored.fields), told("good", say("restored", spoken)) + told("unknown", *lost)

    def handed(self, what: dict[str, Any] | None, request: gr.Request) -> tuple[dict[str, Any], str]:
        """Another part of the page handed a picture over -> values of inputs, what to say."""
        use, digest = (what or {}).get("use"), (what or {}).get("picture", "")
        path = self.frame.picture(f"{digest}.png")
        if path is None or use in ("watch", "find"):
            return {}, ""
        if use == "settings":
            return self.dropped(str(path), request)
        place = {"like": "like", "start": "canvas", "blend": "blend"}[str(use)]
        value = edits.canvas(str(path)) if place == "canvas" else str(path)
        return {place: value}, told("good", say("given", self.frame.spoken(request)))

    def watched(self, what: dict[str, Any] | None, request: gr.Request) -> Any:
        """A job that another part put in line comes on the stage."""
        job = (what or {}).get("job", "")
        return self.pulse.stage(job, self.frame.spoken(request)).html(own=True) if job else gr.skip()

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A request's fields as values of the inputs; what it does not ask for is as on a new page."""
        can = self.frame.can
        values = {"prompt": "", "negative": "", "style": "", "scheduler": can.schedulers[0], "size": can.size}
        values |= {"steps": can.steps.usual, "guidance": can.guidance.usual, "best_of": can.best_of.usual}
        values |= {name: fields[name] for name in (*values, "count") if name in fields}
        values["seed"] = str(fields["seed"]) if fields.get("seed") is not None else ""
        values["sampled"] = values["scheduler"]  # so that the numbers that come with it stay
        values["like"] = fields["like"]["path"] if fields.get("like") else None
        return values | edits.restored(fields, can)
