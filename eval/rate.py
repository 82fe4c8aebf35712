"""`python -m eval rate MADE REAL`: a page for blind ratings, on this computer alone; and the rows of the answers.

A rater gives stars to mixed pictures of both folders and chooses the better one of pairs. The page hides where a
picture comes from; each rater has another order. Each answer is saved at once in a file, which the measure `ratings`
reads.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from eval.context import Context
from eval.report import refusing, rendered
from eval.rows import MissingError, Row, mean_row, share_row
from eval.score import PictureFolder
from models.data.stored import whole
from models.data.world import data_folder
from models.messages import DEFAULT, Message, languages
from models.ratings import blind_png

EACH = 30  # pictures of a folder, of which as many pairs are made
STARS = range(1, 6)
NAME = 40  # letters of a rater's name
TEXTS = ("title", "name", "begin", "stars", "pair", "done", "failed")

Task = dict[str, Any]  # task (its name), pictures


class Ratings:
    """Two folders, their tasks, and the answers so far."""

    def __init__(self, generated: Path, real: Path, out: Path, each: int = EACH) -> None:
        self.out, self.answers = out, json.loads(out.read_text("utf-8"))["answers"] if out.is_file() else []
        folders = {"generated": PictureFolder.read(generated), "real": PictureFolder.read(real)}
        chosen = {which: folder.files[:each] for which, folder in folders.items()}  # by hash: a draw
        self.pictures = {sha[:16]: (which, path) for which, files in chosen.items() for sha, path in files}
        shown = {which: [sha[:16] for sha, _ in files] for which, files in chosen.items()}
        stars = [[one] for names in shown.values() for one in names]
        pairs = [list(pair) for pair in zip(shown["generated"], shown["real"], strict=False)]
        self.tasks = {"-".join(names): names for names in (*stars, *pairs)}

    def order(self, rater: str) -> list[Task]:
        """The tasks of a rater in their order: stars and pairs mixed."""
        rng = random.Random(rater)
        names = rng.sample(sorted(self.tasks), len(self.tasks))
        return [{"task": name, "pictures": rng.sample(self.tasks[name], len(self.tasks[name]))} for name in names]

    def next(self, rater: str) -> Task | None:
        """The first task without an answer, with counts; None at the end."""
        given = {answer["task"] for answer in self.answers if answer["rater"] == rater}
        left = [task for task in self.order(rater) if task["task"] not in given]
        return left[0] | {"done": len(given), "of": len(given) + len(left)} if left else None

    def answer(self, rater: str, task: str, choice: Any) -> bool:
        """Save an answer: stars, or the better picture. False where it is not the current task."""
        shown, current = self.tasks.get(task, []), self.next(rater)
        known = shown if len(shown) > 1 else list(STARS)
        if not current or current["task"] != task or choice not in known:
            return False
        of = [self.pictures[name][0] for name in shown]
        value = choice if len(shown) == 1 else int(self.pictures[choice][0] == "generated")
        self.answers.append({"rater": rater, "task": task, "of": of, "value": value})
        with whole(self.out) as part:
            part.write_text(json.dumps({"answers": self.answers}, indent=1) + "\n", encoding="utf-8")
        return True


def app(ratings: Ratings) -> Starlette:
    """The page and what it asks for; to this computer alone."""

    def page(request: Request) -> Response:
        spoken = request.headers.get("accept-language", "")[:2]
        language = spoken if spoken in languages() else DEFAULT
        words = {name: Message(f"eval.rate.{name}").text(language) for name in TEXTS}
        return HTMLResponse(rendered("rate.html.j2", words=words, language=language))

    def picture(request: Request) -> Response:
        match = ratings.pictures.get(request.path_params["name"])
        if not match:
            return Response(status_code=404)
        return Response(blind_png(match[1]), media_type="image/png")

    async def following(request: Request) -> Response:
        return JSONResponse(ratings.next(request.query_params.get("rater", "")[:NAME]))

    async def answer(request: Request) -> Response:
        """One at a time: nothing is awaited between reading and writing the answers."""
        # Another site's page can't send this type without asking first, and is not answered.
        if not request.headers.get("content-type", "").startswith("application/json"):
            return Response(status_code=415)
        try:
            body = json.loads(await request.body())
            stored = ratings.answer(str(body["rater"])[:NAME], str(body["task"]), body["choice"])
        except (ValueError, KeyError, TypeError):
            stored = False
        return Response(status_code=204 if stored else 400)

    routes = [
        Route("/", page), Route("/picture/{name}", picture), Route("/next", following),
        Route("/answer", answer, methods=["POST"]),
    ]  # fmt: skip
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "testserver"])
    return Starlette(routes=routes, middleware=[hosts])


@refusing
def main(words: list[str]) -> int:
    """Entry point: the page until Ctrl-C, 2 refused."""
    parser = argparse.ArgumentParser(prog="python -m eval rate", description="A page for blind ratings.")
    parser.add_argument("generated", type=Path, metavar="MADE", help="folder of generated pictures")
    parser.add_argument("real", type=Path, metavar="REAL", help="folder of real ones")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where answers are kept; the table reads the usual one"
    )
    parser.add_argument("--each", type=int, default=EACH, metavar="N", help=f"pictures of each folder ({EACH})")
    parser.add_argument("--port", type=int, default=7861)
    arguments = parser.parse_args(words)
    out = arguments.out or data_folder() / "eval" / RATINGS
    ratings = Ratings(arguments.generated, arguments.real, out, arguments.each)
    print(f"http://127.0.0.1:{arguments.port}/  {out}")
    uvicorn.run(app(ratings), host="127.0.0.1", port=arguments.port, log_level="warning")
    return 0


# --- The measure ------------------------------------------------------------------------------------------------------


RATINGS = "ratings.json"


def rating_rows(context: Context) -> Iterator[Row]:
    """Stars of generated pictures beside real ones, pairs, and whether raters agree."""
    path = context.cache and context.cache / RATINGS
    if not path or not path.is_file():
        raise MissingError("nobody has rated pictures; begin with: python -m eval rate MADE REAL")
    yield from rated(json.loads(path.read_text(encoding="utf-8"))["answers"])


def rated(answers: list[dict[str, Any]]) -> Iterator[Row]:
    """Rows of answers {rater, task, of, value}: `of` lists the sources of the task's pictures ("generated", "real"),
    `value` is 1 to 5 stars, or for a pair 1 where the generated one is better."""
    stars, pairs = ([answer for answer in answers if len(answer["of"]) == n] for n in (1, 2))
    raters = f"{len({answer['rater'] for answer in answers})} raters"
    stars_of = {
        who: np.array([answer["value"] for answer in stars if answer["of"] == [who]], float)
        for who in ("generated", "real")
    }
    if len(stars_of["generated"]) and len(stars_of["real"]):
        beside = (("real", float(stars_of["real"].mean())),)
        yield mean_row("stars, of 5", stars_of["generated"], against=beside, note=f"{raters}; alpha {alpha(stars):.2f}")
    if pairs:
        better = [bool(answer["value"]) for answer in pairs]
        note = f"{raters}; alpha {alpha(pairs):.2f}"
        yield share_row("the generated one of a pair is better", better, against=(("chance", 0.5),), note=note)


def alpha(answers: list[dict[str, Any]]) -> float:
    """Krippendorff's alpha of answers: 1 where raters agree, 0 as by chance, NaN where no two answered one task.
    Differences are squared, which for yes and no is nominal agreement."""
    units = defaultdict[str, list[float]](list)
    for answer in answers:
        units[answer["task"]].append(answer["value"])
    shared = [values for values in units.values() if len(values) > 1]
    if not shared:
        return float("nan")
    apart = sum(len(values) * np.var(values, ddof=1) for values in shared)
    every = np.concatenate(shared)
    return 1 - float(apart / (len(every) * np.var(every, ddof=1))) if every.var() else 1.0
