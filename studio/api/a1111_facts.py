"""What A1111's clients ask before they begin: models, samplers, styles, options, and lists of what there is none of."""

from typing import Any

import psutil
from fastapi import APIRouter, HTTPException

from models.messages import Refused
from studio.api.a1111_names import AUTOMATIC, SAMPLERS
from studio.api.a1111_upscale import OURS, UPSCALERS
from studio.backends.registry import KINDS, open_backend
from studio.capabilities import Capabilities

TRIAL = "fake"  # draws faces: listed only where the studio was started with it
EMPTY: tuple[str, ...] = (
    "sd-vae",
    "loras",
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "extensions",
    "script-info",
)
EMPTY += ("latent-upscale-modes", "sd-modules")
# Nothing to look for again, to load or to unload: the worker sees to that.
NOTHING: tuple[str, ...] = (
    "refresh-checkpoints",
    "refresh-vae",
    "refresh-loras",
    "refresh-embeddings",
    "unload-checkpoint",
)
NOTHING += ("reload-checkpoint",)

Row = dict[str, Any]


class Facts:
    """The lists, and the model that clients chose: it holds for all of them, as at A1111."""

    def __init__(self, model: str) -> None:
        self._served = self.model = model

    def add_to(self, routes: APIRouter) -> None:
        """All routes of this file."""
        for name, get in {
            "samplers": self.samplers,
            "schedulers": self.schedules,
            "sd-models": self.models,
            "prompt-styles": self.styles,
            "upscalers": self.upscalers,
            "options": self.options,
            "embeddings": lambda: {"loaded": {}, "skipped": {}},
            "scripts": lambda: {"txt2img": [], "img2img": []},
            "cmd-flags": lambda: {"api": True, "nowebui": False},
            "memory": memory,
            **dict.fromkeys(EMPTY, list),
        }.items():
            routes.add_api_route(f"/{name}", _answering(get), methods=["GET"], name=name)
        routes.add_api_route("/options", self.choose, methods=["POST"])
        for name in NOTHING:
            routes.add_api_route(f"/{name}", _answering(dict), methods=["POST"], name=name)

    # --- The model ----------------------------------------------------------------------------------------------------

    def capabilities(self, model: str) -> Capabilities:
        """What a model can do."""
        return open_backend(model).capabilities()

    def digest(self, model: str) -> str:
        """Of a model's weights, "" where they are missing."""
        try:
            return open_backend(model).digest()
        except Refused:
            return ""

    def title(self, model: str) -> str:
        """As A1111 writes it: the name and the beginning of the digest."""
        digest = self.digest(model)
        return f"{model} [{digest[:10]}]" if digest else model

    def names(self) -> list[str]:
        """The models that can be chosen: the one that is served, and others whose weights are here."""
        others = [name for name in KINDS if name not in (TRIAL, self._served.partition(":")[0])]
        return [self._served, *(name for name in others if self.digest(name))]

    def chosen(self, settings: dict[str, Any]) -> str:
        """The model that a request is for: its own choice, else the one chosen for all. HTTP 404 where there is none
        of that name.
        """
        wanted = settings.get("sd_model_checkpoint") or settings.get("sd_checkpoint")
        if not wanted:
            return self.model
        for name in self.names():
            if str(wanted).casefold() in (name.casefold(), self.title(name).casefold(), self.digest(name)[:10]):
                return name
        raise HTTPException(404, f"Model not found: {str(wanted)[:100]!r}; /sdapi/v1/sd-models lists them.")

    def choose(self, said: dict[str, Any]) -> None:
        """Set options: the model. Clients send all of them back; the others mean nothing here and stay as they are."""
        self.model = self.chosen({"sd_model_checkpoint": said.get("sd_model_checkpoint")})

    # --- Lists --------------------------------------------------------------------------------------------------------

    def samplers(self) -> list[Row]:
        """Those that are the very method; by their aliases the names that are taken too."""
        can = self.capabilities(self.model).schedulers
        rows = sorted((row for row in SAMPLERS if row.ours in can), key=lambda row: row.ours != can[0])
        return [{"name": row.name, "aliases": [row.ours, *row.same, *row.stands_for], "options": {}} for row in rows]

    def sampler_name(self, scheduler: str) -> str:
        """A1111's name for one of our schedulers."""
        return next((row.name for row in SAMPLERS if row.ours == scheduler), scheduler)

    def schedules(self) -> list[Row]:
        """The one that there is."""
        name, label = AUTOMATIC
        return [{"name": name, "label": label, "aliases": None, "default_rho": -1, "need_inner_model": False}]

    def models(self) -> list[Row]:
        """What can be chosen, the served one first. A file name is a path at A1111; here it is the name again."""
        return [
            {
                "title": self.title(name),
                "model_name": name,
                "hash": self.digest(name)[:10] or None,
                "sha256": self.digest(name) or None,
                "filename": name,
                "config": None,
            }
            for name in self.names()
        ]

    def styles(self) -> list[Row]:
        """The model's styles. Their text is as in captions, for clients that put it into the prompt themselves."""
        named = [style.name for style in self.capabilities(self.model).styles]
        return [{"name": name, "prompt": f"{{prompt}}, {name} style", "negative_prompt": ""} for name in named]

    def upscalers(self) -> list[Row]:
        """What `extra-single-image` takes."""
        blank = {"model_name": None, "model_path": None, "model_url": None}
        ours = [OURS] if len(self.capabilities(self.model).sizes) > 1 else []
        return [{"name": name, **blank, "scale": 4} for name in (*UPSCALERS, *ours)]

    def options(self) -> Row:
        """What is set: the model, and what clients look for that can't be set here."""
        digest = self.digest(self.model)
        return {
            "sd_model_checkpoint": self.title(self.model),
            "sd_checkpoint_hash": digest,
            "sd_vae": "None",
            "samples_format": "png",
            "CLIP_stop_at_last_layers": 1,
            "live_previews_enable": True,
            "show_progress_every_n_steps": 1,
        }


def memory() -> Row:
    """Of the computer, in bytes."""
    ram = psutil.virtual_memory()
    free = {"free": ram.available, "used": ram.total - ram.available, "total": ram.total}
    return {"ram": free, "cuda": {"error": "unavailable"}}


def _answering(get: Any) -> Any:
    """A function of its own for each route, without parameters that FastAPI would look for in the request."""

    def answer() -> Any:
        return get()

    return answer
