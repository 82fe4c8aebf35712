"""Builds the page: head, tabs, theme, and the card over them."""

import json
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.page import card
from studio.page import tabs as tab_package
from studio.page.context import QUIET, PageContext
from studio.page.html import HERE, render, script, translations
from studio.page.tabs.models import build_picker

EVENTS_MOST = 100  # waiting events; Gradio refuses more


def build(context: PageContext) -> gr.Blocks:
    """Build the page for `context`."""
    with gr.Blocks(title="Studio 128", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as page:
        masthead = gr.HTML(render("parts.header"), elem_id="masthead")
        context.handed, context.tabs = gr.State(None), gr.Tabs(elem_id="tabs", render=False)
        if context.serve:
            build_picker(context)
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
