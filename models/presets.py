"""Sizes as a table: `PRESETS[part][preset]` holds the keyword arguments of that part's constructor.

`tiny` is for tests (seconds), `sticker` is what ships, `full` states where the family goes.
"""

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "autoencoder": {
        "tiny": {"widths": (8, 16, 16), "encoder_blocks": (1, 1, 1), "decoder_blocks": (1, 1, 1)},
        "sticker": {"widths": (48, 96, 192), "encoder_blocks": (1, 2, 3), "decoder_blocks": (2, 3, 4)},
    },
    "dit": {
        "tiny": {"width": 32, "depth": 4, "heads": 2, "carry": True, "warp": 7, "draft": True},
        "sticker": {"width": 256, "depth": 10, "heads": 4, "carry": True, "warp": 7, "draft": True},
        "full": {"width": 1152, "depth": 28, "heads": 16, "context": 1024},  # DiT-XL/2
    },
    "upscaler": {
        "tiny": {"width": 8, "blocks": 1},
        "sticker": {"width": 64, "blocks": 6},
        "full": {"width": 96, "blocks": 11},  # 2M parameters: what a second of two cores buys
    },
    "language": {
        "tiny": {
            "vocab_size": 512,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "head_dim": 8,
            "moe_intermediate_size": 16,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "sliding_window": 8,
        },
        "sticker": {
            "vocab_size": 12288,
            "hidden_size": 256,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "moe_intermediate_size": 128,
            "num_experts": 16,
            "num_experts_per_tok": 4,
            "sliding_window": 64,
        },
        "full": {
            "vocab_size": 65536,
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "moe_intermediate_size": 512,
            "sliding_window": 2048,
            "rope_theta": 500_000.0,
        },
    },
    "vision": {
        "tiny": {"width": 32, "layers": 2, "heads": 2, "channels": (8, 16)},
        "sticker": {"width": 256, "layers": 6, "heads": 4, "channels": (32, 96)},
        "full": {"width": 1024, "layers": 24, "heads": 16, "channels": (64, 192)},  # ViT-L
    },
    "space": {
        "tiny": {"width": 32, "heads": 2, "hidden": 32},
        "sticker": {"width": 256, "heads": 4, "hidden": 256},
        "full": {"width": 1024, "heads": 16, "hidden": 1024},
    },
    "judge": {
        "tiny": {"channels": (8, 16, 32), "blocks": (1, 1), "width": 32, "heads": 2, "rounds": 1, "buckets": 512},
        "sticker": {
            "channels": (64, 128, 256),
            "blocks": (2, 6),
            "width": 192,
            "heads": 4,
            "rounds": 2,
            "buckets": 8192,
        },
    },
}


def preset(part: str, name: str) -> dict[str, Any]:
    """The constructor arguments of `part` at size `name`; ValueError names what there is."""
    if part not in PRESETS:
        raise ValueError(f"unknown part {part!r}; there are {', '.join(sorted(PRESETS))}")
    if name not in PRESETS[part]:
        raise ValueError(f"{part} has no preset {name!r}; there are {', '.join(sorted(PRESETS[part]))}")
    return dict(PRESETS[part][name])
