"""Memory that a model takes, estimated and measured: `python benchmarks/memory.py`.

A Stable Diffusion 1.5 of full size with random weights in bf16 (860 M, 123 M and 84 M numbers, 2.1 GB on the disk) is
saved and estimated from its headers, as `studio models info` does; then another process loads it, draws a picture of
one step, and says how much it held at most. The goal is 15 % at most between the two. Linux, minutes, and 4 GB.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from timing import parser, write  # the file beside this one

from studio.disk.memory import MEMORY, Machine, needs
from studio.disk.models import describe

GOAL = 0.15


def save_stable_diffusion(folder: Path, share: float = 1.0, tokenizer: Any = None) -> None:
    """The networks of `stable-diffusion-v1-5`, with random weights in bf16; the U-Net has a share of its channels."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = tomllib.loads(Path(__file__).with_name("stable_diffusion.toml").read_text(encoding="utf-8"))
    sizes["unet"]["block_out_channels"] = [round(share * wide) for wide in sizes["unet"]["block_out_channels"]]
    with torch.device("meta"):
        networks: dict[str, Any] = {
            "unet": UNet2DConditionModel(**sizes["unet"]),
            "vae": AutoencoderKL(**sizes["vae"]),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**sizes["text_encoder"])),
        }
    for network in networks.values():
        network.to_empty(device="cpu")
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.data = torch.empty(tensor.shape, dtype=torch.bfloat16).normal_(0, 0.02)
            else:
                tensor.data.copy_(torch.arange(tensor.numel()).view(tensor.shape))  # positions of the text
    StableDiffusionPipeline(
        **networks, tokenizer=tokenizer, scheduler=DDIMScheduler(**sizes["scheduler"]),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def draw(folder: Path, memory: str, size: int, steps: int) -> dict[str, float]:
    """Load the pipeline, keep it in that way and draw a picture -> bytes held at most, and seconds a step."""
    import torch
    from diffusers import DiffusionPipeline

    from studio.backends import runtime

    without = dict.fromkeys(("tokenizer", "feature_extractor", "safety_checker"))
    with torch.inference_mode():
        pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16, **without)
        runtime.place(pipeline, MEMORY[memory])
        text = pipeline.text_encoder.config
        ids = torch.randint(0, text.vocab_size, (2, 77), generator=torch.Generator().manual_seed(0))
        prompt, negative = pipeline.text_encoder(ids).last_hidden_state.split(1)
        start = time.perf_counter()
        pipeline(
            prompt_embeds=prompt, negative_prompt_embeds=negative, height=size, width=size, num_inference_steps=steps,
            output_type="np",
        )  # fmt: skip
    seconds = time.perf_counter() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # of this program, not of its parent
    return {"bytes": 1024 * int(peak[1]) if peak else 0, "seconds": seconds}


def compared(options: argparse.Namespace, folder: Path) -> list[dict[str, float | str]]:
    """A row for each way of keeping it: estimated, measured in a process of its own, and how far they are apart."""
    rows: list[dict[str, float | str]] = []
    description, machine = describe(folder), Machine("cpu", 0, 0)
    assert description
    for memory in options.memory.split(","):
        command = [sys.executable, __file__, "--draw", memory, "--folder", str(folder), "--size", str(options.size)]
        command += ["--steps", str(options.steps)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        measured = json.loads(output.splitlines()[-1])
        estimate = needs(description, machine, MEMORY[memory], options.size**2)
        row = {"memory": memory, "estimated": estimate, "measured": measured["bytes"], "seconds": measured["seconds"]}
        rows.append({**row, "apart": estimate / measured["bytes"] - 1})
    return rows


def main() -> None:
    command_line = parser(__doc__, size=512, steps=1, memory="high,balanced", draw="")
    command_line.add_argument("--folder", type=Path, help="a pipeline, instead of the Stable Diffusion that is made")
    options = command_line.parse_args()
    if options.draw:
        print(json.dumps(draw(options.folder, options.draw, options.size, options.steps)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        if not options.folder:
            save_stable_diffusion(Path(temporary))
        rows = compared(options, options.folder or Path(temporary))
    lines = (
        f"{row['memory']:10s} {float(row['estimated']) / 1e9:5.2f} GB estimated  {float(row['measured']) / 1e9:5.2f} GB"
        f" measured  {float(row['apart']):+.1%} (goal: {GOAL:.0%})"
        for row in rows
    )
    write(rows, lines, options)


if __name__ == "__main__":
    main()
