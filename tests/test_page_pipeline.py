"""The page with models that other people made: what it shows of them, and the change from one to another."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from page_kit import PROMPT, served, turn_to
from safetensors.torch import save_file
from waiting import until

from studio.disk.memory import Machine

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def disk(pipelines: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pipelines and a LoRA, which the home looks through."""
    folder = tmp_path / "models"
    for name in ("tiny-sd", "another"):
        shutil.copytree(pipelines("sd"), folder / name)
    layer, noise = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", torch.Generator().manual_seed(0)
    (folder / "loras").mkdir()
    down, up = torch.randn(2, 16, generator=noise), torch.randn(16, 2, generator=noise)
    tensors = {f"lora_unet_{layer}.lora_down.weight": down, f"lora_unet_{layer}.lora_up.weight": up}
    save_file(tensors, folder / "loras" / "sketch.safetensors")
    monkeypatch.setenv("STUDIO_MODELS", str(folder))
    for module in ("studio.page.layout", "studio.page.tabs.models"):
        monkeypatch.setattr(f"{module}.machine", lambda _: Machine("cpu", 2**40, 2**40))
    return folder


def _picked(page: Any, dropdown: str, wanted: str) -> None:
    page.click(f"{dropdown} input")
    page.click(f'{dropdown} [role=option]:has-text("{wanted}")')


def test_a_person_draws_with_a_pipeline_and_goes_over_to_another(
    disk: Path, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    """What a model lacks is not there; a LoRA is picked, a size, a sampler; the prompt stays when the model changes."""
    with served(tmp_path / "home", f"diffusers:{disk / 'tiny-sd'}") as url:
        page = visit("", url)
        page.wait_for_selector("#served .note:has-text('it fits')")
        assert page.locator("#style, #expand, #like, #blend").locator("visible=true").count() == 0
        page.fill(PROMPT, "a cat")
        _picked(page, "#lora", "sketch")
        page.fill("#lora-weight input[type=number]", "0.5")
        page.click("#lora-add")
        page.wait_for_function("document.querySelector('#prompt textarea').value === 'a cat <lora:sketch:0.5>'")
        page.click("#more > button")
        page.fill("#negative textarea, #negative input", "dog")
        page.fill("#steps input[type=number]", "2")
        page.fill("#count input[type=number]", "1")
        assert page.locator("#size").is_visible() and page.locator("#scheduler").is_visible()
        page.click("#make")
        page.wait_for_selector("#stage .done")
        _picked(page, "#model", "another")
        other = f"diffusers:{disk / 'another'}"
        until(lambda: httpx.get(f"{url}/sdapi/v1/sd-models", timeout=60).json()[0]["title"].startswith(other), 0.2)
        page.wait_for_function("document.querySelector('#model input')?.value === 'another'")
        page.wait_for_function("document.querySelector('#prompt textarea')?.value === 'a cat <lora:sketch:0.5>'")
        page.wait_for_function("document.querySelector('#negative :is(textarea, input)')?.value === 'dog'")
        turn_to(page, "Video")
        page.wait_for_selector("#tabs >> text=can't make clips")
        turn_to(page, "Create")
        page.click("#model input")
        page.wait_for_selector('#model [role=option]:has-text("tiny-sd")')  # and back again
