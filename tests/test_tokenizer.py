"""The tokenizer: every text survives, the same texts give the same files, prompts cannot speak to the machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from models.tokenizer import BOS, EOS, PAD, SPARE, encode_texts, load_tokenizer, train_tokenizer

TEXTS = [
    f"a {colour} {thing} on a white background, 2 of them"
    for colour in ("red", "green", "blue")
    for thing in ("cat", "dog", "fish", "house", "tree")
] + ["红色的猫在左边", "一只红色的猫", "两只蓝色的鱼"] * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 450, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return load_tokenizer(folder)


@given(text=st.text() | st.text(st.sampled_from(" \n\t<>eosbpad红👩🏽‍🚀é\x00")))
def test_any_utf8_survives(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("word", ["red", "cat", "红", "猫"])
def test_a_word_is_the_same_token_wherever_it_stands(tokenizer: PreTrainedTokenizerFast, word: str) -> None:
    alone = [i for i in tokenizer(word)["input_ids"] if tokenizer.decode([i]).strip()]
    inside = tokenizer(f"the {word} thing")["input_ids"]
    assert any(inside[i : i + len(alone)] == alone for i in range(len(inside)))


def test_chinese_keeps_clear_of_the_space_before_it(tokenizer: PreTrainedTokenizerFast) -> None:
    first, *rest = tokenizer.convert_ids_to_tokens(tokenizer("红色的猫在左边")["input_ids"])
    assert first == "Ġ"  # the space, alone
    assert rest == tokenizer.convert_ids_to_tokens(tokenizer("2红色的猫在左边")["input_ids"])[-len(rest) :]


def test_words_of_the_corpus_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer("red cat")["input_ids"]) == 2
    assert len(tokenizer("Red cat")["input_ids"]) > 2  # nothing is lower-cased


def test_same_texts_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    train_tokenizer(iter(TEXTS), 450, tmp_path)
    names = sorted(file.name for file in folder.iterdir())
    assert names == sorted(file.name for file in tmp_path.iterdir())
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_special_tokens_have_fixed_numbers(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_tokens_to_ids([PAD, BOS, EOS, *SPARE]) == list(range(3 + 64))


@pytest.mark.parametrize("special", [PAD, BOS, EOS, SPARE[0]])
def test_a_prompt_cannot_write_a_special_token(tokenizer: PreTrainedTokenizerFast, special: str) -> None:
    assert min(tokenizer(f"a {special} b")["input_ids"]) >= 3 + 64


def test_rows_are_begun_ended_padded_and_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, mask = encode_texts(tokenizer, ["red cat", "", "red cat " * 20], length=8)
    assert ids.shape == mask.shape == (3, 8)
    assert mask.sum(1).tolist() == [4, 2, 8]
    assert ids[0, 0] == ids[1, 0] == tokenizer.bos_token_id
    assert ids[0, 3] == ids[1, 1] == tokenizer.eos_token_id
    assert (ids[~mask] == tokenizer.pad_token_id).all()
    assert ids[2, -1] != tokenizer.eos_token_id  # cut, not ended
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "red cat"


def test_no_texts_give_no_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    assert encode_texts(tokenizer, [])[0].shape == (0, 32)


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="300 is below 323"):
        train_tokenizer(TEXTS, 300, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path / "nowhere")
