"""The language backbone against plainer ones: `python benchmarks/language.py`.

Tokens a second, bytes of cache a token, active against total parameters. The mixture of experts stands beside a dense
model of the same active size and one of the same total size; `--minutes` also trains the three on the same texts, each
for that long, and says whose held-out loss is lowest. Models take turns step by step, so that other work on the machine
slows all alike: read the ratios rather than the milliseconds. Minutes of training are processor time over threads:
a busy machine takes longer and gives the same.
"""

import argparse
import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from timing import medians  # the file beside this one
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from models.data.fixture import fixture_world
from models.data.text import glosses, training_captions, wordnet_folder
from models.data.world import World, data_folder
from models.language import LanguageConfig, LanguageModel
from models.layers import SwiGLU
from models.presets import preset
from models.tokenizer import TEXT_LENGTH, encode_texts, train_tokenizer
from models.train.balance import expert_load, max_violation, update_router_bias

KINDS = ("mixture", "dense, equal active", "dense, equal total")
KEPT_OUT = 50  # one text in so many is held out


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


def texts(count: int) -> tuple[str, list[str], list[str]]:
    """What they are, training texts and held-out ones: distinct captions and, where they are built, glosses."""
    try:
        world, what = World.load(), "captions"
    except FileNotFoundError:
        world, what = fixture_world(), "captions of the drawn fixture"
    found = dict.fromkeys(itertools.islice(training_captions(world, 0), count))
    folder = wordnet_folder(data_folder())
    if folder.is_dir():
        what += " and glosses"
        found |= dict.fromkeys(f"{gloss.word}: {gloss.gloss}" for gloss in itertools.islice(glosses(folder), count))
    held_out = [text for text in found if int(hashlib.sha256(text.encode()).hexdigest(), 16) % KEPT_OUT == 0]
    kept = set(held_out)
    return what, [text for text in found if text not in kept], held_out


def trim(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Without the columns that are padding in every row."""
    length = int(mask.sum(1).max())
    return ids[:, :length], mask[:, :length]


class Contest:
    """The kinds trained on one stream of rows, each until it has used up its minutes."""

    def __init__(self, size: str, rows: int, seed: int, lr: float) -> None:
        self.rows, self.lr = rows, lr
        self.what, train, held_out = texts(40_000)
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = train_tokenizer(train, preset("language", size)["vocab_size"], folder)
        self.train, self.held_out = encode_texts(tokenizer, train), encode_texts(tokenizer, held_out[:1024])
        self.models = {kind: build(kind, size, seed).train() for kind in KINDS}
        self.optimizers = {
            kind: torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.05)
            for kind, model in self.models.items()
        }
        self.generators = {kind: torch.Generator().manual_seed(seed) for kind in KINDS}
        self.used, self.tokens = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)

    def turn(self, kind: str, seconds: float) -> None:
        """One step; the rate rises for 50 steps and falls to nothing over the second half of the time."""
        start = time.process_time()
        chosen = torch.randint(len(self.train[0]), (self.rows,), generator=self.generators[kind])
        ids, mask = trim(self.train[0][chosen], self.train[1][chosen])
        optimizer, steps = self.optimizers[kind], self.tokens[kind] / (self.rows * 8)
        optimizer.param_groups[0]["lr"] = self.lr * min(1, (steps + 1) / 50, max(0, 2 - 2 * self.used[kind] / seconds))
        step(self.models[kind], ids, mask)
        optimizer.step()
        optimizer.zero_grad()
        if kind == "mixture":
            update_router_bias(self.models[kind])
        self.used[kind] += (time.process_time() - start) / torch.get_num_threads()
        self.tokens[kind] += int(mask.sum())

    @torch.no_grad()
    def loss(self, kind: str) -> float:
        """Held-out nats a token."""
        model = self.models[kind].eval()
        total, count = 0.0, 0
        for ids, mask in zip(self.held_out[0].split(64), self.held_out[1].split(64), strict=True):
            predicted = int(mask[:, 1:].sum())
            total += float(model(ids, attention_mask=mask, labels=ids).loss) * predicted
            count += predicted
        return total / count

    def run(self, minutes: float) -> dict[str, Any]:
        """Train all and compare."""
        while any(used < 60 * minutes for used in self.used.values()):
            self.turn(min(KINDS, key=lambda kind: self.used[kind]), 60 * minutes)
        batches = [
            {"input_ids": ids, "attention_mask": mask}
            for ids, mask in zip(self.held_out[0].split(64), self.held_out[1].split(64), strict=True)
        ]
        violation = max_violation(expert_load(self.models["mixture"], batches))
        return {
            "texts": self.what,
            "minutes": minutes,
            "held-out loss": {kind: self.loss(kind) for kind in KINDS},
            "tokens": self.tokens,
            "MaxVio of the layers, held-out": violation.tolist(),
        }


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
    if "training" in result:
        print(json.dumps(result["training"], indent=2, ensure_ascii=False))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sticker")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64, help=f"of {TEXT_LENGTH} tokens in a step")
    parser.add_argument("--minutes", type=float, default=0, help="train each kind for so long; 0 for none")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    window = preset("language", arguments.preset)["sliding_window"]
    result: dict[str, Any] = {
        "threads": arguments.threads,
        "preset": arguments.preset,
        "parameters": {kind: parameters(build(kind, arguments.preset)) for kind in KINDS},
        "cache bytes a token": cache_bytes(arguments.preset, (window // 2, window, 2 * window, 8 * window)),
        "tokens a second": speed(arguments.preset, arguments.rows, arguments.repeats),
    }
    if arguments.minutes:
        contest = Contest(arguments.preset, arguments.rows, arguments.seed, arguments.lr)
        result["training"] = contest.run(arguments.minutes)
    print(json.dumps(result, indent=2, ensure_ascii=False)) if arguments.json else report(result)


if __name__ == "__main__":
    main()
