"""The page's named endpoints: what `gradio_client` and similar clients call by name. They use the same queue."""

from typing import Any

import gradio as gr

from models.messages import Refused
from studio.events import Failed
from studio.page.context import PageContext
from studio.page.html import url
from studio.page.language import text
from studio.requests import only


class Endpoints:
    """Typed and documented; Gradio shows the docstrings in its description of the API."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio = context, context.studio

    def submit(
        self,
        prompt: str,
        negative: str = "",
        style: str = "",
        count: int = 1,
        seed: int = -1,
        steps: int = 0,
        guidance: float = 0,
        scheduler: str = "",
    ) -> str:
        """Queue pictures.

        Args:
            prompt: what to make, in English or Chinese.
            negative: what should not be in it.
            style: one of the styles; empty leaves it to the model.
            count: pictures.
            seed: of the first picture, the others follow; -1 is a new one.
            steps: of the sampler; 0 is the usual number.
            guidance: how closely to keep to the words; 0 is the usual.
            scheduler: the sampler; empty is the usual one, "fast" the fast variant.

        Returns:
            The job's id, for `status` and `cancel`.
        """
        fields: dict[str, Any] = {"prompt": prompt, "negative": negative, "style": style, "count": count}
        fields |= {"seed": None if seed == -1 else seed, "steps": steps or None, "guidance": guidance or None}
        fields["scheduler"] = scheduler
        try:
            return self.studio.submit(only(self.studio.prepare("image", **fields, model=self.context.model)))
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from refusal

    def status(self, job: str) -> dict[str, Any]:
        """How far a job is.

        Args:
            job: the id that `submit` gave.

        Returns:
            state (waiting, running, done, failed, cancelled or quarantined), step, total, sentence (why it failed), and
            pictures: for each its index, seed, and the url under which this server has it.
        """
        try:
            state = self.studio.queue.job(job)
        except KeyError as error:
            raise gr.Error(text("no_job", job=job[:80]), print_exception=False) from error
        progress = None if state.state == "waiting" else self.studio.store.progress.read(job)[1]
        step, total = (progress.step, progress.total) if progress else (0, 0)
        found = self.studio.gallery.results(state.id, state)
        pictures = [{"index": index, "seed": one.seed, "url": url(one.path)} for index, one in found.items()]
        return {"state": state.state, "step": step, "total": total, "sentence": state.sentence, "pictures": pictures}

    def cancel(self, job: str) -> str:
        """Stop a job at its next step, or take it out of the queue; what is finished stays.

        Args:
            job: the id that `submit` gave.

        Returns:
            The job's id.
        """
        self.studio.cancel(job)
        return job

    def generate(
        self, prompt: str, negative: str = "", style: str = "", count: int = 1, seed: int = -1
    ) -> list[dict[str, Any]]:
        """Make pictures and wait for them. A client that goes away loses nothing: they are made, and kept.

        Args:
            prompt: what to make, in English or Chinese.
            negative: what should not be in it.
            style: one of the styles; empty leaves it to the model.
            count: pictures.
            seed: of the first picture, the others follow; -1 is a new one.

        Returns:
            For each picture its index, seed, and the url under which this server has it.
        """
        job = self.submit(prompt, negative, style, count, seed)
        for event in self.studio.events(job):
            if isinstance(event, Failed):
                raise gr.Error(str(event.sentence), print_exception=False)
        return list(self.status(job)["pictures"])


def build(context: PageContext) -> None:
    named = Endpoints(context)
    for function in (named.submit, named.status, named.cancel, named.generate):
        gr.api(function, api_name=function.__name__, concurrency_limit=None)
