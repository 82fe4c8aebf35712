"""What stands below a prompt while one types: what was understood of it, as chips that can go or be exchanged, and
ideas how it may go on, taken by Tab or from a list behind a button.
"""

from functools import partial
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Query

from models.prompts.suggestion import KINDS
from studio.page.context import PageContext
from studio.page.form import Form
from studio.page.html import render, script
from studio.page.language import routes
from studio.requests import has_words

Text = Annotated[str, Query(max_length=2_000)]
PARTS = {"suggest": ("suggest", "suggest"), "read": ("chips", "read")}  # by task: what is put there, and its class


def put(context: PageContext, form: Form) -> None:
    """Put both for the form's prompt here, as far as the model can."""
    for task, (name, style) in PARTS.items():
        if task in context.can.tasks:
            bar = gr.HTML(js_on_load=script(f"{name}.js"), elem_id=f"{form.prefix}{name}", elem_classes=style)
            context.on_load(partial(render, f"{name}.bar", f"{form.prefix}prompt"), bar)


def router(context: PageContext) -> APIRouter:
    made, suggest = routes(), partial(context.studio.suggest, model=context.model)

    @made.get("/read")
    def chips(text: Text, negative: Text = "", fixed: bool = False) -> Any:
        """The chips of a prompt beside a negative one, as HTML; `fixed` ones change nothing."""
        reading = context.read(text, negative=negative)[0] if has_words(text) else None
        return {"html": render("chips.chips", reading, fixed) if reading else ""}

    @made.get("/suggest/completion")
    def completion(text: Text) -> Any:
        """What is offered to go on with: {text, score...}, or nothing."""
        return suggest(text, kinds=("complete",), count=1)

    @made.get("/suggest/list")
    def ideas(text: Text) -> Any:
        """All suggestions, as HTML."""
        found = suggest(text)
        return {"html": render("suggest.ideas", {kind: [one for one in found if one.kind == kind] for kind in KINDS})}

    return made
