"""The same sweep on a GPU, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saesweep.config import SweepConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import expand
from saesweep.run_folder import Run
from saesweep.sweep import run_sweep
from saesweep.training.fused import FusedGradient

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
    summary = run_sweep(Run.create(small, tmp_path), device="cuda")
    assert summary.done
    assert summary.run.folder(summary.run.cells[0]).result()["device"].startswith("cuda")
