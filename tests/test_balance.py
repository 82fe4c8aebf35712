"""Experts compute what a plain loop computes, alone and in two processes, and their load evens out."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from training_kit import in_two_processes
from transformers.distributed import DistributedConfig

from models.assets import preset
from models.language import Experts, LanguageConfig, LanguageModel, Router
from models.train.language_space import update_router_bias


def make_config() -> LanguageConfig:
    return LanguageConfig(**preset("language", "tiny"))


def make_model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(make_config()).eval()


def make_experts() -> Experts:
    torch.manual_seed(0)
    experts = Experts(make_config())
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
    router = make_model().model.layers[0].mixture.router
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
    router = Router(make_config())
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
    model = make_model()
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


def one_of_two(folder: Path) -> None:
    ids, found = torch.load(folder / "ids.pt"), {}
    for name, settings in MODES.items():
        model = LanguageModel.from_pretrained(folder, distributed_config=DistributedConfig(**settings)).eval()
        held = sum(getattr(p, "_local_tensor", p).numel() for p in model.parameters())
        with torch.no_grad():
            logits = model(ids).logits
            generated = model.generate(ids[:, :4], max_new_tokens=12, do_sample=False)
        found[name] = {"logits": logits, "generated": generated, "held": held}
    router = Router(LanguageModel.config_class(num_experts=4))
    router.load.copy_(torch.tensor([[6, 0, 1, 1], [0, 2, 1, 1]][dist.get_rank()]))
    update_router_bias(router, 0.01)
    found["balance"] = {"bias": router.bias}
    torch.save(found, folder / f"found{dist.get_rank()}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What one process gives under "one", and two give in every mode, of each of them."""
    folder = tmp_path_factory.mktemp("parallel")
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(**preset("language", "tiny"))).eval()
    ids = torch.randint(3, 512, (2, 12))
    model.save_pretrained(folder)
    torch.save(ids, folder / "ids.pt")
    in_two_processes(one_of_two, folder)
    with torch.no_grad():
        generated = model.generate(ids[:, :4], max_new_tokens=12, do_sample=False)
        one = {"logits": model(ids).logits, "generated": generated, "held": model.num_parameters()}
    return {"one": one, **{str(rank): torch.load(folder / f"found{rank}.pt") for rank in range(2)}}


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one(results: dict[str, dict], mode: str, rank: str) -> None:
    one, two = results["one"], results[rank][mode]
    torch.testing.assert_close(two["logits"], one["logits"], atol=1e-5, rtol=0)
    assert two["generated"].equal(one["generated"])
    assert two["held"] < 0.8 * one["held"]  # a process that holds everything would be equal too


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_balance_is_that_of_all_processes(results: dict[str, dict], rank: str) -> None:
    found = results[rank]["balance"]
    torch.testing.assert_close(found["bias"], torch.tensor([-0.015, 0.005, 0.005, 0.005]))
