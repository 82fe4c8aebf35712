"""Which model the page is for, where a person picks another, and the change to that one."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import gradio as gr
from fastapi import FastAPI

from models.messages import Refused
from studio import settings
from studio.backends.base import KINDS
from studio.disk.memory import AUTO, MEMORY, fit, machine
from studio.disk.models import LocalModel, look
from studio.page.context import QUIET, PageContext
from studio.page.html import error_text, label, text
from studio.page.making import notes


class Serving:
    """The app of the served model. `build` makes another's when it is first picked; it is kept for the next change."""

    def __init__(self, context: PageContext, build: Callable[[PageContext], FastAPI]) -> None:
        self._context, self._build, self._apps = context, build, dict[str, FastAPI]()
        self._tasks: list[asyncio.Task[None]] = []
        context.serve = self.serve

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    def serve(self, model: str) -> None:
        """Go over to a model; called by a thread that may wait. Refused where it can't be opened."""
        # In a context of its own: inside an event, and in what is begun there, Gradio makes updates of what are to be
        # components, of this page and of all that the new one does later.
        own = contextvars.Context()
        own.run(asyncio.run_coroutine_threadsafe, self._serve(model), self._loop).result()
        self._context.studio.open(model)

    async def _live(self, receive: Any, send: Any) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._one = asyncio.Lock()  # Gradio builds one page at a time
        await receive()
        await self._serve(self._context.model)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ended.set()
        await asyncio.gather(*self._tasks)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, model: str) -> None:
        async with self._one:
            await self._change(model)

    async def _change(self, model: str) -> None:
        if model not in self._apps:
            app, ready = await asyncio.to_thread(self._built, model), asyncio.Event()
            task = asyncio.create_task(self._hold(app, ready))
            self._tasks.append(task)
            await asyncio.wait((task, waits := asyncio.create_task(ready.wait())), return_when="FIRST_COMPLETED")
            if not waits.done():
                waits.cancel()
                task.result()
            self._apps[model] = app
        self._app = self._apps[model]

    def _built(self, model: str) -> FastAPI:
        own = self._context.model == model
        return self._build(self._context if own else PageContext(self._context.studio, model, self.serve))

    async def _hold(self, app: FastAPI, ready: asyncio.Event) -> None:
        """What an app starts and ends, in one task."""
        async with app.router.lifespan_context(app):
            ready.set()
            await self._ended.wait()


def build(context: PageContext) -> None:
    """Put the pickers here, where there is a choice: the model, and how much memory it may take."""
    own = context.can.memory
    with gr.Row(elem_id="serving", visible=own) as row:
        model = gr.Dropdown([(context.can.title, context.model)], label=label("serving.model"), elem_id="model")
        about: Any = {"label": label("serving.memory"), "elem_id": "memory", "visible": own}
        memory = gr.Dropdown([AUTO, *MEMORY], value=settings.memory() or AUTO, **about)
    told = gr.HTML(elem_id="served")
    gone = gr.HTML(visible="hidden")

    def load() -> tuple[Any, Any, str]:
        there = _there(context)
        choices = [(one.name, name) for name, one in there.items()]
        named = {name for _, name in choices}
        choices = [(context.can.title, context.model)] * (context.model not in named) + choices
        choices += [("Studio 128", "embedded")] * (context.model != "embedded")
        picked = gr.update(choices=choices, value=context.model)
        return gr.update(visible=len(choices) > 1 or own), picked, _estimate(there.get(context.model))

    def pick(picked: str) -> tuple[str, str]:
        try:
            if picked not in (context.model, "embedded", *_there(context)):
                raise Refused("model.unknown", model=str(picked)[:200], hint="", models=list(KINDS))
            assert context.serve
            context.serve(picked)
        except Refused as refusal:
            return notes(problem=[error_text(refusal)]), ""
        return "", picked

    def keep(word: str) -> str:
        settings.choose(settings.home(), memory=None if word == AUTO else word)
        return _estimate(_there(context).get(context.model))

    context.on_load(load, row, model, told)
    reload = "(picked) => { if (picked) location.reload(); }"  # page.js keeps what was typed
    model.input(pick, model, [told, gone], **QUIET).then(None, gone, None, js=reload, api_visibility="private")
    if own:
        memory.input(keep, memory, told, **QUIET)


def _there(context: PageContext) -> dict[str, LocalModel]:
    """The models on this disk that make something here, by what `--model` takes."""
    found = look(settings.model_folders(context.studio.home))
    return {one.model: one for one in found if one.model and not one.problem}


def _estimate(found: LocalModel | None) -> str:
    """Whether a model fits, in the way that is chosen."""
    fits = fit(found, machine(settings.device()), word=settings.memory() or AUTO) if found else None
    return notes(note=[text("serving.fit", said=error_text(fits.message))]) if fits else ""
