"""Ideas for a prompt: how it may go on, taken by Tab, and a list to pick from behind a button."""

from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from models.messages import Refused
from models.prompts.suggestion import KINDS
from studio.page.context import PageContext
from studio.page.form import Form
from studio.page.html import render, script
from studio.page.language import error_text, routes

Text = Annotated[str, Query(max_length=2_000)]


def put(context: PageContext, form: Form) -> None:
    """Put the ideas for the form's prompt here, where the model has any."""
    if "suggest" in context.can.tasks:
        bar = gr.HTML(js_on_load=script("suggest.js"), elem_id=f"{form.prefix}suggest", elem_classes="suggest")
        context.on_load(lambda: render("suggest.bar", f"{form.prefix}prompt"), bar)


def router(context: PageContext) -> APIRouter:
    made = routes()

    def suggested(text: str, **how: Any) -> Any:
        try:
            return context.studio.suggest(text, model=context.model, **how)
        except Refused as refusal:
            return JSONResponse({"problem": error_text(refusal)}, 422)

    @made.get("/suggest/completion")
    def completion(text: Text) -> Any:
        """What is offered to go on with: {text, score...}, or nothing."""
        return suggested(text, kinds=("complete",), count=1)

    @made.get("/suggest/list")
    def ideas(text: Text) -> Any:
        """All suggestions, as HTML."""
        found = suggested(text)
        if isinstance(found, JSONResponse):
            return found
        return {"html": render("suggest.ideas", {kind: [one for one in found if one.kind == kind] for kind in KINDS})}

    return made
