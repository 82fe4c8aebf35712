"""Questions: what a model is asked for an answer rather than for the gallery: places in the semantic space, or a
picture made larger for somebody who waits to take it away.

A question stands in the table of the jobs, so that the laws of the queue are its laws too: one worker holds it, what
that one says counts while it holds it, and a death puts it back in line, the second one aside. It differs in this: it
goes before all jobs and through a pause, for somebody waits for it now; no list and no count shows it; and its answer
lies in its row. That costs a wait for the disk, a few milliseconds, and buys that the answer and the news of it are one
commit: whoever sees a question answered finds the answer, in any process and whatever dies in between.

The latest KEPT answers stay, and answer the same question at once; each question that is asked forgets older ones.
"""

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Row
from typing import Annotated, Any

from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError

from models.messages import Refused
from studio.database import Database
from studio.events import Answer, Enlarged
from studio.requests import EmbedRequest, ImageRequest

# An ImageRequest is one that only enlarges: `studio.requests.enlarge`.
Question = Annotated[EmbedRequest | ImageRequest, Field(discriminator="task")]

KEPT = 64  # questions that have ended; one of 32 places takes 80 kB, one of a picture 150 kB
QUESTION: TypeAdapter[EmbedRequest | ImageRequest] = TypeAdapter(Question)
ANSWERS: TypeAdapter[tuple[Answer, ...]] = TypeAdapter(tuple[Answer, ...])
OPEN = "'waiting', 'running'"


@dataclass(frozen=True)
class Asked:
    """A question that a worker holds."""

    id: str
    request: Question


class Questions:
    """The questions in a database. All methods may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- For everyone -------------------------------------------------------------------------------------------------

    def ask(self, request: Question, question: str) -> None:
        """Put a question in line under its id. An open one stays as it is, an answered one too."""
        now = time.time()
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO jobs (id, request, company, place, submitted, question)"
                " VALUES (?, ?, ?, (SELECT ifnull(max(place), 0) + 1 FROM jobs), ?, 1)"
                " ON CONFLICT (id) DO UPDATE SET place = excluded.place"  # else it might be forgotten just now
                f" WHERE state NOT IN ({OPEN})",
                (question, request.model_dump_json(), request.model, now),
            )
            connection.execute(
                "UPDATE jobs SET state = 'waiting', request = ?, submitted = ?, wish = '', deaths = 0, sentence = '',"
                " started = NULL, ended = NULL WHERE id = ? AND state IN ('failed', 'cancelled', 'aside')",
                (request.model_dump_json(), now, question),
            )
            connection.execute(
                f"DELETE FROM jobs WHERE question AND state NOT IN ({OPEN}) AND place <="
                " (SELECT place FROM jobs WHERE question ORDER BY place DESC LIMIT 1 OFFSET ?)",
                (KEPT,),
            )

    def read(self, question: str) -> tuple[Answer, ...] | None:
        """The answer, None while there is none yet; Refused with the reason where there will be none."""
        row = self._database.row("SELECT state, sentence, answer FROM jobs WHERE id = ? AND question", question)
        if row is None:
            raise Refused("the question was forgotten before its answer was read; ask again.")
        if row["state"] == "done":
            return ANSWERS.validate_json(row["answer"])
        if row["state"] in ("failed", "aside"):
            raise Refused(row["sentence"])
        if row["state"] == "cancelled":
            raise Refused("the question was cancelled; ask again.")
        return None

    # --- For the worker -----------------------------------------------------------------------------------------------

    def claim(self, owner: str, between: str = "") -> Asked | None:
        """Take the first question in line, or one that this worker could not tell the answer of before.

        In the middle of other work, with the model `between` in memory, only one for that model, and none that a
        worker died of: the other work would be blamed with it.
        """
        mine = f"question AND state IN ({OPEN}) AND (state = 'waiting' OR owner = ?)"
        values: list[object] = [owner]
        if between:
            mine, values = f"{mine} AND company = ? AND deaths = 0", [*values, between]
        first = f"SELECT * FROM jobs WHERE {mine} ORDER BY place LIMIT 1"
        if self._database.row(first, *values) is None:  # asked often: mostly it need not wait for the writer's place
            return None
        with self._database.writing() as connection:
            row = connection.execute(first, values).fetchone()
            asked = _read(row) if row else None
            if asked:
                taken = "UPDATE jobs SET state = 'running', owner = ?, wish = '', started = ? WHERE id = ?"
                connection.execute(taken, (owner, time.time(), asked.id))
            elif row:
                sentence = "it was asked by another version of the studio; ask again."
                failed = "UPDATE jobs SET state = 'failed', owner = '', sentence = ? WHERE id = ?"
                connection.execute(failed, (sentence, row["id"]))
            return asked

    def answer(self, owner: str, question: str, answers: tuple[Answer, ...]) -> bool:
        """Note what the answer is -> whether it was this worker's to say."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = 'done', answer = ?, sentence = '', ended = ?, owner = '', wish = ''"
                " WHERE id = ? AND owner = ? AND state = 'running'",
                (ANSWERS.dump_json(answers).decode(), time.time(), question, owner),
            )
            return changed.rowcount == 1


def question_id(request: Question, digest: str) -> str:
    """The name of a question: sha256 (64 hex digits) of what is asked, pictures by what they hold, and the model's
    digest.
    """
    content = _without_paths(request.model_dump(exclude={"model"}, exclude_none=True))
    about = {"question": True, "digest": digest}  # no job has its name, though it asks for the same
    canonical = json.dumps({**content, **about}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def opened(answers: Sequence[Answer]) -> Image.Image:
    """The picture of an answer, straight RGBA."""
    (answer,) = (answer for answer in answers if isinstance(answer, Enlarged))
    with Image.open(io.BytesIO(answer.png)) as picture:
        return picture.convert("RGBA")


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(one) for key, one in value.items() if key != "path" or "sha256" not in value}
    return [_without_paths(one) for one in value] if isinstance(value, list | tuple) else value


def _read(row: Row) -> Asked | None:
    try:
        return Asked(row["id"], QUESTION.validate_json(row["request"]))
    except ValidationError:
        return None
