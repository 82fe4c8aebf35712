"""Where the studio keeps its things. The only reader of the environment."""

import os
from pathlib import Path

from platformdirs import user_data_path

from models.messages import Refused


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
    """The word that opens the doors to others: the one given (`--password`), else STUDIO_PASSWORD, else none.

    The environment keeps it out of the list of processes, which everybody on the computer can read.
    """
    return os.environ.get("STUDIO_PASSWORD", "") if given is None else given


def wildcards(root: Path | None = None) -> Path:
    """Where the lists of `__wildcards__` are."""
    return (root or home()) / "wildcards"


def uploads(root: Path) -> Path:
    """Where the page keeps what a browser sent."""
    return root / "cache" / "page"


def keep_uploads(root: Path) -> None:
    """Gradio's copies of pictures go under the studio's folder. To be called before gradio is imported."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads(root))


def stay_offline() -> None:
    """No look-up of versions, no telemetry, no hub, no remote code. Call it before gradio or diffusers is imported."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
