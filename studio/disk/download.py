"""Downloads from the Hugging Face hub, only where the user asks for one by name.

`huggingface_hub` does the work: it honours HF_ENDPOINT, HF_TOKEN and the cache's place, resumes, and renames a file
once it is whole. This module takes only safetensors and configurations, and compares files with the sha256 that the
hub lists.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Refused
from studio.disk.models import PICKLES
from studio.files import sha256, why
from studio.settings import OFFLINE_BY_USER

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

TAKEN = re.compile(r".*\.(safetensors|json|txt|model|jinja)|README\.md|LICEN[SC]E.*", re.DOTALL)
ADDRESS = re.compile(r"(?:https?://[^/]+/)?([\w.-]+/[\w.-]+?)/?")  # of a repository: its id, with or without the hub's
HUB = "https://huggingface.co"
SECONDS = 10.0  # for the hub's first answer


def download(repository: str) -> Path:
    """Fetch a repository of the hub into its cache -> the folder. Bars go to standard error.

    Refused with what to do where there is none of that name, it asks for consent first, there is no network or no room,
    it holds pickles only, or the download breaks off or brought something else than the hub lists.
    """
    named = ADDRESS.fullmatch(repository)
    if not named:
        raise Refused("hub.no_id", name=repository)
    if OFFLINE_BY_USER:
        raise Refused("hub.asked_offline", name=named[1])
    with _online():
        return _fetched(named[1])


def _fetched(repository: str) -> Path:
    from huggingface_hub import HfApi, auth_check, snapshot_download

    with _explained(repository, "hub.offline"):
        info = HfApi().model_info(repository, files_metadata=True, timeout=SECONDS)
        if info.gated:
            auth_check(repository)
    files = taken(info)
    with _explained(repository, "hub.broke_off"):
        names = [one.rfilename for one in files]
        folder = Path(snapshot_download(repository, allow_patterns=names))
    wrong = [path for one in files if one.lfs and sha256(path := folder / one.rfilename) != one.lfs.sha256]
    for path in wrong:
        path.resolve().unlink()
        path.unlink()
    if wrong:
        raise Refused("hub.altered", path=str(wrong[0]), name=repository)
    return folder


def taken(info: "ModelInfo") -> "list[RepoSibling]":
    """The files that are wanted: of each folder the weights without a variant ("fp16"), and of a folder of diffusers
    those of its networks only, not the checkpoints beside them. Refused where there are pickles and nothing else.
    """
    there = [one for one in info.siblings or [] if TAKEN.fullmatch(one.rfilename)]
    weights = [Path(one.rfilename) for one in there if one.rfilename.endswith(".safetensors")]
    if not weights:
        pickles = any(Path(one.rfilename).suffix in PICKLES for one in info.siblings or [])
        raise Refused("hub.pickles" if pickles else "hub.no_weights", name=info.id)
    networks = any(one.rfilename == "model_index.json" for one in there)
    dots = {path.parent: min(one.name.count(".") for one in weights if one.parent == path.parent) for path in weights}
    beside = {path for path in weights if networks and path.parent == Path()}
    left = beside | {path for path in weights if path.name.count(".") > dots[path.parent]}
    return [one for one in there if Path(one.rfilename) not in left]


@contextmanager
def _explained(repository: str, otherwise: str) -> Iterator[None]:
    """Turn errors of the hub's client into sentences; `otherwise` is the code where the network failed."""
    from huggingface_hub import constants, errors, get_token

    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{repository}"
        raise Refused("hub.gated_still" if get_token() else "hub.gated", name=repository, page=page) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise Refused("hub.unknown", name=repository) from error
    except errors.HfHubHTTPError as error:
        raise Refused("hub.says", name=repository, problem=str(error).splitlines()[0][:200]) from error
    except Exception as error:  # of its HTTP library, which has been three by now
        if isinstance(error, OSError) and error.errno:
            raise Refused(why(error, Path(error.filename or "."), "HF_HOME")) from error
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused(otherwise, name=repository, problem=problem) from error


@contextmanager
def _online() -> Iterator[None]:
    """Let the hub's client use the network. A mirror has no Xet storage, as the hub has."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET
    try:
        constants.HF_HUB_OFFLINE = False
        constants.HF_HUB_DISABLE_XET = before[1] or constants.ENDPOINT != HUB
        yield
    finally:
        constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = before
