"""Ratings of the home: pairs of pictures of one prompt and their answers, what stars, downloads and the bin say beside
them, and the reward that is learned from both.
"""

import functools
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.data.pixels import load_picture
from models.messages import Refused
from models.ratings import Choice, Pair, Rating, draw_pair
from studio import settings
from studio.home import Home
from studio.media import from_bytes

WEAK = 0.25  # weight of a preference that a star, a download or the bin shows, beside a rating
WEAK_PAIRS = 1_000  # at most, the newest
PROMPTS, PICTURES = 200, 8  # of the newest pictures that are compared: prompts, and pictures of each
CACHED = 4_096  # pictures whose features stay in memory
# Of a prompt's still pictures: 1 starred or downloaded, -1 in the bin, 0 neither.
MARKED = """SELECT sha256, prompt, number, digest, deleted, CASE WHEN deleted IS NOT NULL THEN -1
  WHEN star OR sha256 IN (SELECT sha256 FROM downloads) THEN 1 ELSE 0 END AS mark
  FROM artifacts WHERE kind = 'image' AND prompt != ''"""


class Ratings:
    """The ratings of a home. All methods may be called from any thread and any process."""

    def __init__(self, home: Home) -> None:
        self.home, self.database = home, home.database
        self._features = functools.lru_cache(CACHED)(self._features_of)
        self._reward = functools.lru_cache(1)(self._load)

    # --- Rows ---------------------------------------------------------------------------------------------------------

    def add(self, pair: Pair, choice: Choice) -> None:
        """Store an answer."""
        digests = {row["sha256"]: row["digest"] for row in self._artifacts([pair.first, pair.second])}
        row = {**vars(pair), "choice": choice, "created": time.time()}
        row |= {f"{side}_digest": digests.get(getattr(pair, side), "") for side in ("first", "second")}
        insert = f"INSERT INTO ratings ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        self.database.write(insert, *row.values())

    def undo(self) -> bool:
        """Remove the latest rating; False where there is none."""
        return bool(self.database.write("DELETE FROM ratings WHERE number = (SELECT max(number) FROM ratings)"))

    def all(self) -> list[Rating]:
        """The ratings, oldest first."""
        rows = self.database.rows("SELECT * FROM ratings ORDER BY number")
        return [Rating(**{name: row[name] for name in Rating.__dataclass_fields__}) for row in rows]

    def lines(self) -> Iterator[str]:
        """The ratings as JSON Lines, as `Rating` reads them."""
        return (json.dumps(rating.as_json(), ensure_ascii=False) + "\n" for rating in self.all())

    def counts(self) -> dict[str, int]:
        """How many there are of each kind and choice, how many repeats were answered as before, and how many weak
        preferences the gallery shows."""
        ratings = self.all()
        counts = {
            name: sum(name in (rating.kind, rating.choice) for rating in ratings)
            for name in ("ordinary", "repeat", "equal")
        }
        before = {rating.key: rating.choice for rating in ratings if rating.kind == "ordinary"}
        agreed = sum(rating.choice == before.get(rating.key) for rating in ratings if rating.kind == "repeat")
        return {"ratings": len(ratings), **counts, "agreed": agreed, "weak": len(self.weak())}

    def weak(self) -> list[tuple[str, str, str]]:
        """(prompt, better, worse) of pictures of one prompt: starred or downloaded ones are better than others, those
        better than pictures in the bin. The newest WEAK_PAIRS."""
        sql = (
            f"WITH marked AS ({MARKED}) SELECT a.prompt, a.sha256, b.sha256 FROM marked a JOIN marked b"
            " ON a.prompt = b.prompt AND a.mark > b.mark ORDER BY max(a.number, b.number) DESC LIMIT ?"
        )
        return [(row[0], row[1], row[2]) for row in self.database.rows(sql, WEAK_PAIRS)]

    def download(self, digests: Sequence[str]) -> None:
        """Note that artifacts were downloaded."""
        with self.database.writing() as connection:
            rows = [(digest, time.time()) for digest in digests]
            connection.executemany("INSERT OR IGNORE INTO downloads VALUES (?, ?)", rows)

    # --- Pairs --------------------------------------------------------------------------------------------------------

    def candidates(self) -> list[Pair]:
        """All pairs of a prompt's newest pictures that can be shown, of the newest prompts."""
        sql = (
            f"SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY prompt ORDER BY number DESC) AS place,"
            f" max(number) OVER (PARTITION BY prompt) AS newest FROM ({MARKED} AND deleted IS NULL)) WHERE place <= ?"
            " ORDER BY newest DESC, number"
        )
        rows = self.database.rows(sql, PICTURES)
        groups = itertools.islice(itertools.groupby(rows, lambda row: row["prompt"]), PROMPTS)
        several = [(prompt, [row["sha256"] for row in group]) for prompt, group in groups]
        return [Pair(prompt, *two) for prompt, names in several for two in itertools.combinations(names, 2)]

    def next(self, rng: random.Random) -> Pair | None:
        """The next pair to show; None where there is none that was not rated."""
        return draw_pair(self.candidates(), self.all(), self._uncertainty, rng)

    def _uncertainty(self, pairs: Sequence[Pair]) -> Sequence[float]:
        """Where a reward was learned, the disagreement of its members; else how far apart the vectors are. 0 where a
        picture has no vector, or its file is damaged."""
        names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
        reward = self.reward()
        if reward is None:
            vectors = self._vectors(names)
            both = [pair.key <= vectors.keys() for pair in pairs]
            return [
                1 - float(vectors[pair.first][1] @ vectors[pair.second][1]) if known else 0.0
                for pair, known in zip(pairs, both, strict=True)
            ]
        table = {name: row for name, row in zip(names, map(self._features, names), strict=True) if row is not None}
        known = [number for number, pair in enumerate(pairs) if pair.key <= table.keys()]
        result = np.zeros(len(pairs))
        if known:
            at = {name: number for number, name in enumerate(table)}
            first, second = ([at[getattr(pairs[n], side)] for n in known] for side in ("first", "second"))
            rows, accuracy = (
                np.stack([row for row, _ in table.values()]),
                np.array([score for _, score in table.values()]),
            )
            result[known] = reward.disagreement(rows, accuracy, first, second)
        return result.tolist()

    # --- The reward ---------------------------------------------------------------------------------------------------

    def learn(self) -> tuple[str, dict[str, Any]]:
        """Learn a reward from all ratings and weak preferences, and use it to choose the best of several -> its digest,
        and what it was learned from. Refused where there are too few."""
        from models.reward import Comparisons, learn  # safetensors, which only this needs

        ratings = [rating for rating in self.all() if rating.kind != "equal"]
        value = {"first": 1.0, "second": 0.0, "tie": 0.5, "bad": 0.5}
        rows = [(rating.prompt, rating.first, rating.second, value[rating.choice], 1.0) for rating in ratings]
        rows += [(prompt, better, worse, 1.0, WEAK) for prompt, better, worse in self.weak()]
        names = list(dict.fromkeys(name for _, first, second, *_ in rows for name in (first, second)))
        table = {name: row for name in names if (row := self._features(name)) is not None}
        at = {name: number for number, name in enumerate(table)}
        rows = [row for row in rows if row[1] in at and row[2] in at]
        if not rows:
            raise Refused("ratings.none")
        prompts, first, second, outcome, weight = zip(*rows, strict=True)
        pairs = Comparisons(
            np.stack([row for row, _ in table.values()]),
            np.array([score for _, score in table.values()]),
            np.array([at[name] for name in first]),
            np.array([at[name] for name in second]),
            np.array(outcome),
            np.array(weight),
            np.array(prompts),
        )
        reward = learn(pairs, {"ratings": len(ratings), "space": self._space()})
        digest = reward.save(settings.rewards(self.home.root))
        settings.choose(self.home.root, ranker=digest)
        return digest, reward.about

    def stop(self) -> None:
        """Choose the best of several without ratings again; what was learned stays."""
        settings.choose(self.home.root, ranker=None)

    def reward(self) -> Any:
        """The `Reward` in use; None where there is none."""
        digest = settings.chosen(self.home.root).get("ranker", "")
        return self._reward(str(digest)) if digest else None

    def _load(self, digest: str) -> Any:
        from models.reward import Reward

        return Reward.load(settings.rewards(self.home.root), digest)

    def _space(self) -> str:
        """The space of the newest vector; vectors of others are not used."""
        row = self.database.row("SELECT space FROM vectors ORDER BY artifact DESC LIMIT 1")
        return str(row["space"]) if row else ""

    def _vectors(self, names: Sequence[str]) -> dict[str, tuple[Any, np.ndarray]]:
        """The artifact and its unit vector (128,), by sha256, of those that have one."""
        rows, space = self._artifacts(names), self._space()
        return {
            row["sha256"]: (row, _unit(from_bytes(row["vector"], len(row["vector"]) // 2)[0]))
            for row in rows
            if row["vector"] and row["space"] == space
        }

    def _features_of(self, name: str) -> tuple[np.ndarray, float] | None:
        """Features (D,) and the cosine to the prompt; None without a vector, or without a readable file."""
        from models.reward import features

        known = self._vectors([name])
        if name not in known:
            return None
        row, vector = known[name]
        try:
            pixels = load_picture(Path(self.home.gallery.path_of(row)))
        except Refused:
            return None
        return features(pixels[None], vector[None])[0], float(row["score"] or 0.0)

    def _artifacts(self, names: Sequence[str]) -> list[Any]:
        sql = (
            "SELECT artifacts.*, space, vector FROM json_each(?) JOIN artifacts ON sha256 = value"
            " LEFT JOIN vectors ON artifact = artifacts.number"
        )
        return self.database.rows(sql, json.dumps(list(names)))


def _unit(vector: np.ndarray) -> np.ndarray:
    """float64, of length 1."""
    return vector.astype(float) / max(1e-6, float(np.linalg.norm(vector)))
