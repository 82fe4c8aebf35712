"""Every tab before axe-core (WCAG 2 A and AA), in light and in dark: nothing serious, nothing critical."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import make
from PIL import Image

from studio.page import layout
from studio.page.html import text

GRAVE = ("serious", "critical")
# Marks the panel of the tab that is shown: what is beside it is looked at once.
LOOKED_AT = """() => {
  for (const panel of document.querySelectorAll('#tabs [role=tabpanel]'))
    panel.toggleAttribute('data-looked-at', Boolean(panel.offsetParent));
}"""
SHUT = ".tabitem:visible .label-wrap:not(.open)"  # accordions
# What Gradio's own markup causes, by rule and a piece of the element: (rule, piece, its issue upstream).
GRADIOS: tuple[tuple[str, str, str], ...] = ()


def grave(page: Any, where: str, **options: Any) -> list[str]:
    """Serious and critical findings of axe-core in `where`, without those of Gradio."""
    requests = [where, {"resultTypes": ["violations"], **options}]
    result = page.evaluate("([where, options]) => axe.run(where, options)", requests)["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in result
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
        if not any(violation["id"] == rule and piece in node["html"] for rule, piece, _ in GRADIOS)
    ]


def test_every_tab_can_be_used_by_everyone(visit: Callable[..., Any], tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra `test`)")
    page = visit()
    page.evaluate(axe.Axe().axe_script)
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")  # what comes fades in
    make(page, "a face for everyone")
    page.wait_for_selector("#stage .status:has-text('made in')")
    result: dict[str, list[str]] = {}

    def look(name: str, where: str = "[data-looked-at]") -> None:
        page.evaluate(LOOKED_AT)
        result[f"{name}, light"] = grave(page, where)
        page.evaluate("document.body.classList.add('dark')")
        result[f"{name}, dark"] = grave(page, where, runOnly=["color-contrast"])  # nothing else depends on the light
        page.evaluate("document.body.classList.remove('dark')")

    for name in layout.tab_names():
        page.click(f'#tabs button[role=tab]:has-text("{text(f"tab.{name}")}")')
        while page.locator(SHUT).count():
            page.locator(SHUT).first.click()
        if not result:
            look("the page", "html")
        if name == "video":  # with a clip, which has a player
            page.fill("#video-prompt textarea, #video-prompt input", "a face that jumps")
            page.click("#motions summary")
            page.click("#video-make")
            page.wait_for_selector("#video-stage clip-player")
        if name == "caption":  # with what is known and what is not
            for colour in ("red", "grey"):
                Image.new("RGB", (9, 9), colour).save(tmp_path / f"{colour}.png")
            page.set_input_files("#caption-files input[type=file]", [tmp_path / "red.png", tmp_path / "grey.png"])
            page.wait_for_selector("#caption-files >> text=grey")
            page.click("#caption-make")
            page.wait_for_selector("#caption-show textarea >> nth=3")
        look(name)
    page.click(f'#tabs button[role=tab]:has-text("{text("tab.create")}")')
    page.click("#stage .done .board >> nth=0")
    page.wait_for_selector("dialog[open]")
    look("card", "dialog[open]")
    assert not any(result.values()), {name: wrong for name, wrong in result.items() if wrong}
