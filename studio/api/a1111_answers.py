"""What A1111's clients get when pictures are made: their files, and a document that says how each was made."""

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.api.a1111_calls import Call
from studio.api.a1111_facts import Facts
from studio.api.a1111_models import ImageToImage, Made, Making
from studio.metadata import texts, version
from studio.requests import ImageRequest
from studio.studio import Studio


@dataclass(frozen=True)
class Row:
    """A picture: the bytes of its file, its seed, and the request that it is of."""

    data: bytes
    seed: int
    request: ImageRequest

    @property
    def text(self) -> str:
        """A1111's text, from the file itself."""
        return texts(self.data, "the picture").texts.get("parameters", "")


def pictures(studio: Studio, call: Call) -> list[Row]:
    """What the call has made so far, in the order asked for."""
    found = ((asked, studio.gallery.found(asked.job)) for asked in call.asked)
    saved = ((asked, found[index]) for asked, found in found for index in sorted(found))
    return [Row(Path(one.path).read_bytes(), one.seed, asked.request) for asked, one in saved]


def made(body: Making, call: Call, rows: list[Row], facts: Facts) -> Made:
    """The answer."""
    kept = isinstance(body, ImageToImage) and body.include_init_images
    shown = body.model_dump(exclude=set() if kept else {"init_images", "mask"})
    images = [base64.b64encode(row.data).decode() for row in rows] if body.send_images is not False else []
    return Made(images=images, parameters=shown, info=json.dumps(_info(body, call, rows, facts), ensure_ascii=False))


def _info(body: Making, call: Call, rows: list[Row], facts: Facts) -> dict[str, Any]:
    """As A1111's `Processed.js`, which clients read seeds and texts from; what is ours is under `studio`."""
    first = call.asked[0].request
    size, seeds = first.size or facts.capabilities(first.model).size, [row.seed for row in rows]
    digest = facts.digest(first.model)
    return {
        "prompt": first.prompt,
        "all_prompts": [row.request.prompt for row in rows],
        "negative_prompt": first.negative,
        "all_negative_prompts": [row.request.negative for row in rows],
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": size,
        "height": size,
        "sampler_name": facts.sampler_name(first.scheduler),
        "cfg_scale": first.guidance,
        "steps": first.steps,
        "batch_size": body.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.model,
        "sd_model_hash": digest[:10],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": first.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [row.text for row in rows],
        "styles": [first.style] if first.style else [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": first.mask is not None,
        "version": f"Studio 128 {version()}",
        "studio": {"jobs": [asked.job for asked in call.asked], "notes": call.notes},
    }
