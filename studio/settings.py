"""Where the studio keeps its things. The only reader of the environment."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from models.messages import Refused

CHOSEN = "settings.json"  # in the home: what the user has chosen to be so from now on

# Whether the user set HF_HUB_OFFLINE; read before `stay_offline` sets it.
OFFLINE_BY_USER = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def home(folder: str | Path | None = None) -> Path:
    """The studio's folder: the one given (`--home`), else STUDIO_HOME, else the system's place for user data.

    Refused where that begins with `~` and a user that there is not.
    """
    chosen = folder or os.environ.get("STUDIO_HOME") or user_data_path("studio128")
    try:
        return Path(chosen).expanduser().resolve()
    except RuntimeError as error:
        raise Refused("home.no_user", path=str(chosen)) from error


def password(given: str | None = None) -> str:
    """The password of the server: the one given (`--password`), else STUDIO_PASSWORD, else none.

    The environment keeps it out of the list of processes, which every user of the computer can read.
    """
    return os.environ.get("STUDIO_PASSWORD", "") if given is None else given


def chosen(root: Path) -> dict[str, Any]:
    """The stored choices of a home: the default `model`, `folders` with models. Refused where the file is damaged."""
    try:
        held = json.loads((root / CHOSEN).read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError("no table")
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with a home is said by who opens it
        return {}
    except (OSError, ValueError) as error:
        raise Refused("home.settings", path=str(root / CHOSEN), problem=str(error)) from error
    return held


def choose(root: Path, **values: Any) -> None:
    """Store choices; None removes one."""
    from studio.files import make_folder, write_whole  # which import psutil

    choices = {name: value for name, value in {**chosen(root), **values}.items() if value is not None}
    make_folder(root)
    write_whole(root / CHOSEN, json.dumps(choices, ensure_ascii=False, indent=1).encode(), "--home")


def usual_model(root: Path) -> str:
    """The default model: the one chosen in the home, else the studio's own."""
    return str(chosen(root).get("model", "embedded"))


def model_folders(root: Path, named: Iterable[Path] = ()) -> list[Path]:
    """Folders with models: those `named` (`--models`), those of STUDIO_MODELS, and those chosen in the home."""
    listed = os.environ.get("STUDIO_MODELS", "").split(os.pathsep)
    every = [*named, *(Path(one) for one in listed if one), *map(Path, chosen(root).get("folders", []))]
    return list(dict.fromkeys(one.expanduser().absolute() for one in every))


def wildcards(root: Path | None = None) -> Path:
    """Where the lists of `__wildcards__` are."""
    return (root or home()) / "wildcards"


def uploads(root: Path) -> Path:
    """Where the page keeps what a browser sent."""
    return root / "cache" / "page"


def keep_uploads(root: Path) -> None:
    """Gradio's copies of pictures go under the studio's folder. To be called before gradio is imported."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads(root))


def memory() -> str:
    """How models are kept in memory: a word of `studio/disk/memory.toml`; "" lets the studio choose."""
    return os.environ.get("STUDIO_MEMORY") or str(chosen(home()).get("memory", ""))


def ranker() -> str:
    """The digest of the reward that chooses the best of several; "" where no ratings choose it."""
    return str(chosen(home()).get("ranker", ""))


def preferences() -> str:
    """The digest of the generator that draws with what was learned from ratings; "" where none does."""
    return str(chosen(home()).get("preferences", ""))


def rewards(root: Path | None = None) -> Path:
    """Where rewards are that were learned from ratings."""
    return (root or home()) / "rewards"


def device() -> str:
    """Where models compute, as torch calls it: cpu, cuda, cuda:1, xpu, mps; "" lets the studio choose."""
    return os.environ.get("STUDIO_DEVICE", "")


def dtype() -> str:
    """In which numbers: bf16, fp16 or fp32; "" lets the studio choose."""
    return os.environ.get("STUDIO_DTYPE", "")


def embedder() -> str:
    """The model that embeds the pictures of models without a semantic space: the studio's own, or one of open_clip."""
    return os.environ.get("STUDIO_EMBEDDER") or "embedded"


def place(
    memory: str = "", device: str = "", models: Iterable[str] = (), embedder: str = "", home: str | Path = ""
) -> None:
    """Set the options of a command for this process and the worker that it starts."""
    folders = os.pathsep.join(str(Path(folder).absolute()) for folder in models)
    options = {"MEMORY": memory, "DEVICE": device, "MODELS": folders, "EMBEDDER": embedder, "HOME": str(home)}
    os.environ.update({f"STUDIO_{name}": value for name, value in options.items() if value})


def stay_offline() -> None:
    """Switch off version checks, telemetry, the hub and remote code, before gradio or diffusers is imported."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
