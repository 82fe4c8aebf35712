"""Ratings of pairs: which are shown, what is stored, what is learned from them, and what that changes."""

import io
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from queue_kit import Entry, keep

from eval.preference import EACH, SimulatedRater, choices, likes, measured, prompts, random_pairs
from models.messages import Refused
from models.ratings import EQUALS, REPEATS, Pair, Rating, blind_png, draw_pair
from models.reward import SAFETY, Comparisons, Reward, features, learn, names_insult
from studio import maintenance, settings
from studio.backends.embedded import Embedded
from studio.database import Database, migrations
from studio.home import Home
from studio.planner import job_id, resolve
from studio.ratings import Ratings
from studio.requests import make_request

PAIRS = [Pair(f"p{n}", f"a{n}", f"b{n}") for n in range(400)]


def fill(home: Home, count: int = 6, each: int = 3, space: str = "s") -> list[str]:
    """Pictures of `count` prompts: discs on a ground, the first of a prompt redder than the next -> sha256."""
    rng, names = np.random.default_rng(0), list[str]()
    for n in range(count * each):
        red = 240 - 100 * (n % each) + n // each
        file, vector = io.BytesIO(), rng.standard_normal(128)
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[8 : 50 + n % 7, 8:56] = (red, 60, 90, 255)
        Image.fromarray(pixels).save(file, "PNG")
        place = tuple(vector / np.linalg.norm(vector))
        entry = Entry(f"job{n}", 0, n, f"prompt {n // each}", digest=f"d{n % 2}", score=0.1, space=space, vector=place)
        names.append(keep(home.gallery, file.getvalue(), entry).stem)
    return names


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


# --- Pairs ------------------------------------------------------------------------------------------------------------


def drawn(count: int) -> list[Pair]:
    """What a rater is shown who answers each pair."""
    rng, ratings, result = random.Random(1), list[Rating](), list[Pair]()
    for _ in range(count):
        pair = draw_pair(PAIRS, ratings, lambda pool: [0.0] * len(pool), rng)
        assert pair
        ratings.append(Rating(**vars(pair)))
        result.append(pair)
    return result


def test_repeats_equal_pairs_and_sides_have_their_shares() -> None:
    shown = drawn(400)
    kinds = Counter(pair.kind for pair in shown)
    assert abs(kinds["repeat"] / 400 - REPEATS) < 0.04 and abs(kinds["equal"] / 400 - EQUALS) < 0.03
    assert abs(sum(pair.left_side == "first" for pair in shown) / 400 - 0.5) < 0.08
    earlier: dict[frozenset[str], Pair] = {}
    for pair in shown:
        if pair.kind == "repeat":
            assert pair.shown == earlier[pair.key].shown[::-1], "the sides are swapped"
        elif pair.kind == "equal":
            assert pair.first == pair.second
        else:
            assert pair.key not in earlier, "an ordinary pair is shown once"
            earlier[pair.key] = pair


def test_the_most_uncertain_pair_is_shown_until_all_are_rated() -> None:
    pair = draw_pair(PAIRS[:9], [], lambda pool: [float(one.prompt == "p7") for one in pool], random.Random(3))
    assert pair and (pair.prompt == "p7" or pair.kind == "equal")
    assert draw_pair(PAIRS[:1], [Rating("p0", "a0", "b0")], lambda pool: [0.0], random.Random(0)) is None
    assert draw_pair([], [], lambda pool: [], random.Random(0)) is None


def test_a_pressed_side_is_the_picture_that_stood_there() -> None:
    for side in ("first", "second"):
        pair = Pair("p", "a", "b", side)  # type: ignore[arg-type]
        assert getattr(pair, pair.choice_of("left")) == pair.shown[0]
        assert getattr(pair, pair.choice_of("right")) == pair.shown[1]
    with pytest.raises(ValueError, match="no choice"):
        PAIRS[0].choice_of("first")


def test_a_shown_picture_has_no_metadata(tmp_path: Path) -> None:
    path, info = tmp_path / "a.png", PngImagePlugin.PngInfo()
    info.add_text("studio", "a secret model")
    Image.new("RGBA", (600, 300), "red").save(path, pnginfo=info, dpi=(7, 7))
    shown = Image.open(io.BytesIO(blind_png(path)))
    assert shown.size == (256, 128) and not shown.info and b"secret" not in blind_png(path)


# --- The home ---------------------------------------------------------------------------------------------------------


def test_ratings_are_counted_exported_and_undone(home: Home) -> None:
    names, ratings = fill(home), Ratings(home)
    pair = Pair("prompt 0", names[0], names[1], "second")
    assert ratings.counts()["ratings"] == 0 and not ratings.undo()
    ratings.add(pair, "first")
    ratings.add(replace(pair, left_side="first", kind="repeat"), "first")
    ratings.add(Pair("prompt 0", names[0], names[0], kind="equal"), "tie")
    counts = ratings.counts()
    assert (counts["ratings"], counts["repeat"], counts["equal"], counts["agreed"]) == (3, 1, 1, 1)
    again = [Rating(**json.loads(line)) for line in ratings.lines()]
    assert again == ratings.all() and again[0].first_digest == "d0" and again[0].second_digest == "d1"
    assert ratings.undo() and ratings.all() == again[:2]


def test_stars_downloads_and_the_bin_are_weak_preferences(home: Home) -> None:
    names, ratings = fill(home, 2), Ratings(home)
    assert ratings.weak() == []
    home.gallery.mark([names[0]], star=True)
    ratings.download([names[3], names[3]])
    home.gallery.delete([names[2]])
    better = {(better, worse) for _, better, worse in ratings.weak()}
    assert better == {(names[0], names[1]), (names[0], names[2]), (names[1], names[2])} | {
        (names[3], names[4]),
        (names[3], names[5]),
    }
    assert all(names[2] not in pair.key for pair in ratings.candidates()), "what is in the bin is not shown"


def test_a_home_of_the_last_version_keeps_all_and_takes_ratings(tmp_path: Path) -> None:
    names = fill(Home(tmp_path))
    before = Home(tmp_path).gallery.page()
    with Home(tmp_path).database.writing() as connection:
        for name in ("ratings", "downloads"):
            connection.execute(f"DROP TABLE {name}")
        connection.execute("DROP INDEX artifacts_prompt")
        connection.execute("PRAGMA user_version=5")
    assert Database(tmp_path / "studio.db", migrations("home")[:5])
    home = Home(tmp_path)
    assert home.gallery.page() == before
    Ratings(home).add(Pair("prompt 0", names[0], names[1]), "tie")
    Ratings(home).download(names[:2])
    rated = Ratings(home).all()
    maintenance.rebuild(tmp_path)
    again = Home(tmp_path)
    assert Ratings(again).all() == rated and len(again.database.rows("SELECT * FROM downloads")) == 2


# --- The reward -------------------------------------------------------------------------------------------------------


def compared(count: int = 200, contradict: bool = False) -> Comparisons:
    """Ratings of squares by a rater who prefers red; or each pair rated both ways."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((80, 32, 32, 4), np.uint8)
    pixels[:, 4:28, 4:28] = rng.integers(0, 255, (80, 1, 1, 4))
    pixels[..., 3] = 255 * (pixels[..., 3] > 0)
    vectors = rng.standard_normal((80, 128))
    pairs = random_pairs(80, count, rng)
    outcome = (pixels[pairs[:, 0], 16, 16, 0] > pixels[pairs[:, 1], 16, 16, 0]).astype(float)
    if contradict:
        pairs, outcome = np.concatenate([pairs, pairs]), np.concatenate([outcome, 1 - outcome])
    rows = features(pixels, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return Comparisons(
        rows, rng.random(80), pairs[:, 0], pairs[:, 1], outcome, np.ones(len(outcome)), pairs[:, 0] // EACH
    )


def test_a_clear_taste_is_learned_and_a_saved_reward_is_the_same(tmp_path: Path) -> None:
    given = compared()
    reward = learn(given)
    assert reward.about["accuracy"] > 0.85
    digest = reward.save(tmp_path)
    again = Reward.load(tmp_path, digest)
    one, two = (each.heads(given.features, given.accuracy)["reward"] for each in (reward, again))
    assert np.allclose(one, two, atol=1e-3) and again.save(tmp_path) == digest
    (tmp_path / digest / "reward.safetensors").write_bytes(b"x")
    for name in (digest, "../" + digest, "0" * 64):
        with pytest.raises(Refused, match="missing or altered"):
            Reward.load(tmp_path, name)


def test_contradicting_ratings_teach_nothing_and_say_so() -> None:
    assert abs(learn(compared(contradict=True)).about["accuracy"] - 0.5) < 0.06


def test_ratings_do_not_change_the_safety_head() -> None:
    given = compared()
    opposite = replace(given, outcome=1 - given.outcome)
    for reward in (learn(given), learn(opposite)):
        heads = reward.heads(given.features, given.accuracy, np.arange(80) == 5)
        assert heads["safety"].tolist() == [-SAFETY * (n == 5) for n in range(80)]
        assert heads["reward"].argmin() == 5, "no taste makes up for an insult"
    assert names_insult("a middle finger") and not names_insult("a cat")


def test_members_disagree_less_about_what_was_rated_often() -> None:
    few, many = (learn(compared(count)) for count in (30, 400))
    given, rows = compared(), (np.arange(0, 80, 2), np.arange(1, 80, 2))
    apart = [
        one.disagreement(given.features, given.accuracy, *rows).mean() / np.abs(np.diff(_of(one, given))).mean()
        for one in (few, many)
    ]
    assert apart[1] < apart[0]


def _of(reward: Reward, given: Comparisons) -> np.ndarray:
    return reward.heads(given.features, given.accuracy)["reward"]


def test_a_home_without_enough_ratings_says_what_is_missing(home: Home) -> None:
    ratings = Ratings(home)
    with pytest.raises(Refused, match="nothing to learn from yet"):
        ratings.learn()
    names = fill(home)
    ratings.add(Pair("prompt 0", names[0], names[1]), "first")
    with pytest.raises(Refused, match="1 choices are too few"):
        ratings.learn()
    assert ratings.next(random.Random(0))


def test_what_is_learned_chooses_the_best_only_while_it_is_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(home.root))
    can = Embedded().capabilities()

    def planned(**fields: Any) -> Any:
        return resolve(make_request("image", prompt="a cat", seed=1, model="embedded", **fields), can)

    before = job_id(planned(best_of=8), "d")
    names, ratings = fill(home, 8), Ratings(home)
    for pair in ratings.candidates():
        ratings.add(pair, "first" if names.index(pair.first) < names.index(pair.second) else "second")
    assert job_id(planned(best_of=8), "d") == before, "rating alone changes nothing"
    digest, about = ratings.learn()
    assert about["ratings"] == 24 and planned(best_of=8).ranker == digest == settings.ranker()
    assert planned().ranker is None and job_id(planned(best_of=8), "d") != before
    pair = ratings.next(random.Random(0))
    assert pair is None, "all are rated"
    ratings.stop()
    assert job_id(planned(best_of=8), "d") == before


# --- The simulated rater ----------------------------------------------------------------------------------------------


def test_the_simulated_rater_prefers_the_rounder_warmer_simpler_one() -> None:
    rows, columns = np.mgrid[:128, :128] - 63.5
    disc = np.zeros((128, 128, 4), np.uint8)
    disc[rows**2 + columns**2 < 40**2] = (250, 140, 20, 255)
    bar, cold, noisy = np.zeros_like(disc), disc[..., [2, 1, 0, 3]], disc.copy()
    bar[54:74] = (250, 140, 20, 255)
    noise = np.random.default_rng(0).integers(0, 60, disc.shape[:2])
    noisy[..., 1] = np.where(disc[..., 3] > 0, 140 + noise, 0)
    numbers = likes(np.stack([disc, bar, cold, noisy]))
    assert numbers[0, 0] > numbers[1, 0] and numbers[0, 1] > numbers[2, 1] and numbers[0, 2] > numbers[3, 2]
    rater = SimulatedRater(np.stack([disc, bar, cold, noisy]))
    utility = rater.utility(np.stack([disc, bar, cold, noisy]))
    assert utility.argmax() == 0
    pairs = np.array([[0, 1]] * 1000)
    assert abs(choices(utility, pairs, 0.1, np.random.default_rng(0)).mean() - 0.9) < 0.03


def test_prompts_of_training_and_test_are_disjoint() -> None:
    train, test = prompts()
    assert len(test) == 100 and len(train) >= 95 and not set(train) & set(test)


def test_the_measure_beats_its_floor_on_pictures_of_one_colour() -> None:
    class Drawn:
        def __init__(self, seed: int) -> None:
            rng = np.random.default_rng(seed)
            self.pixels = np.zeros((240, 64, 64, 4), np.uint8)
            for picture in self.pixels:
                high, wide = rng.integers(8, 60, 2)
                picture[2 : 2 + high, 2 : 2 + wide] = (*rng.integers(0, 255, 3), 255)
            vectors = rng.standard_normal((240, 128)) / 11
            self.features, self.accuracy = features(self.pixels, vectors), rng.random(240)

    right, wins = measured(Drawn(0), Drawn(1), {})
    controls = dict(right.against)
    assert right.value > 0.65 > controls["shuffled labels"] and 0.88 < controls["the rater without noise"] < 0.93
    assert wins.value > 0.65 and "simulated" in right.note and "human" not in right.note
