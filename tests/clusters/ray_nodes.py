"""A Ray cluster of several nodes on one machine, for a test.

Each node has its own raylet and workers; a node can be lost with
`cluster.remove_node(node, allow_graceful=False)`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

OBJECT_STORE = 80 * 1024 * 1024

# Read by Ray's processes when they start.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # No tasks are killed when other programs fill the machine's memory.
    "RAY_memory_monitor_refresh_ms": "0",
    # A lost node is noticed after 3 seconds and not after 15. Only refused connections count so
    # fast; a node that is merely slow to answer has longer.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "6",
}


def missing() -> str | None:
    """Why `ray_cluster` cannot run here, or None if it can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed"
    if os.name != "posix":
        return "Ray's clusters of several nodes need Linux or macOS"
    return None


@contextmanager
def ray_cluster(
    nodes: int, *, gpus: int = 0, object_store_memory: int = OBJECT_STORE
) -> Iterator[Cluster]:
    """A cluster of `nodes` nodes with one CPU and `gpus` pretended GPUs each.

    The first is `cluster.head_node`, to which a driver connects with
    `ray.init(address=cluster.address)`; the others are `cluster.worker_nodes`. A driver that is
    still connected at the end is disconnected.
    """
    # It holds sockets, so its path must be short. Ray also notes there which cluster is the
    # current one, so that this one is not offered to other programs of the machine.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with _environment({**SETTINGS, "RAY_TMPDIR": folder}), _quiet_logging(), _same_handler():
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        try:
            for index in range(nodes):
                head = {"include_dashboard": False} if index == 0 else {}
                cluster.add_node(
                    num_cpus=1,
                    num_gpus=gpus,
                    object_store_memory=object_store_memory,
                    **head,
                )
            cluster.wait_for_nodes()
            yield cluster
        finally:
            ray.shutdown()
            for node in (*cluster.worker_nodes, cluster.head_node):
                if node is not None:
                    cluster.remove_node(node)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet_logging() -> Iterator[None]:
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _same_handler() -> Iterator[None]:
    """Undo at the end that `ray.init` takes SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
