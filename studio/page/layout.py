"""Builds the page: head, pickers of the model and its memory, tabs, theme, and the card over them."""

import json
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import quote

import gradio as gr

from models.messages import Refused
from studio import settings
from studio.backends.base import KINDS
from studio.disk.memory import AUTO, MEMORY, fit, machine
from studio.disk.models import LocalModel, look
from studio.page import card
from studio.page import tabs as tab_package
from studio.page.context import QUIET, PageContext
from studio.page.html import HERE, error_text, label, render, script, text, translations
from studio.page.making import notes

EVENTS_MOST = 100  # waiting events; Gradio refuses more


def build(context: PageContext) -> gr.Blocks:
    """Build the page for `context`."""
    with gr.Blocks(title="Studio 128", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as page:
        masthead = gr.HTML(render("parts.header"), elem_id="masthead")
        context.handed, context.tabs = gr.State(None), gr.Tabs(elem_id="tabs", render=False)
        if context.serve:
            _build_picker(context)
        card.build(context)
        context.tabs.render()
        with context.tabs:
            for tab in tabs():
                tab.build(context)
        context.on_load(lambda: render("parts.header"), masthead)
        for function, outputs in context.loads:
            page.load(function, None, outputs, **QUIET)
    page.queue(max_size=EVENTS_MOST)
    context.series.resume()
    return page


def tabs() -> list[Any]:
    """All modules of the package `tabs`, sorted by `ORDER`."""
    names = [module.name for module in iter_modules(tab_package.__path__, f"{tab_package.__name__}.")]
    return sorted(map(import_module, names), key=lambda module: module.ORDER)


def tab_names() -> list[str]:
    """Ids of the tabs, in order."""
    return [module.__name__.rpartition(".")[2] for module in tabs()]


def head() -> str:
    """HTML that must come before Gradio's: icon and page.js."""
    icon = f'<link rel="icon" href="data:image/svg+xml,{quote(render("parts.icon"))}">'
    return f"{icon}<script>{script('page.js')}</script>"


def appearance() -> dict[str, Any]:
    """Arguments of Gradio for theme, style sheets and labels."""
    return {
        "i18n": gr.I18n(**translations()),
        "theme": theme(),
        "css_paths": sorted((HERE / "static").glob("*.css")),
        "footer_links": [],  # Gradio's own settings would be a second switch for language and light
        "run_history": False,
    }


def theme() -> gr.Theme:
    """Gradio's Soft theme in violet, with a font that Gradio ships."""
    font = gr.themes.LocalFont("Quicksand", weights=(400, 700))
    soft = gr.themes.Soft(
        primary_hue=gr.themes.colors.violet,
        secondary_hue=gr.themes.colors.pink,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=(font, "ui-rounded", "system-ui", "sans-serif"),
    )
    # Text of at least 4.5:1 on its background (WCAG 2.2, 1.4.3); Soft's own colours are paler.
    return soft.set(**json.loads((HERE / "static" / "theme.json").read_text(encoding="utf-8")))


# --- Which model the page is for --------------------------------------------------------------------------------------


def _build_picker(context: PageContext) -> None:
    """Put the pickers of the model and of its memory above the tabs, hidden if there is no choice."""
    limited = context.can.memory
    with gr.Row(elem_id="serving", visible=limited) as row:
        model = gr.Dropdown([(context.can.title, context.model)], label=label("serving.model"), elem_id="model")
        about: Any = {"label": label("serving.memory"), "elem_id": "memory", "visible": limited}
        memory = gr.Dropdown([AUTO, *MEMORY], value=settings.memory() or AUTO, **about)
    status = gr.HTML(elem_id="served")
    picked_model = gr.HTML(visible="hidden")

    def load() -> tuple[Any, Any, str]:
        local = _usable_models(context)
        choices = [(context.can.title, context.model)] * (context.model not in local)
        choices += [(model.name, name) for name, model in local.items()]
        choices += [("Studio 128", "embedded")] * (context.model != "embedded")
        picked = gr.update(choices=choices, value=context.model)
        return gr.update(visible=len(choices) > 1 or limited), picked, _estimate(local.get(context.model))

    def pick(picked: str) -> tuple[str, str]:
        try:
            if picked not in (context.model, "embedded", *_usable_models(context)):
                raise Refused("model.unknown", model=str(picked)[:200], hint="", models=list(KINDS))
            assert context.serve
            context.serve(picked)
        except Refused as refusal:
            return notes(problem=[error_text(refusal)]), ""
        return "", picked

    def keep(word: str) -> str:
        settings.choose(settings.home(), memory=None if word == AUTO else word)
        return _estimate(_usable_models(context).get(context.model))

    context.on_load(load, row, model, status)
    reload = "(picked) => { if (picked) location.reload(); }"  # page.js restores typed text
    model.input(pick, model, [status, picked_model], **QUIET).then(
        None, picked_model, None, js=reload, api_visibility="private"
    )
    if limited:
        memory.input(keep, memory, status, **QUIET)


def _usable_models(context: PageContext) -> dict[str, LocalModel]:
    """The usable models on this disk, by their `--model` names."""
    models = look(settings.model_folders(context.studio.home))
    return {one.model: one for one in models if one.model and not one.problem}


def _estimate(local: LocalModel | None) -> str:
    """A note whether a model fits into memory, with the chosen memory setting."""
    fits = fit(local, machine(settings.device()), word=settings.memory() or AUTO) if local else None
    return notes(note=[text("serving.fit", estimate=error_text(fits.message))]) if fits else ""
