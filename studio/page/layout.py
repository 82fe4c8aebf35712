"""The page: its head, its tabs, and the card that opens over them. What a tab holds is said in the tab's own folder.

Tabs don't import each other: what several of them use has a folder of its own beside them.
"""

from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.page import endpoints
from studio.page.frame import QUIET, Frame
from studio.page.html import ICON, MARK
from studio.page.picture import layout as card
from studio.page.theme import theme
from studio.page.words import Labels, Said, translations

HERE = Path(__file__).parent
TABS = ("create", "sets", "compare", "search", "gallery", "line", "batch", "models")  # folders beside this file
QUEUE = 100  # events that wait; more are turned away

say = Said(
    {
        "tagline": ("Stickers from your words, made on this computer.", "用一句话，在自己的电脑上生成贴纸。"),
        "theme": ("Light or dark", "浅色或深色"),
        "other": ("中文", "English"),
        "silent": ("The studio does not answer. Is it still running?", "工作室没有回应，它还在运行吗？"),
    }
)


def build(frame: Frame) -> gr.Blocks:
    """The page, wired to `frame.studio`."""
    with gr.Blocks(title="Studio 128", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as page:
        masthead = gr.HTML(header("en"), elem_id="masthead")
        frame.handed, frame.tabs = gr.State(None), gr.Tabs(elem_id="tabs", render=False)
        card.build(frame)
        frame.tabs.render()
        with frame.tabs:
            for name in TABS:
                _part(name).tab(frame)
        frame.on_load(frame.in_language(header), [masthead])
        for function, inputs, outputs in frame.loads:
            page.load(function, inputs, outputs, **QUIET)
        endpoints.build(frame)
    page.queue(max_size=QUEUE)
    return page


def header(spoken: str) -> str:
    """The name of the place, and the switches for language and light."""
    switch, silent = escape(say("theme", spoken)), escape(say("silent", spoken))
    language = "en" if spoken == "zh" else "zh"
    return (
        f'<div class="masthead" data-silent="{silent}">{MARK}'
        f"<div><h1>Studio 128</h1><p>{escape(say('tagline', spoken))}</p></div><nav>"
        f'<button type="button" data-language="{language}" lang="{language}">{escape(say("other", spoken))}</button>'
        f'<button type="button" data-theme aria-label="{switch}" title="{switch}">◐</button></nav></div>'
    )


def head() -> str:
    """What the page needs before Gradio begins."""
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in ("page.js", "answers.js")]
    icon = f'<link rel="icon" href="data:image/svg+xml,{quote(ICON)}">'
    return icon + "".join(f"<script>{script}</script>" for script in scripts)


def looks() -> dict[str, Any]:
    """How Gradio is to show it: theme, style sheets, words."""
    parts = sorted(
        HERE.glob("*/*.css"), key=lambda sheet: (sheet.parent.name in TABS, sheet)
    )  # tabs after what they share
    sheets = [HERE / "style.css", *parts]
    labels = [part.labels for part in map(_words, TABS) if isinstance(getattr(part, "labels", None), Labels)]
    return {
        "i18n": gr.I18n(**translations(labels)),
        "theme": theme(),
        "css_paths": sheets,
        "footer_links": [],  # Gradio's own settings would be a second switch for language and light
        "run_history": False,
    }


def _part(name: str) -> Any:
    return import_module(f"studio.page.{name}.layout")


def _words(name: str) -> Any:
    return import_module(f"studio.page.{name}.words")
