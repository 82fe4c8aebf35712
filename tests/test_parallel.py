"""Two processes on gloo equal one: tensor, pipeline and expert parallel come from transformers through our plans."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import PATIENCE

from models.language import LanguageConfig, LanguageModel
from models.presets import preset

ROOT = Path(__file__).parent.parent
WORKER = """
import json, sys
import torch
import torch.distributed as dist
from transformers.distributed import DistributedConfig
from models.experts import Router
from models.language import LanguageModel
from models.train.balance import update_router_bias

torch.set_num_threads(1)
dist.init_process_group("gloo")
folder, modes = sys.argv[1], json.loads(sys.argv[2])
ids = torch.load(f"{folder}/ids.pt")
found = {}
for name, settings in modes.items():
    model = LanguageModel.from_pretrained(folder, distributed_config=DistributedConfig(**settings)).eval()
    held = sum(getattr(p, "_local_tensor", p).numel() for p in model.parameters())
    with torch.no_grad():
        logits = model(ids).logits
        generated = model.generate(ids[:, :4], max_new_tokens=12, do_sample=False)
    found[name] = {"logits": logits, "generated": generated, "held": held}

router = Router(LanguageModel.config_class(num_experts=4))
router.load.copy_(torch.tensor([[6, 0, 1, 1], [0, 2, 1, 1]][dist.get_rank()]))
found["balance"] = {"load": update_router_bias(router, 0.01), "bias": router.bias}
torch.save(found, f"{folder}/found{dist.get_rank()}.pt")
dist.destroy_process_group()
"""
MODES = {
    "tensor": {"tp_size": 2},
    "pipeline": {"pp_size": 2},
    "expert, all-reduce": {"tp_size": 2, "ep_size": 2},
    "expert, all-to-all": {"fsdp_size": 2, "ep_size": 2},
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What one process gives under "one", and two give in every mode, of each of them."""
    folder = tmp_path_factory.mktemp("parallel")
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(**preset("language", "tiny"))).eval()
    ids = torch.randint(3, 512, (2, 12))
    model.save_pretrained(folder)
    torch.save(ids, folder / "ids.pt")
    (folder / "worker.py").write_text(WORKER)
    settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in range(2):
        environment = {**os.environ, **settings, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(folder / "worker.py"), str(folder), json.dumps(MODES)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)[-4000:]
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
    assert found["load"].tolist() == [[6, 2, 2, 2]]
    torch.testing.assert_close(found["bias"], torch.tensor([-0.015, 0.005, 0.005, 0.005]))
