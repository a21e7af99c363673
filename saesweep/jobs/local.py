"""Jobs on this machine: in this process, or in one process for each slot."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from saesweep.config import DEVICE, DEVICE_RULE, JobsConfig
from saesweep.errors import UsageError
from saesweep.grid import Job
from saesweep.jobs.work import Work


@dataclass(frozen=True)
class Slot:
    """Room for one job."""

    device: str
    """As this process calls it: ``cpu`` or ``cuda:N``."""
    environment: dict[str, str]
    """What a process of its own is told, so that it sees its device and no other."""


class Local:
    """The slots of this machine: `jobs.per_device` for each device."""

    def __init__(self, settings: JobsConfig) -> None:
        self.devices = _devices(settings.device)
        self.places = [
            slot for _ in range(settings.per_device) for slot in _slots(self.devices, settings)
        ]
        self.alone = settings.stack == 1
        self.slots = len(self.places)
        self.device = self.devices[0] if self.slots == 1 else self.devices[0].partition(":")[0]

    def describe(self) -> str:
        """In a line."""
        where = ", ".join(self.devices)
        if self.in_process:
            return f"on {where}, in this process"
        return f"on {where}, in {self.slots} process{'es' * (self.slots > 1)}"

    @property
    def in_process(self) -> bool:
        """Whether jobs run in this process: with one slot, unless each cell is to have its own."""
        return self.slots == 1 and not self.alone

    @property
    def threads(self) -> int:
        """Of a job on the CPU."""
        if self.in_process:
            return torch.get_num_threads()
        return int(self.places[0].environment["OMP_NUM_THREADS"])

    def processes(self, jobs: int) -> int:
        """How many processes are started for so many jobs."""
        return 0 if self.in_process else jobs if self.alone else min(jobs, self.slots)

    def run(self, work: Work, jobs: Sequence[Job]) -> bool:
        """Run ``jobs``, one after another or one in each slot."""
        if self.in_process:
            for job in jobs:
                if not work.over:
                    work.do(job.cells)
        elif jobs:
            from saesweep.jobs.pool import Pool

            Pool(work, self.places, keep=not self.alone).run(jobs)
        return True


def cores() -> int:
    """Those that this process may run on: SLURM, for one, gives it a part."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices(wanted: str) -> list[str]:
    """The torch devices for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``UsageError`` without."""
    if not re.fullmatch(DEVICE, wanted):
        raise UsageError(f"device {wanted}: should be {DEVICE_RULE}")
    count = 0 if wanted == "cpu" else torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not count):
        return ["cpu"]
    if int(wanted.partition(":")[2] or 0) >= count:
        raise UsageError(f"device {wanted}: this machine has {count} for CUDA")
    return [wanted] if ":" in wanted else [f"cuda:{i}" for i in range(count)]


def _slots(devices: Sequence[str], settings: JobsConfig) -> list[Slot]:
    if devices == ["cpu"]:
        threads = max(1, cores() // settings.per_device)
        return [Slot("cpu", {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)})]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else None
    slots = []
    for device in devices:
        index = int(device.partition(":")[2])
        slots.append(Slot(device, {"CUDA_VISIBLE_DEVICES": names[index] if names else str(index)}))
    return slots
