"""Speed of the image generator's network: `python benchmarks/image.py`.

Forward passes in the shapes that drawing uses (one picture and a batch, each with its guidance twin), and training
steps, forward and backward, in fp32 and bf16 and of the variants that were weighed against each other. Other work on
the machine slows all of them alike: variants take turns, and each median stands beside its ratio to the first.
`benchmarks/generate.py` times whole pictures.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import medians, parser, show, write_json  # the file beside this one
from torch import Tensor, nn

from models.dit import DiT
from models.pipelines.image import BATCH
from models.presets import preset
from models.tokenizer import TEXT_LENGTH

# What a training step could be: the shipped form first.
VARIANTS: dict[str, dict[str, object]] = {
    "as shipped": {},
    "no long skips": {"long_skips": False},
    "12 layers": {"depth": 12},
    "320 wide, 8 layers": {"width": 320, "depth": 8, "heads": 5},
}


def network(size: str, **options: object) -> DiT:
    """Random weights everywhere: zeros would make some products faster than they are."""
    made = DiT(**{**preset("dit", size), **options})
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.02)
    return made


def inputs(made: DiT, count: int) -> tuple[Tensor, ...]:
    """Random (x, t, states, mask, vector) for `count` pictures."""
    config = made.config
    mask = torch.arange(TEXT_LENGTH)[None] < torch.randint(4, TEXT_LENGTH, (count, 1))
    x = torch.randn(count, config.channels, config.size, config.size)
    states = torch.randn(count, TEXT_LENGTH, config.context)
    return x, torch.rand(count), states, mask, F.normalize(torch.randn(count, config.vector), dim=-1)


def forward(made: nn.Module, given: tuple[Tensor, ...]) -> Callable[[], None]:
    """One call of the network without gradients."""

    def run() -> None:
        with torch.no_grad():
            made(*given)

    return run


def training(made: nn.Module, given: tuple[Tensor, ...], bf16: bool) -> Callable[[], None]:
    """Forward and backward, the weights in fp32."""

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = made(*given).square().mean()
        loss.backward()
        made.zero_grad()

    return run


def linear_layers(made: nn.Module, given: tuple[Tensor, ...]) -> Callable[[], None]:
    """Only the products of a training step: each linear layer forward and backward on rows as many as it meets there.

    What a step could not be faster than at these widths, with these kernels.
    """
    met: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        rows = inputs[0].flatten(0, -2).shape[0]
        x, gradient = (torch.randn(rows, width, dtype=torch.bfloat16) for width in layer.weight.shape[::-1])
        met.append((layer, x.requires_grad_(), gradient))

    hooks = [layer.register_forward_hook(note) for layer in made.modules() if isinstance(layer, nn.Linear)]
    forward(made, given)()
    for hook in hooks:
        hook.remove()

    def run() -> None:
        for layer, x, gradient in met:
            with torch.autocast("cpu", torch.bfloat16):
                output = layer(x)
            output.backward(gradient)
            x.grad = None
        made.zero_grad()

    return run


def drawing(size: str) -> dict[str, Callable[[], None]]:
    """Forward passes: one picture and a batch, guided, in both types."""
    full, half = network(size).eval(), network(size).to(torch.bfloat16).eval()
    return {
        f"{count} guided, {name}": forward(made, inputs(made, 2 * count))
        for count in (1, BATCH)
        for name, made in (("bf16", half), ("fp32", full))
    }


def steps(size: str, batch: int, compiled: bool) -> dict[str, Callable[[], None]]:
    """Training steps: the variants in bf16, the first one also in fp32 and, where asked for, compiled."""
    made = {name: network(size, **options) for name, options in VARIANTS.items()}
    work = {name: training(made[name], inputs(made[name], batch), True) for name in made}
    first = made["as shipped"]
    work["fp32"] = training(first, inputs(first, batch), False)
    work["its linear layers alone"] = linear_layers(first, inputs(first, batch))
    if compiled:
        work["compiled"] = training(torch.compile(first), inputs(first, batch), True)  # type: ignore[arg-type]
    return work


def main() -> None:
    """Print both tables."""
    made = parser(__doc__, preset="sticker", threads=2, repeats=5, batch=64)
    made.add_argument("--compile", action="store_true", help="torch.compile too; takes about a minute")
    arguments = made.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = {
        "forward": medians(drawing(arguments.preset), arguments.repeats),
        "training step": medians(steps(arguments.preset, arguments.batch, arguments.compile), arguments.repeats),
    }
    if arguments.json:
        write_json({"threads": arguments.threads, "batch": arguments.batch, "seconds": rows})
        return
    for title, times in rows.items():
        print(f"{title}, {arguments.threads} threads")
        show(times, lambda seconds: f", {arguments.batch / seconds:.1f} samples/s" if title != "forward" else "")  # noqa: B023


if __name__ == "__main__":
    main()
