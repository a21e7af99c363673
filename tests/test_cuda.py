"""The same sweep on a GPU, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import expand
from saesweep.run_folder import Run
from saesweep.sweep import run_sweep
from saesweep.training.fused import FusedGradient
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_what_is_drawn_once_is_the_same_on_every_device(small: SweepConfig) -> None:
    cpu, cuda = (SyntheticSource(small.data, 0, device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(cpu.features, cuda.features)
    torch.testing.assert_close(cpu.evaluation_set(300).x, cuda.evaluation_set(300).x.cpu())
    assert cuda.batch(0, 10).x.is_cuda


@pytest.mark.parametrize("loss", ["sum", "mean"])
def test_the_gradient_is_the_same_on_every_device(small: SweepConfig, loss: str) -> None:
    x = SyntheticSource(small.data, 0).batch(0, 256).x
    gradients = []
    for device in ("cpu", "cuda"):
        stack = Stack(expand(small), 3, seed=0, device=device)
        FusedGradient(stack, 256, loss)(x.to(device))
        gradients.append(stack.gradients.cpu())
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_a_sweep_runs_on_a_gpu(small: SweepConfig, tmp_path: Path) -> None:
    run = Run.create(small, tmp_path)
    assert run_sweep(run, settings=run.settings(["jobs.device=cuda"])).done
    assert run.folder(run.cells[0]).result()["device"].startswith("cuda")


def test_each_job_sees_its_own_gpu(small: SweepConfig, tmp_path: Path) -> None:
    run = Run.create(small, tmp_path)
    settings = run.settings(["jobs.device=cuda:0", "jobs.stack=1"])
    assert run_sweep(run, settings=settings).done
    results = [run.folder(cell).result() for cell in run.cells]
    assert {result["device"] for result in results} == {"cuda:0"}  # the only one it sees
    assert {result["cells_in_job"] for result in results} == {1}


def test_two_jobs_share_a_gpu(small: SweepConfig, tmp_path: Path) -> None:
    run = Run.create(small, tmp_path)
    settings = run.settings(["jobs.device=cuda:0", "jobs.per_device=2"])
    assert run_sweep(run, settings=settings).done
    assert {run.folder(cell).result()["cells_in_job"] for cell in run.cells} == {2}


def test_training_goes_on_bit_for_bit_on_a_gpu(small: SweepConfig) -> None:
    source = SyntheticSource(small.data, 0, "cuda")
    config = small.train.model_copy(update={"epochs": 40})

    def state() -> TrainingState:
        return TrainingState(Stack(expand(small), 3, seed=0, device="cuda"))

    def run_to(step: int, one: TrainingState) -> TrainingState:
        train(one, source, config, range(0, 41, 10), lambda *_: True, lambda now: now < step)
        return one

    cut = run_to(23, state())
    saved = {
        name: {key: part.cpu() for key, part in parts.items()}
        for name, parts in cut.parts().items()
    }
    resumed = state()
    resumed.restore(23, saved)
    whole, end = run_to(99, state()), run_to(99, resumed)
    assert torch.equal(whole.stack.parameters, end.stack.parameters)
    assert torch.equal(whole.adam.moments, end.adam.moments)


def test_a_stack_too_large_for_the_gpu_is_halved(tmp_path: Path) -> None:
    config = parse_config(
        """
        data: {activation_dim: 512, n_features: 512, mean_active: 5}
        grid: {l1: [0.01, 0.02, 0.05, 0.1], dict_size: [16384]}
        train: {epochs: 2, batch_size: 1024}
        eval: {n_samples: 2000, baselines: []}
        jobs: {device: cuda, stack: 4}
        """
    )
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.6e9 / total))  # two cells fit, not four
    try:
        run = Run.create(config, tmp_path)
        assert run_sweep(run).done
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any(event["event"] == "stack_halved" for event in run.events())
