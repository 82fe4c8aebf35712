"""What was understood of a prompt, below it while one types: words as chips, each of which can go or be exchanged."""

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from models.messages import Refused
from studio.page.context import PageContext
from studio.page.form import Form
from studio.page.html import render, script
from studio.page.language import error_text, routes
from studio.page.suggest import Text
from studio.requests import has_words


def put(context: PageContext, form: Form) -> None:
    """Put the chips of the form's prompt here, where the model says what it reads."""
    if "read" in context.can.tasks:
        bar = gr.HTML(js_on_load=script("chips.js"), elem_id=f"{form.prefix}chips", elem_classes="read")
        context.on_load(lambda: render("chips.bar", f"{form.prefix}prompt"), bar)


def router(context: PageContext) -> APIRouter:
    made = routes()

    @made.get("/read")
    def chips(text: Text) -> object:
        """The chips of a prompt, as HTML."""
        try:
            found = context.studio.read(text, model=context.model) if has_words(text) else []
        except Refused as refusal:
            return JSONResponse({"problem": error_text(refusal)}, 422)
        return {"html": render("chips.chips", found[0]) if found else ""}

    return made
