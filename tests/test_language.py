"""Backbone, tokenizer and experts: caches, windows, masks, parallel modes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from training_kit import in_two_processes
from transformers import PreTrainedTokenizerFast
from transformers.cache_utils import DynamicCache
from transformers.distributed import DistributedConfig

from models.assets import preset
from models.language import Experts, LanguageConfig, LanguageModel, Router, attend_grouped, visible
from models.tokenizer import BOS, EOS, PAD, SPARE, encode_texts, load_tokenizer, train_tokenizer
from models.train.language_space import update_router_bias

WINDOW = preset("language", "tiny")["sliding_window"]
MIXED = ["sliding_attention", "full_attention"]


def make(seed: int = 0, **changes: Any) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(LanguageConfig(**{**preset("language", "tiny"), **changes})).eval()


def random_ids(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(3, 512, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return make()


@pytest.mark.parametrize("changes", [{}, {"layer_types": MIXED}, {"num_key_value_heads": 4}])
@pytest.mark.parametrize("steps", [(1,) * 24, (5, 1, 1, 10, 7), (20, 4)])
@torch.no_grad()
def test_cached_equals_uncached(changes: dict[str, Any], steps: tuple[int, ...]) -> None:
    model, ids = make(**changes), random_ids(2, 24)  # three windows
    whole = model(ids).logits
    cache, start = DynamicCache(config=model.config), 0
    for step in steps:
        part = model(ids[:, start : start + step], cache=cache, use_cache=True).logits
        torch.testing.assert_close(part, whole[:, start : start + step], atol=2e-5, rtol=0)
        start += step


@torch.no_grad()
def test_the_cache_stops_growing_at_the_window(model: LanguageModel) -> None:
    sizes = []
    cache = DynamicCache(config=model.config)
    for token in random_ids(1, 4 * WINDOW).T[:, None]:
        model(token, cache=cache, use_cache=True)
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in tensors))
    config = model.config
    token_bytes = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    assert max(sizes) <= WINDOW * token_bytes
    assert sizes[0] == token_bytes


def slow_visible(
    i: int, j: int, window: int | None, documents: list[int], real: list[bool], prefix: list[bool]
) -> bool:
    if documents[i] != documents[j] or not real[j] or (window is not None and abs(i - j) >= window):
        return False
    return j <= i or (prefix[i] and prefix[j])


@settings(max_examples=50)
@given(st.data(), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 6)))
def test_visible_is_the_rule_in_words(data: st.DataObject, length: int, window: int | None) -> None:
    past = data.draw(st.integers(0, length - 1))
    documents = data.draw(st.lists(st.integers(0, 2), min_size=length, max_size=length))
    real, prefix = (data.draw(st.lists(st.booleans(), min_size=length, max_size=length)) for _ in range(2))
    seen = visible(
        range(past, length),
        range(length),
        window,
        attention_mask=torch.tensor([real]),
        document_ids=torch.tensor([documents]),
        prefix_mask=torch.tensor([prefix]),
    )
    expected = [
        [slow_visible(i, j, window, documents, real, prefix) for j in range(length)] for i in range(past, length)
    ]
    assert seen[0].tolist() == expected


@torch.no_grad()
def test_a_token_moves_exactly_those_that_see_it() -> None:
    model, ids = make(num_hidden_layers=1), random_ids(1, 3 * WINDOW)
    length = ids.shape[1]
    documents = (torch.arange(length) >= 11).long()[None]
    prefix = torch.zeros(1, length, dtype=torch.bool)
    prefix[:, 11:17] = True
    masks = {"document_ids": documents, "prefix_mask": prefix}
    seen = visible(range(length), range(length), WINDOW, **masks)[0]
    before = model(ids, **masks).logits
    for j in range(length):
        other = ids.clone()
        other[0, j] = 3 + (other[0, j] - 2) % 509
        moved = (model(other, **masks).logits - before)[0].abs().amax(-1) > 1e-5
        assert moved.tolist() == seen[:, j].tolist(), j


@torch.no_grad()
def test_packed_equals_separate(model: LanguageModel) -> None:
    first, second = random_ids(1, 9, seed=2), random_ids(1, 13, seed=3)
    documents = torch.tensor([[0] * 9 + [1] * 13])
    prefix = torch.zeros(1, 22, dtype=torch.bool)
    prefix[:, 9:13] = True
    packed = model(torch.cat([first, second], 1), document_ids=documents, prefix_mask=prefix).logits
    apart = torch.cat([model(first).logits, model(second, prefix_mask=prefix[:, 9:]).logits], 1)
    torch.testing.assert_close(packed, apart, atol=2e-5, rtol=0)
    assert not torch.allclose(model(torch.cat([first, second], 1)).logits, apart, atol=1e-3)


@pytest.mark.parametrize("left", [False, True])
@torch.no_grad()
def test_padding_changes_nothing(model: LanguageModel, left: bool) -> None:
    ids, mask = random_ids(3, 12), torch.ones(3, 12, dtype=torch.bool)
    mask[1, :5] = False
    mask[2] = False  # a row of nothing must not spoil the rest
    if not left:
        mask = mask.flip(1)
    padded = model(ids, attention_mask=mask).logits
    assert padded.isfinite().all()
    torch.testing.assert_close(padded[1][mask[1]], model(ids[1:2, mask[1]]).logits[0], atol=2e-5, rtol=0)


@torch.no_grad()
def test_a_prompt_is_a_bidirectional_block(model: LanguageModel) -> None:
    ids, mask = random_ids(2, WINDOW), torch.ones(2, WINDOW, dtype=torch.bool)
    mask[1, 5:] = False
    states = model.encode(ids, mask)
    assert states.shape == (2, WINDOW, 32)
    assert (states[1, 5:] == 0).all()
    other = ids.clone()
    other[:, 4] = 3
    moved = (model.encode(other, mask) - states).abs().amax(-1) > 1e-5
    assert moved[mask].all()
    torch.testing.assert_close(model.encode(ids[1:, :5], mask[1:, :5])[0], states[1, :5], atol=2e-5, rtol=0)


@torch.no_grad()
def test_continuations_do_not_change_the_prompt(model: LanguageModel) -> None:
    ids = random_ids(1, 12)
    prompt = torch.ones(1, 5, dtype=torch.bool)
    decoder = model.model
    long = decoder(ids, prefix_mask=prompt).last_hidden_state
    torch.testing.assert_close(long[:, :5], model.encode(ids[:, :5], prompt), atol=2e-5, rtol=0)
    cache = decoder(ids[:, :5], prefix_mask=prompt, use_cache=True).cache
    rest = decoder(ids[:, 5:], prefix_mask=prompt, cache=cache).last_hidden_state
    torch.testing.assert_close(rest, long[:, 5:], atol=2e-5, rtol=0)


@pytest.mark.parametrize("beams", [1, 3])
def test_generate_with_cache_equals_without(model: LanguageModel, beams: int) -> None:
    ids, mask = random_ids(2, 6), torch.ones(2, 6, dtype=torch.long)
    mask[1, :3] = 0
    settings = {"max_new_tokens": 2 * WINDOW, "do_sample": False, "num_beams": beams, "attention_mask": mask}
    settings["prefix_mask"] = mask.bool()
    cached = model.generate(ids, **settings)
    assert cached.equal(model.generate(ids, use_cache=False, **settings))
    if beams == 1:  # the shorter prompt, without its padding
        alone = {**settings, "attention_mask": None, "prefix_mask": torch.ones(1, 3, dtype=torch.bool)}
        assert model.generate(ids[1:, 3:], **alone)[0].equal(cached[1, 3:])


@pytest.mark.parametrize("keys", [7, 1500])
def test_grouped_attention_equals_repeated_heads(keys: int) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 5, 8, 4), torch.randn(2, 2, keys, 4), torch.randn(2, 2, keys, 4)
    bias = torch.randn(2, 5, keys)
    expected = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.repeat_interleave(4, 1), v.repeat_interleave(4, 1), bias[:, None]
    )
    torch.testing.assert_close(attend_grouped(q, k, v, bias), expected.transpose(1, 2).flatten(2))


def test_the_loss_counts_what_was_not_seen(model: LanguageModel) -> None:
    ids = random_ids(1, 10)
    labels = ids.clone()
    labels[0, 8] = -100
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1, 1]])
    prefix = torch.tensor([[False] * 4 + [True] * 2 + [False] * 4])
    real = torch.tensor([[True] * 9 + [False]])
    masks = {"document_ids": documents, "prefix_mask": prefix, "attention_mask": real}
    logits = model(ids, **masks).logits[0]
    # 4 starts a document, 5 was seen by 4, 8 is left out, 9 is padding.
    predicted = [1, 2, 3, 6, 7]
    expected = F.cross_entropy(logits[[i - 1 for i in predicted]], ids[0, predicted])
    torch.testing.assert_close(model(ids, labels=labels, **masks).loss, expected)


def test_gradient_checkpointing_changes_neither_gradients_nor_load() -> None:
    ids = random_ids(4, 16)
    results = []
    for checkpointed in (False, True):
        model = make().train()
        if checkpointed:
            model.gradient_checkpointing_enable()
            assert model.model.layers[0].gradient_checkpointing
        model(ids, labels=ids).loss.backward()
        loads = torch.stack([layer.mixture.router.load for layer in model.model.layers])
        results.append((loads, [parameter.grad for parameter in model.parameters()]))
    (load, gradients), (load_again, gradients_again) = results
    assert load.sum(1).tolist() == [4 * 16 * 2] * 2
    assert load.equal(load_again)
    for gradient, other in zip(gradients, gradients_again, strict=True):
        torch.testing.assert_close(gradient, other)


@torch.no_grad()
def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    model = make()
    model.model.layers[0].mixture.router.bias.copy_(torch.linspace(-0.01, 0.01, 8))
    model.save_pretrained(tmp_path)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".json", ".safetensors"]
    again, ids = LanguageModel.from_pretrained(tmp_path), random_ids(2, 9)
    saved = model.state_dict()
    assert all(tensor.equal(saved[name]) for name, tensor in again.state_dict().items())
    # Not to the bit: weights mapped from a file lie at other addresses, and products then add in another order.
    torch.testing.assert_close(again(ids).logits, model(ids).logits, atol=1e-6, rtol=0)
    assert again(ids).logits.equal(LanguageModel.from_pretrained(tmp_path)(ids).logits)
    half = LanguageModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    router = half.model.layers[0].mixture.router
    assert half.lm_head.weight.dtype == torch.bfloat16
    assert router.bias.dtype == torch.float32
    assert router.bias.equal(model.model.layers[0].mixture.router.bias)
    assert half.encode(ids, torch.ones(2, 9, dtype=torch.bool)).dtype == torch.bfloat16


def test_training_under_autocast() -> None:
    model = make().train()
    ids = random_ids(8, 12)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert 5.5 < losses[0] < 7.5  # ln 512 = 6.2
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: make(num_attention_heads=3), "3 query heads cannot share 2 key heads"),
        (lambda m: make(num_experts_per_tok=9), "9 experts a token cannot be chosen among 8"),
        (lambda m: make(head_dim=7), "head_dim 7 is odd"),
        (lambda m: m(), "give input_ids"),
        (lambda m: m(random_ids(1, 4), document_ids=torch.zeros(1, 3)), "document_ids covers 3 tokens of 4"),
        (lambda m: m(random_ids(1, 4), attention_mask=torch.ones(1, 2)), "attention_mask covers 2 tokens of 4"),
        (
            lambda m: m(
                random_ids(1, 2),
                cache=m(random_ids(1, 4), use_cache=True).cache,
                prefix_mask=torch.ones(1, 5, dtype=torch.bool),
            ),
            "behind the 4 cached tokens",
        ),
    ],
)
def test_errors_say_what_is_wrong(model: LanguageModel, call: Callable[[LanguageModel], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model)


# --- The tokenizer ----------------------------------------------------------------------------------------------------


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


def test_tokenizer_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="300 is below 323"):
        train_tokenizer(TEXTS, 300, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path / "nowhere")


# --- The experts ------------------------------------------------------------------------------------------------------


def make_experts() -> Experts:
    experts = Experts(make().config)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return experts


def routed(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    chosen = torch.rand(tokens, 7).topk(2).indices  # expert 7 stays without work
    return torch.randn(tokens, 32), chosen, torch.rand(tokens, 2)


def dense_loop(experts: Experts, rows: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    y = torch.zeros_like(rows)
    for k in range(chosen.shape[1]):
        for n in range(len(rows)):
            gate, up = (experts.gate_up_proj[chosen[n, k]] @ rows[n]).chunk(2)
            y[n] = y[n] + weights[n, k] * (experts.down_proj[chosen[n, k]] @ (F.silu(gate) * up))
    return y


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
@pytest.mark.parametrize("granule", [1, 4])  # 4: experts' rows padded, as in training
def test_experts_equal_a_dense_loop(implementation: str, granule: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.language.GRANULE", granule)
    experts = make_experts()
    experts.config._experts_implementation = implementation
    rows, chosen, weights = routed(33)
    results = []
    for function in (experts, lambda *args: dense_loop(experts, *args)):
        inputs = [rows.clone().requires_grad_(), chosen, weights.clone().requires_grad_()]
        y = function(*inputs)
        wanted = [inputs[0], inputs[2], *experts.parameters()]
        results.append([y, *torch.autograd.grad(y.square().sum() + y.sum(), wanted)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_bias_moves_the_choice_and_not_the_weight() -> None:
    router = make().model.layers[0].mixture.router
    rows = torch.randn(50, 32)
    router.bias[3] = 10
    chosen, weights = router(rows)
    assert (chosen == 3).any(1).all()
    scores = (rows @ router.weight.T).sigmoid().gather(1, chosen)
    torch.testing.assert_close(weights, 2 * scores / scores.sum(1, keepdim=True))
    assert weights.requires_grad


@torch.no_grad()
def test_the_update_evens_a_skewed_stream() -> None:
    torch.manual_seed(0)
    router = Router(LanguageConfig(**preset("language", "tiny")))
    torch.nn.init.normal_(router.weight, std=0.2)
    mean = torch.randn(32)

    def violation(tokens: int = 4000) -> float:
        router.load.zero_()
        router(mean + torch.randn(tokens, 32))
        load = router.latest.double()
        return float(load.max() / load.mean() - 1)  # MaxVio (arXiv 2408.15664, equation 4)

    before = violation()
    for _ in range(200):
        router(mean + torch.randn(500, 32))
        router.count()
        update_router_bias(router, 1e-3)
    assert before > 1.2
    assert violation() < 0.3
    assert abs(router.bias.mean()) < 1e-6
    assert router.load.sum() == 0


def test_only_training_counts_and_padding_never() -> None:
    model = make()
    ids, mask = torch.randint(3, 512, (2, 8)), torch.ones(2, 8, dtype=torch.bool)
    mask[1, 3:] = False
    router = model.model.layers[0].mixture.router
    model(ids, attention_mask=mask)
    assert router.load.sum() == 0
    model.train()
    model(ids, attention_mask=mask)
    model.encode(ids, mask)
    assert router.load.sum() == 2 * (11 * 2)


# --- Two processes ----------------------------------------------------------------------------------------------------


MODES = {
    "tensor": {"tp_size": 2},
    "pipeline": {"pp_size": 2},
    "expert, all-reduce": {"tp_size": 2, "ep_size": 2},
    "expert, all-to-all": {"fsdp_size": 2, "ep_size": 2},
}


def run_rank(folder: Path) -> None:
    ids, results = torch.load(folder / "ids.pt"), {}
    for name, sizes in MODES.items():
        model = LanguageModel.from_pretrained(folder, distributed_config=DistributedConfig(**sizes)).eval()
        held = sum(getattr(p, "_local_tensor", p).numel() for p in model.parameters())
        with torch.no_grad():
            logits = model(ids).logits
            generated = model.generate(ids[:, :4], max_new_tokens=12, do_sample=False)
        results[name] = {"logits": logits, "generated": generated, "held": held}
    router = Router(LanguageConfig(num_experts=4))
    router.load.copy_(torch.tensor([[6, 0, 1, 1], [0, 2, 1, 1]][dist.get_rank()]))
    update_router_bias(router, 0.01)
    torch.save({**results, "bias": router.bias}, folder / f"rank{dist.get_rank()}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Results of a single process ("single") and of each of two ("0", "1") by mode."""
    folder = tmp_path_factory.mktemp("parallel")
    torch.manual_seed(0)
    model = make()
    ids = random_ids(2, 12)
    model.save_pretrained(folder)
    torch.save(ids, folder / "ids.pt")
    in_two_processes(run_rank, folder)
    with torch.no_grad():
        generated = model.generate(ids[:, :4], max_new_tokens=12, do_sample=False)
        single = {"logits": model(ids).logits, "generated": generated, "held": model.num_parameters()}
    return {"single": single, **{str(rank): torch.load(folder / f"rank{rank}.pt") for rank in range(2)}}


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_a_single_process(results: dict[str, dict], mode: str, rank: str) -> None:
    single, shared = results["single"], results[rank][mode]
    torch.testing.assert_close(shared["logits"], single["logits"], atol=1e-5, rtol=0)
    assert shared["generated"].equal(single["generated"])
    assert shared["held"] < 0.8 * single["held"]  # a process that holds everything would be equal too


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_balance_is_that_of_all_processes(results: dict[str, dict], rank: str) -> None:
    torch.testing.assert_close(results[rank]["bias"], torch.tensor([-0.015, 0.005, 0.005, 0.005]))
