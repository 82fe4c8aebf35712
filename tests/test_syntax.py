"""Dynamic prompts: draws by seed, weights, wildcards, refusals."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import sentence_of
from hypothesis import given
from hypothesis import strategies as st

from models.messages import Refused
from models.prompts.weighting import plain
from studio.backends.fake import Fake
from studio.planner import job_id, resolve
from studio.requests import make_request
from studio.syntax import Wildcards, draw, is_dynamic, literal

CAN = Fake().capabilities()


@pytest.fixture
def lists(tmp_path: Path) -> Wildcards:
    folder = tmp_path / "wildcards"
    (folder / "deep").mkdir(parents=True)
    (folder / "colours.txt").write_text("# warm\nred\n\n3::orange # mostly\n", encoding="utf-8-sig")
    (folder / "colours-cold.txt").write_text("blue\n{light|dark} green\n")
    (folder / "deep" / "pets.txt").write_text("a __colours-cold__ cat\n")
    (folder / "self.txt").write_text("so __self__\n")
    (folder / "one.txt").write_text("__two__\n")
    (folder / "two.txt").write_text("__one__\n")
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "open.txt").write_text("a {red\n")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "clothes").mkdir()
    (folder / "clothes" / "hats.txt").write_text("cap\ncrown\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return Wildcards(folder)


def drawn(text: str, lists: Wildcards, times: int = 400) -> Counter[str]:
    return Counter(draw(text, str(seed), lists) for seed in range(times))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("a {red|blue} cat", {"a red cat", "a blue cat"}),
        ("{a{b|c}|d}", {"ab", "ac", "d"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$/$$a|b}", {"a", "b", "a/b", "b/a"}),
        ("{-1$$a}", {"a"}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{0::a|b}", {"b"}),
        ("{a|}", {"a", ""}),
        ("__deep/pets__", {"a blue cat", "a light green cat", "a dark green cat"}),
        ("__colours*__", {"red", "orange", "blue", "light green", "dark green"}),
        ("{2$$__colours__}", {"red, orange", "orange, red"}),
        ("__clothes/hats__", {"cap", "crown"}),
        (r"\{a|b\} \__x__", {r"\{a|b\} \__x__"}),
        ("a | b __ c 50$ snake_case", {"a | b __ c 50$ snake_case"}),
        ("(word:1.3) [x] # 1 :)", {"(word:1.3) [x] # 1 :)"}),
    ],
)
def test_possible_draws(lists: Wildcards, text: str, output: set[str]) -> None:
    assert set(drawn(text, lists)) == output


def test_a_list_is_written_read_and_changed(tmp_path: Path) -> None:
    for name, lines in (
        ("hats", "cap\n"),
        ("deep/my-hats", "crown # gold\n{a|b} hat"),
        ("hats", "3::beret"),
        ("帽子", "礼帽"),
    ):
        Wildcards(tmp_path / "lists").write(name, lines)
    lists = Wildcards(tmp_path / "lists")
    assert lists.names() == ["deep/my-hats", "hats", "帽子"] and (lists.text("hats"), lists.text("x")) == (
        "3::beret",
        "",
    )
    assert set(drawn("__hats__ __帽子__", lists)) == {"beret 礼帽"}
    assert set(drawn("__deep/my-hats__", lists)) == {"crown", "a hat", "b hat"}


@pytest.mark.parametrize(
    "name", ["", "../x", "/x", "a/../x", "a//b", "a__b", "_a", "a.txt", "a b", "a\\b", "a" * 81, "a\n"]
)
def test_a_list_of_a_bad_name_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="a list can't be named"):
        Wildcards(tmp_path / "lists").write(name, "cap")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "says"), [("cap\n{a|b", "line of the wildcard hats.*never closed"), (" # x\n", "no entries")]
)
def test_a_list_that_can_not_be_read_is_refused_and_the_old_one_stays(tmp_path: Path, lines: str, says: str) -> None:
    Wildcards(tmp_path).write("hats", "cap")
    with pytest.raises(Refused, match=says):
        Wildcards(tmp_path).write("hats", lines)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["cap"]


@pytest.mark.parametrize("text", ["{a|3::b}", "{a|{b|b}|b|b}", "__colours__"])
def test_choices_follow_their_weights(lists: Wildcards, text: str) -> None:
    least, most = sorted(drawn(text, lists, 2000).values())
    assert 2.5 < most / least < 3.6


def test_the_seed_decides(lists: Wildcards) -> None:
    text = "{a|b|c|d} {2$$e|f|g} __colours*__"
    assert [draw(text, str(seed), lists) for seed in range(9)] == [draw(text, str(seed), lists) for seed in range(9)]
    # A change of these makes other pictures of everybody's old seeds.
    assert [draw("{a|b|c|d|e|f}", str(seed), lists) for seed in range(8)] == ["f", "a", "d", "d", "b", "e", "f", "f"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a {red|blue", "the brace at column 3 is never closed"),
        ("a red} cat", "the brace at column 6 closes nothing"),
        ("{" * 11 + "}" * 11, "nested more than 10 deep at column 11"),
        ("{3-2$$a|b}", "asks for 3-2"),
        ("__colurs__", "did you mean 'colours'?"),
        ("__missing__", "there is no wildcard __missing__"),
        ("__../secret__", "there is no wildcard"),
        ("__deep/../../secret__", "there is no wildcard"),
        ("__/etc/passwd__", "there is no wildcard"),
        ("__self__", "self -> self names itself"),
        ("__one__", "one -> two -> one names itself"),
        ("__empty__", "has no entries"),
        ("__open__", "a line of the wildcard open: the brace at column 3"),
        ("__latin__", "is not UTF-8 text (byte 4)"),
    ],
)
def test_invalid_input_is_refused_in_a_sentence(lists: Wildcards, text: str, says: str) -> None:
    assert says in sentence_of(lambda: draw(text, "1", lists))


def test_expansion_is_limited(tmp_path: Path) -> None:
    for depth in range(8):
        (tmp_path / f"l{depth}.txt").write_text(f"__l{depth + 1}__ " * 20)
    (tmp_path / "l8.txt").write_text("x")
    with pytest.raises(Refused, match="more than 10,000 choices"):
        draw("__l0__", "1", Wildcards(tmp_path))
    (tmp_path / "long.txt").write_text("y" * 60_000)
    with pytest.raises(Refused, match="grows beyond"):
        draw("__long__ __long__", "1", Wildcards(tmp_path))


def test_a_missing_wildcard_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"make the folder .*nowhere"):
        draw("__x__", "1", Wildcards(tmp_path / "nowhere"))


@given(st.text(alphabet="ab {}|$:2-\\_/.", max_size=50), st.integers(0, 99))
def test_any_text_is_drawn_or_refused_and_once_is_enough(text: str, seed: int) -> None:
    nowhere = Wildcards(Path("/nowhere"))
    assert draw(literal(text), str(seed), nowhere) == literal(text) and not is_dynamic(literal(text))
    try:
        result = draw(text, str(seed), nowhere)
    except Refused:
        return
    if "_" not in text:
        assert draw(result, "another", nowhere) == result and not is_dynamic(result)


def test_a_resolved_request_holds_plain_words(lists: Wildcards) -> None:
    request = make_request(prompt="a {red|blue} (cat:1.2)", negative="{x|y}", mix=[{"text": "{a|b}"}], seed=5)
    once = resolve(request, CAN, lists)
    assert once == resolve(request, CAN, lists) == resolve(once, CAN, lists)
    assert once.prompt in ("a red (cat:1.2)", "a blue (cat:1.2)") and once.negative in ("x", "y")
    assert once.mix[0].text in ("a", "b") and plain(once.prompt).endswith("cat")
    typed = make_request(prompt=once.prompt, negative=once.negative, mix=[{"text": once.mix[0].text}], seed=5)
    assert job_id(resolve(typed, CAN, lists), "x") == job_id(once, "x"), "how the words were found does not count"
    assert {resolve(request.model_copy(update={"seed": s}), CAN, lists).prompt for s in range(20)} > {once.prompt}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"prompt": "()"}, "the prompt is empty"),
        ({"prompt": "{|}"}, "the prompt is empty"),
        ({"prompt": "(cat:50)"}, "the weight of 'cat' is 50"),
        ({"negative": "(dog:50)"}, "the weight of 'dog' is 50"),
        ({"negative": "{dog"}, "the negative: the brace at column 1"),
        ({"mix": [{"text": "a"}, {"text": "b}"}]}, "the mix 2: the brace at column 2"),
    ],
)
def test_requests_are_refused(lists: Wildcards, fields: dict, says: str) -> None:
    with pytest.raises(Refused) as caught:
        resolve(make_request(**{"prompt": "a cat", **fields}), CAN, lists)
    assert says in str(caught.value)
