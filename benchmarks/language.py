"""The language backbone against plainer ones: `python benchmarks/language.py`.

Tokens a second and active against total parameters. The mixture of experts stands beside a dense model of the same
active size and one of the same total size. Which of them learns best in the same time, and what a cache takes, is in
`models/train/LOG.md`. Models take turns, so that other work on the machine slows all alike: read the ratios.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from timing import medians, parser, write  # the file beside this one
from torch import Tensor, nn

from models.language import LanguageConfig, LanguageModel
from models.layers import SwiGLU
from models.presets import preset
from models.tokenizer import TEXT_LENGTH

KINDS = ("mixture", "dense, equal active", "dense, equal total")
NEW = 32  # tokens that are written


class Dense(nn.Module):
    """One SwiGLU in the place of a mixture, without its sorting: dense as fast as it can be."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.feed_forward = SwiGLU(width, hidden)
        self.router = SimpleNamespace(count=lambda: None)  # the decoder asks every layer's router to count

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        return self.feed_forward(x)


def build(kind: str, size: str) -> LanguageModel:
    """An untrained model of one of `KINDS`."""
    torch.manual_seed(0)
    config = LanguageConfig(**preset("language", size))
    model = LanguageModel(config)
    experts = {"dense, equal active": config.num_experts_per_tok, "dense, equal total": config.num_experts}.get(kind)
    if experts is not None:
        for layer in model.model.layers:
            layer.mixture = Dense(config.hidden_size, experts * config.moe_intermediate_size)
            for weight in layer.mixture.parameters():
                nn.init.normal_(weight, std=config.hidden_size**-0.5)
    return model


def parameters(model: LanguageModel) -> dict[str, int]:
    """Counts: all, those that a token passes through, and both without the embedding (which is also the head)."""
    config, total = model.config, model.num_parameters()
    stacked = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    active = total - stacked + stacked * config.num_experts_per_tok // config.num_experts
    embedding = model.lm_head.weight.numel()
    return {"total": total, "active": active, "total layers": total - embedding, "active layers": active - embedding}


def step(model: LanguageModel, ids: Tensor, mask: Tensor) -> None:
    """Forward and backward of a training step, bf16 over fp32 weights."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(ids, attention_mask=mask, labels=ids).loss
    loss.backward()


def speed(size: str, rows: int, repeats: int) -> dict[str, float]:
    """Tokens a second: training of each kind, reading prompts, writing with a cache."""
    models = {kind: build(kind, size).train() for kind in KINDS}
    ready = build("mixture", size).to(torch.bfloat16).eval()
    ids = torch.randint(3, ready.config.vocab_size, (rows, TEXT_LENGTH))
    mask = torch.ones(rows, TEXT_LENGTH, dtype=torch.bool)
    read = torch.no_grad()(lambda count: ready.encode(ids[:count], mask[:count]))
    length = {"max_new_tokens": NEW, "min_new_tokens": NEW}
    work: dict[str, Callable[[], object]] = {
        **{f"train, {kind}": lambda model=model: step(model, ids, mask) for kind, model in models.items()},
        "read one prompt": lambda: read(1),
        "read a batch": lambda: read(rows),
        "write": lambda: ready.generate(ids[:1, :8], do_sample=False, **length),
    }
    tokens = {"read one prompt": TEXT_LENGTH, "write": NEW}
    return {name: tokens.get(name, ids.numel()) / seconds for name, seconds in medians(work, repeats).items()}


def main() -> None:
    options = parser(__doc__, preset="sticker", threads=2, repeats=5, rows=64).parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        "parameters": {kind: parameters(build(kind, options.preset)) for kind in KINDS},
        "tokens a second": speed(options.preset, options.rows, options.repeats),
    }
    lines = [
        f"{kind:22s} " + ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items())
        for kind, counts in result["parameters"].items()
    ]
    lines += [f"{name:28s} {rate:8.0f} tokens/s" for name, rate in result["tokens a second"].items()]
    write({"threads": options.threads, "preset": options.preset, **result}, lines, options)


if __name__ == "__main__":
    main()
