"""Random models that compare or describe pictures, saved as their libraries save them; nothing is fetched."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from tiny_pipelines import byte_tokenizer

VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}"
)
CLIP: dict[str, Any] = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def save_open_clip(folder: Path) -> Path:
    """A CLIP model of 48 numbers with open_clip's own tokenizer."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    save_file(open_clip.CLIP(**CLIP).state_dict(), folder / "open_clip_model.safetensors")
    seen = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": seen}))
    return folder


def save_blip(folder: Path) -> Path:
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "sep_token_id": 1, "pad_token_id": 1, "decoder_start_token_id": 0}
    text = {**VISION, "vocab_size": 258, "encoder_hidden_size": 16, "max_position_embeddings": 64, **ids}
    config = transformers.BlipConfig(text_config=text, vision_config={**VISION, "image_size": 32, "patch_size": 16})
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    pictures = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(pictures, byte_tokenizer()).save_pretrained(folder)
    return folder


def save_encoder_decoder(folder: Path) -> Path:
    """A ViT that GPT-2 reads: no processor for both."""
    torch.manual_seed(0)
    vit = transformers.ViTModel(transformers.ViTConfig(**VISION, image_size=32, patch_size=16))
    words = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=258, add_cross_attention=True)
    model = transformers.VisionEncoderDecoderModel(encoder=vit, decoder=transformers.GPT2LMHeadModel(words))
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 0
    model.generation_config.pad_token_id = model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def save_talker(folder: Path) -> Path:
    """A LLaVA, which is asked for what it is to write."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image = tokenizer.convert_tokens_to_ids("<image>")
    vision = transformers.CLIPVisionConfig(**VISION, image_size=32, patch_size=16)
    words = transformers.LlamaConfig(**VISION, vocab_size=len(tokenizer), num_key_value_heads=2)
    config = transformers.LlavaConfig(vision_config=vision, text_config=words, image_token_index=image)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    pictures = transformers.CLIPImageProcessor(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32})
    about: dict[str, Any] = {"patch_size": 16, "vision_feature_select_strategy": "default", "image_token": "<image>"}
    about["num_additional_image_tokens"] = 1
    transformers.LlavaProcessor(pictures, tokenizer, chat_template=TEMPLATE, **about).save_pretrained(folder)
    return folder


def config(folder: Path, **values: Any) -> None:
    """Other values in a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
