"""Clips by their frames, which are numbered from 1: a frame kept as a picture."""

import hashlib
from dataclasses import replace
from pathlib import Path

from models.messages import Refused
from studio import media
from studio.export.clips import Clip
from studio.gallery import Gallery, GalleryItem
from studio.metadata.files import read
from studio.metadata.origin import placed
from studio.planner import Job
from studio.requests import stored_request
from studio.sinks import GallerySink


def opened_clip(path: Path) -> Clip:
    """A clip of the gallery; Refused where it is gone or damaged."""
    try:
        return Clip.read(path)
    except Refused as refusal:
        raise Refused("page.picture_damaged") from refusal


def take(gallery: Gallery, clip: GalleryItem, number: object) -> str:
    """Keep a frame of a clip as a picture of the gallery -> its sha256. Its file says what the clip's says, and which
    frame it is. Refused where there is no such frame.
    """
    shown = opened_clip(clip.path).frames
    if not isinstance(number, int) or not 1 <= number <= len(shown):
        raise Refused("page.no_frame", most=len(shown), number=number)
    found = read(clip.path)
    if "request" not in found:
        raise Refused("metadata.no_record", file=str(clip.path))
    artifact = placed(media.image(shown[number - 1]), found)
    own = hashlib.sha256(f"{clip.sha256} {number}".encode()).hexdigest()  # not the clip's: it would take its place
    job = Job(stored_request(found["request"]), own, str(found["digest"]))
    return GallerySink(gallery).keep(job, replace(artifact, how={**found["how"], "frame": number})).stem
