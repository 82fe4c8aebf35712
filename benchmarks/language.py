"""The language backbone against plainer ones: `python benchmarks/language.py`.

Tokens a second, bytes of cache a token, active against total parameters. The mixture of experts stands beside a dense
model of the same active size and one of the same total size. Which of them learns best in the same time is in
`models/train/LOG.md`. Models take turns, so that other work on the machine slows all alike: read the ratios.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from timing import medians, parser, write_json  # the file beside this one
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from models.language import LanguageConfig, LanguageModel
from models.layers import SwiGLU
from models.presets import preset
from models.tokenizer import TEXT_LENGTH

KINDS = ("mixture", "dense, equal active", "dense, equal total")


class Dense(nn.Module):
    """One SwiGLU in the place of a mixture, without its sorting: dense as fast as it can be."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.feed_forward = SwiGLU(width, hidden)
        self.router = SimpleNamespace(count=lambda: None)  # the decoder asks every layer's router to count

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self.feed_forward(x)


def build(kind: str, size: str, seed: int = 0, **changes: Any) -> LanguageModel:
    """An untrained model of one of `KINDS`."""
    torch.manual_seed(seed)
    config = LanguageConfig(**{**preset("language", size), **changes})
    model = LanguageModel(config)
    if kind == "mixture":
        return model
    experts = config.num_experts_per_tok if kind == "dense, equal active" else config.num_experts
    for layer in model.model.layers:
        dense = Dense(config.hidden_size, experts * config.moe_intermediate_size)
        nn.init.normal_(dense.feed_forward.gate_up.weight, std=config.hidden_size**-0.5)
        down = dense.feed_forward.down
        nn.init.normal_(down.weight, std=(2 * config.num_hidden_layers * down.in_features) ** -0.5)
        layer.mixture = dense
    return model


def parameters(model: LanguageModel) -> dict[str, int]:
    """Counts: all, those that a token passes through, and both without the embedding (which is also the head)."""
    config, total = model.config, model.num_parameters()
    stacked = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    active = total - stacked + stacked * config.num_experts_per_tok // config.num_experts
    embedding = model.lm_head.weight.numel()
    return {"total": total, "active": active, "total layers": total - embedding, "active layers": active - embedding}


@torch.no_grad()
def cache_bytes(size: str, lengths: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Bytes of stored keys and values a token, bf16: ours, and plain attention (all heads, no window)."""
    plain = preset("language", size)
    heads = {"num_key_value_heads": plain["num_attention_heads"]}
    full = {"layer_types": ["full_attention"] * plain["num_hidden_layers"]}
    variants = {"ours": {}, "grouped queries, no window": full, "plain attention": {**heads, **full}}
    found: dict[str, dict[int, float]] = {}
    for name, changes in variants.items():
        model = build("mixture", size, **changes).to(torch.bfloat16).eval()
        cache, start = DynamicCache(config=model.config), 0
        found[name] = {}
        for length in lengths:
            for count in (length - start - 1, 1):  # the last one alone: after a long step a window keeps all of it
                model(torch.full((1, count), 3), cache=cache, use_cache=True, logits_to_keep=1)
            stored = sum(t.untyped_storage().nbytes() for layer in cache.layers for t in (layer.keys, layer.values))
            found[name][length], start = stored / length, length
    return found


def step(model: LanguageModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Forward and backward of a training step, bf16 over fp32 weights."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(ids, attention_mask=mask, labels=ids).loss
    loss.backward()
    return loss.detach()


def speed(size: str, rows: int, repeats: int) -> dict[str, float]:
    """Tokens a second: training of each kind, reading prompts, writing with a cache."""
    models = {kind: build(kind, size).train() for kind in KINDS}
    vocabulary = models["mixture"].config.vocab_size
    ids, mask = torch.randint(3, vocabulary, (rows, TEXT_LENGTH)), torch.ones(rows, TEXT_LENGTH, dtype=torch.bool)
    work: dict[str, Callable[[], object]] = {
        f"train, {kind}": lambda model=model: step(model, ids, mask) for kind, model in models.items()
    }
    ready = build("mixture", size).to(torch.bfloat16).eval()
    new = 32

    def read(count: int) -> Callable[[], object]:
        @torch.no_grad()
        def run() -> object:
            return ready.encode(ids[:count], mask[:count])

        return run

    def write() -> object:
        return ready.generate(ids[:1, :8], max_new_tokens=new, min_new_tokens=new, do_sample=False)

    work |= {"read one prompt": read(1), "read a batch": read(rows), "write": write}
    tokens = {"read one prompt": TEXT_LENGTH, "write": new}
    return {name: tokens.get(name, ids.numel()) / seconds for name, seconds in medians(work, repeats).items()}


def report(result: dict[str, Any]) -> None:
    """The same as words."""
    print(f"{result['threads']} threads, preset {result['preset']}")
    for kind, counts in result["parameters"].items():
        print(f"  {kind:28s} " + ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items()))
    for name, row in result["cache bytes a token"].items():
        print(f"  {name:28s} " + ", ".join(f"{bytes_:.0f} B at {length}" for length, bytes_ in row.items()))
    base = result["tokens a second"]["train, mixture"]
    for name, rate in result["tokens a second"].items():
        ratio = f"  x{rate / base:.2f}" if name.startswith("train") else ""
        print(f"  {name:28s} {rate:8.0f} tokens/s{ratio}")


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__, preset="sticker", threads=2, repeats=5, rows=64).parse_args()
    torch.set_num_threads(arguments.threads)
    window = preset("language", arguments.preset)["sliding_window"]
    result: dict[str, Any] = {
        "threads": arguments.threads,
        "preset": arguments.preset,
        "parameters": {kind: parameters(build(kind, arguments.preset)) for kind in KINDS},
        "cache bytes a token": cache_bytes(arguments.preset, (window // 2, window, 2 * window, 8 * window)),
        "tokens a second": speed(arguments.preset, arguments.rows, arguments.repeats),
    }
    (write_json if arguments.json else report)(result)


if __name__ == "__main__":
    main()
