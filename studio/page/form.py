"""The inputs of a tab, whose labels follow from their names, and the picker of styles."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import gradio as gr

from models.assets import assets, prompt_list
from models.data.grammar import language_of
from studio.backends.base import able, no_task
from studio.capabilities import Range, Style
from studio.media import data_url
from studio.page.context import LISTEN, PageContext
from studio.page.html import has_text, label, reader, render, style_name, text

TAKES_FILES = "takes-files"  # class of inputs that handle files dropped on them; drop.js ignores those
# Gradio writes the attribute; once pressed, a radio button follows its property.
CHECKED_JS = """
watch('value', () => {
  for (const one of element.querySelectorAll('input')) one.checked = one.hasAttribute('checked');
});"""


class Form(dict[str, Any]):
    """Inputs by name. The id of an input is `prefix` and its name.

    The label is the text `area.name`, `shared.name` or `name`, the first that exists; `_info` and `_hint` after the
    name give the help text and the placeholder. Inputs in `hidden` are not shown.
    """

    def __init__(self, area: str, prefix: str = "", shared: str = "", hidden: Sequence[str] = ()) -> None:
        super().__init__()
        self.hidden = hidden
        self.area, self.prefix, self.shared = area, prefix, shared

    def code(self, name: str) -> str:
        """The code of the text of an input; "" if there is none."""
        return next(filter(has_text, (f"{self.area}.{name}", f"{self.shared}.{name}", name)), "")

    def text_of(self, name: str) -> Any:
        """The text of an input; None if there is none."""
        code = self.code(name)
        return label(code) if code else None

    def put(self, kind: Any, name: str, *values: Any, **settings: Any) -> Any:
        about = {"label": self.text_of(name), "elem_id": self.prefix + name.replace("_", "-")}
        if info := self.text_of(f"{name}_info"):
            about["info"] = info
        about |= settings | ({"visible": False} if name in self.hidden else {})
        self[name] = kind(*values, **about)
        return self[name]

    def box(self, name: str, *values: Any, **settings: Any) -> Any:
        return self.put(gr.Textbox, name, *values, placeholder=self.text_of(f"{name}_hint"), **settings)

    def slider(self, name: str, allowed: Range, **settings: Any) -> Any:
        """Put a slider here, hidden if there is one value only: Gradio has no such slider."""
        if allowed.least == allowed.most:
            allowed, settings = allowed.model_copy(update={"most": allowed.most + 1}), {**settings, "visible": False}
        return self.put(gr.Slider, name, allowed.least, allowed.most, allowed.usual, **settings)

    def picture(self, name: str, height: int = 150) -> Any:
        """Put an input for a picture file here; alpha and metadata stay."""
        about: Any = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"], "height": height}
        return self.put(gr.Image, name, elem_classes=TAKES_FILES, **about)

    def make(self, name: str = "make") -> gr.Button:
        """Put the main button here. Ctrl+Enter presses it, too."""
        return gr.Button(
            self.text_of(name), variant="primary", size="lg", elem_id=self.prefix + name, elem_classes="make"
        )


def unable(context: PageContext, tab: str, task: str) -> None:
    """Build a tab that says that the model can't do its task, and which models can."""
    with gr.Tab(label(f"tab.{tab}"), id=tab):
        notice = gr.HTML()
    context.on_load(lambda: render("parts.unable", no_task(context.can, task), able(task)), notice)


def picker(known: tuple[Style, ...], chosen: str, group: str) -> str:
    """The styles as radio buttons, with a sample picture where there is one."""
    drawn = samples(known)
    choices = [(one.name, style_name(one.name), drawn.get(one.name, "")) for one in known]
    return render("parts.radios", group, "style", text("style"), [("", text("any"), ""), *choices], chosen)


def style_input(context: PageContext, group: str) -> tuple[gr.HTML, gr.Textbox]:
    """Put the picker here -> the picker, and the input that holds the chosen style."""
    known = context.can.styles
    held = gr.Textbox("", visible="hidden", container=False)
    html = gr.HTML(js_on_load=LISTEN + CHECKED_JS, elem_id=group, visible=bool(known))

    # In the browser: answers of the server to several presses may arrive in another order.
    html.select(None, None, held, js=f"() => document.querySelector('#{group} input:checked')?.value ?? ''")
    context.on_load(lambda: picker(known, "", group), html)
    return html, held


def examples_here() -> list[str]:
    """Example prompts in the reader's language."""
    return [line for line in prompt_list("examples") if language_of(line) == reader()]


@cache
def samples(known: tuple[Style, ...]) -> dict[str, str]:
    """Sample pictures by style, as data URIs, from `assets/examples/styles`."""
    folder = assets() / "examples" / "styles"
    files = {style.name: folder / f"{style.name.replace(' ', '-')}.webp" for style in known}
    return {name: data_url(path.read_bytes()) for name, path in files.items() if path.is_file()}
