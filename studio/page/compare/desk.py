"""What happens on the Compare tab: how many pictures a grid is, its jobs, and its sheet as it fills."""

from typing import Any

import gradio as gr

from models.messages import Refused
from studio.backends.registry import open_backend
from studio.files import ready_folder
from studio.grid import Axis, Grid
from studio.page.compare import view
from studio.page.compare.grids import grid_of, members
from studio.page.compare.words import say
from studio.page.frame import Frame, whole_number
from studio.page.html import wrong
from studio.page.series.desk import ShowDesk, Shown
from studio.page.series.estimate import pace, work
from studio.page.series.store import LOOKED_AT, Series
from studio.requests import image_request

KIND = "compare"
SETTINGS = ("style", "seed", "steps", "guidance", "scheduler", "prompt", "model")
NEAR = 4  # styles that are put in at first
TITLE = 60  # characters


class CompareDesk(ShowDesk):
    """Stands between one page's Compare tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, KIND, say)

    # --- Asking -------------------------------------------------------------------------------------------------------

    def choices(self, request: gr.Request) -> tuple[Any, Any, Any]:
        """What can be picked, in the language of the person who looks -> settings across, down, styles."""
        settings, styles = self.listed(self.frame.spoken(request))
        return gr.Dropdown(settings[1:]), gr.Dropdown(settings), gr.Dropdown(styles)

    def listed(self, spoken: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(words, name) of the settings and of the styles, none of them first."""
        settings = [(say("nothing", spoken), ""), *((say(name, spoken), name) for name in SETTINGS)]
        styles = [(one.zh if spoken == "zh" and one.zh else one.name, one.name) for one in self.frame.can.styles]
        return settings, [(say("any", spoken), ""), *styles]

    def suggested(self, setting: str) -> str:
        """Values to begin with, for a setting that was picked."""
        can = self.frame.can
        return {
            "style": ", ".join(style.name for style in can.styles[:NEAR]),
            "seed": "1-4",
            "steps": "8, 16, 32",
            "guidance": "1-7 (+2)",
            "scheduler": ", ".join(name for name in can.schedulers if name not in can.fixed),
            "model": self.frame.model,
        }.get(setting, "")

    def preview(self, *given: str, request: gr.Request) -> str:
        """How many pictures it would be and how long it would take, or what is wrong with it."""
        spoken, prompt = self.frame.spoken(request), given[0]
        hint = view.hint(say("words_hint", spoken)) if "prompt" in (given[1], given[3]) else ""
        missing = any(name and not (values or "").strip() for name, values in (given[1:3], given[3:5]))
        if missing or not (prompt or "").strip():
            return hint
        try:
            grid = self._grid(*given)
            asked = members(grid, self.frame.lists, self.frame.model)
        except Refused as refusal:
            return hint + wrong(refusal, spoken)
        speed = pace(self.frame.studio, open_backend(self.frame.model).digest())
        seconds = None if speed is None else speed * work(one.request for one in asked)
        return hint + view.count(grid, seconds, spoken)

    def make(self, *given: str, request: gr.Request) -> Shown:
        """Put a comparison in line -> what is shown; the last of `given` is what was on show."""
        spoken, shown = self.frame.spoken(request), given[-1]
        try:
            grid = self._grid(*given[:-1])
            series = self._begin(grid, spoken)
        except Refused as refusal:
            return self.refused(shown, refusal, spoken)
        return self.show(series.id, spoken)

    def _grid(self, prompt: str, x: str, across: str, y: str, down: str, style: str, seed: str) -> Grid:
        """What the inputs ask for. The settings come from a browser: `Axis` refuses what it does not know."""
        axes = [Axis.parse(f"{name}={values or ''}") for name, values in ((x, across), (y, down)) if name]
        fields = {"prompt": prompt or "", "style": style or "", "seed": whole_number(seed), "model": self.frame.model}
        return Grid(image_request(**fields), *axes)

    def _begin(self, grid: Grid, spoken: str) -> Series:
        asked = members(grid, self.frame.lists, self.frame.model)
        ready_folder(self.frame.studio.gallery.folder, len(asked))
        title = grid.request.prompt.strip()[:TITLE] or say("untitled", spoken)
        about = {"grid": grid.record(), "digest": open_backend(self.frame.model).digest()}
        return self.series.begin(KIND, title, asked, LOOKED_AT, about)

    # --- Looking ------------------------------------------------------------------------------------------------------

    def panel(self, series: Series, spoken: str) -> str:
        """A comparison as a grid that fills."""
        return view.panel(series, grid_of(series), self.cells(series), self.progress(series, spoken), spoken)
