"""Experts compute what a plain loop computes, and their load evens out, also over two processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from training_kit import in_two_processes

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
        load = router.load.double()
        router.load.zero_()
        return float(load.max() / load.mean() - 1)  # MaxVio (arXiv 2408.15664, equation 4)

    before = violation()
    for _ in range(200):
        router(mean + torch.randn(500, 32))
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


def balanced(folder: Path) -> None:
    router = Router(LanguageModel.config_class(num_experts=4))
    router.load.copy_(torch.tensor([[6, 0, 1, 1], [0, 2, 1, 1]][dist.get_rank()]))
    update_router_bias(router, 0.01)
    torch.save(router.bias, folder / f"bias{dist.get_rank()}.pt")


def test_the_balance_is_that_of_all_processes(tmp_path: Path) -> None:
    in_two_processes(balanced, tmp_path)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"bias{rank}.pt"), torch.tensor([-0.015, 0.005, 0.005, 0.005]))
