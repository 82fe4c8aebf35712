"""What the tools answer, typed."""

from pydantic import BaseModel, Field

from studio.events import Unknown
from studio.queue import State


class PictureOut(BaseModel):
    """A picture of the gallery."""

    id: str = Field(description="sha256 of its file; other tools take it as a picture.")
    path: str = Field(description="The file, where the studio runs.")
    prompt: str = Field(description="What it was made from; of a caption, the caption.")
    seed: int
    score: float | None = Field(description="Cosine to what was asked for, -1 to 1.")
    media_type: str
    credits: str = Field(description="Whom it is owed to: what to paste beside it.")


class JobOut(BaseModel):
    """A job, and the pictures that it made so far."""

    id: str
    state: State
    prompt: str
    ahead: int = Field(description="Jobs that come before it.")
    step: int = Field(description="How far it is, of `total` steps; 0 of 0 while the model is loaded.")
    total: int
    sentence: str = Field(description="Why it failed.")
    unknown: list[Unknown]
    read_as: str = Field(description="What is read of the prompt, where that is not its very words.")
    notes: list[str] = Field(description="What is worth knowing of the files that it was given.")
    pictures: list[PictureOut]


class Jobs(BaseModel):
    """Jobs; `counts` by state are those of the whole queue."""

    jobs: list[JobOut]
    counts: dict[str, int]
    paused: bool
    notice: str = Field(description="The latest message of the worker.")


class Hits(BaseModel):
    """Pictures that were found, best first. A score is None where a picture was found by its words alone."""

    pictures: list[PictureOut]
