"""What stands below a prompt while one types: the completion of its last word, taken by Tab, and what was understood of
it, as chips that can be removed or exchanged.
"""

from functools import partial
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Query

from models.prompts.completion import complete
from studio.page.context import PageContext
from studio.page.form import Form
from studio.page.html import render, script
from studio.page.language import routes
from studio.requests import has_words

Text = Annotated[str, Query(max_length=2_000)]


def put(context: PageContext, form: Form) -> None:
    """Put both for the form's prompt here, where the model reads prompts."""
    if "read" in context.can.tasks:
        for name in ("complete", "chips"):
            bar = gr.HTML(js_on_load=script(f"{name}.js"), elem_id=f"{form.prefix}{name}", elem_classes=name)
            context.on_load(partial(render, f"{name}.bar", f"{form.prefix}prompt"), bar)


def router(context: PageContext) -> APIRouter:
    router = routes()

    @router.get("/read")
    def chips(text: Text, negative: Text = "", fixed: bool = False) -> Any:
        """The chips of a prompt beside a negative one, as HTML; `fixed` ones change nothing."""
        reading = context.read(text, negative=negative)[0] if has_words(text) else None
        return {"html": render("chips.chips", reading, fixed) if reading else ""}

    @router.get("/complete")
    def completion(text: Text) -> list[str]:
        """The prompt with its last word completed, or nothing."""
        return complete(text, count=1)

    return router
