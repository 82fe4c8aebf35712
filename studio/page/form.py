"""The inputs of a tab, where what stands at each follows from its name, and the picker of styles."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import gradio as gr

from models.assets import assets, prompt_list
from models.data.grammar import language_of
from studio.backends.base import able, no_task
from studio.capabilities import Range, Style
from studio.media import data_url
from studio.page.context import LISTEN, PRESSED, PageContext, pressed_data
from studio.page.html import has_text, label, reader, render, style_name, text

TAKES_FILES = "takes-files"  # class of inputs that take what is dropped on them: drop.js leaves it to them
# Gradio writes attributes; a radio button that was pressed heeds its property.
CHECKED_JS = """
watch('value', () => {
  for (const one of element.querySelectorAll('input')) one.checked = one.hasAttribute('checked');
});"""


class Form(dict[str, Any]):
    """Inputs by their names, each put where it is made, with the name after `prefix` as its id.

    At one stands what the texts have of `area.name`, of `shared.name` or of `name`, the first that there is: its label,
    more with `_info`, a hint with `_hint`. What is named in `hidden` is not shown.
    """

    def __init__(self, area: str, prefix: str = "", shared: str = "", hidden: Sequence[str] = ()) -> None:
        super().__init__()
        self.hidden = hidden
        self.area, self.prefix, self.shared = area, prefix, shared

    def code(self, name: str) -> str:
        """The code of a text that stands at an input; "" where there is none."""
        return next(filter(has_text, (f"{self.area}.{name}", f"{self.shared}.{name}", name)), "")

    def text_of(self, name: str) -> Any:
        """That text; None where there is none."""
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
        """Put a slider here, hidden where there is no choice: Gradio has none of one value."""
        if allowed.least == allowed.most:
            allowed, settings = allowed.model_copy(update={"most": allowed.most + 1}), {**settings, "visible": False}
        return self.put(gr.Slider, name, allowed.least, allowed.most, allowed.usual, **settings)

    def picture(self, name: str, height: int = 150) -> Any:
        """Put an input for a picture here: the file as it is, with alpha and metadata."""
        about: Any = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"], "height": height}
        return self.put(gr.Image, name, elem_classes=TAKES_FILES, **about)

    def make(self, name: str = "make") -> gr.Button:
        """Put the button that does what the inputs say here. Ctrl+Enter presses it, too."""
        return gr.Button(
            self.text_of(name), variant="primary", size="lg", elem_id=self.prefix + name, elem_classes="make"
        )


def unable(context: PageContext, tab: str, task: str) -> None:
    """A tab that says that the model can't do its task, and which can."""
    with gr.Tab(label(f"tab.{tab}"), id=tab):
        notice = gr.HTML()
    context.on_load(lambda: render("parts.unable", no_task(context.can, task), able(task)), notice)


def picker(known: tuple[Style, ...], chosen: str, group: str) -> str:
    """The styles as radio buttons; one without a picture shows its name alone."""
    drawn = samples(known)
    choices = [(one.name, style_name(one.name), drawn.get(one.name, "")) for one in known]
    return render("parts.radios", group, "style", text("style"), [("", text("any"), ""), *choices], chosen)


def style_input(context: PageContext, group: str) -> tuple[gr.HTML, gr.Textbox]:
    """The picker, here, and the input that holds what is chosen."""
    known = context.can.styles
    held = gr.Textbox("", visible="hidden", container=False)
    html = gr.HTML(js_on_load=LISTEN + CHECKED_JS, elem_id=group, visible=bool(known))

    def pick(event: gr.EventData) -> str:
        value = pressed_data(event).get("value", "")
        return value if value in [one.name for one in known] else ""

    html.select(pick, None, held, **PRESSED)
    context.on_load(lambda: picker(known, "", group), html)
    return html, held


def examples_here() -> list[str]:
    """Prompts to try, in the reader's language."""
    return [line for line in prompt_list("examples") if language_of(line) == reader()]


@cache
def samples(known: tuple[Style, ...]) -> dict[str, str]:
    """Data URIs by style, of those that there are pictures of in `assets/examples/styles`."""
    folder = assets() / "examples" / "styles"
    files = {style.name: folder / f"{style.name.replace(' ', '-')}.webp" for style in known}
    return {name: data_url(path.read_bytes()) for name, path in files.items() if path.is_file()}
