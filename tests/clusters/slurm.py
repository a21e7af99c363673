"""A SLURM of one node with two pretended GPUs, private to a test.

It has its own munged, ports, spool and log files, so it neither needs nor disturbs a SLURM of the
machine. On Debian and Ubuntu the programs come with

    apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
GPUS = 2
START_DEADLINE = 30.0
STOP_DEADLINE = 10.0

SLURM_CONF = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={short}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={short}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
InactiveLimit=0
KillWait={kill_wait}
MinJobAge={min_job_age}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Gres=gpu:{gpus}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

GRES_CONF = "NodeName={host} Name=gpu File={folder}/gpu[0-{last}] Flags=nvidia_gpu_env\n"


def missing() -> str | None:
    """Why `slurm_cluster` cannot run here, or None if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)} on this machine"
    if os.geteuid() != 0:
        return "SLURM's daemons and mknod need root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(Path(folder) / "gpu", 0o600 | stat.S_IFCHR, os.makedev(195, 0))
        except OSError as error:
            return f"character devices cannot be made here: {error}"
    return None


@contextmanager
def slurm_cluster(
    folder: Path, *, kill_wait: int = 10, min_job_age: int = 300
) -> Iterator[dict[str, str]]:
    """A running cluster; its files are in `folder`.

    Yields what to add to the environment of sbatch, squeue, scancel, scontrol, sinfo and srun.
    Cancels the jobs that are left and stops the daemons at the end.
    """
    folder = folder.resolve()
    (folder / "state").mkdir(parents=True)
    # Sockets are made here: their paths may have about 100 characters, a test's folder has more.
    short = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    short.chmod(0o755)  # munged's socket must be reachable for all users
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        host = socket.gethostname().partition(".")[0]
        _write_config(folder, short, host, kill_wait, min_job_age)
        added = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
        daemons.append(_start_munged(folder, short))
        daemons.append(_start(["slurmctld", "-D", "-i"], folder, added))
        daemons.append(_start(["slurmd", "-D", "-N", host], folder, added))
        _wait_until_idle(folder, daemons, added)
        try:
            yield added
        finally:
            _cancel_everything(added, kill_wait)
    finally:
        _stop(daemons)
        shutil.rmtree(short, ignore_errors=True)


def _path() -> str:
    """PATH with the folders of system daemons, which a user's often lacks."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _write_config(folder: Path, short: Path, host: str, kill_wait: int, min_job_age: int) -> None:
    controller_port, node_port = _free_ports(2)
    for index in range(GPUS):
        os.mknod(folder / f"gpu{index}", 0o666 | stat.S_IFCHR, os.makedev(195, index))
    (short / "spool").mkdir()
    (folder / "slurm.conf").write_text(
        SLURM_CONF.format(
            folder=folder,
            short=short,
            host=host,
            controller_port=controller_port,
            node_port=node_port,
            gpus=GPUS,
            kill_wait=kill_wait,
            min_job_age=min_job_age,
        )
    )
    (folder / "gres.conf").write_text(GRES_CONF.format(folder=folder, host=host, last=GPUS - 1))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _start_munged(folder: Path, short: Path) -> subprocess.Popen[bytes]:
    """The service that signs SLURM's messages, with a key of its own."""
    key = short / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    # The warning that --force lets pass is about the folder /tmp, in which anyone may write.
    words = ["munged", "--foreground", "--force", "--num-threads=1", f"--key-file={key}"]
    for option, name in (("socket", "socket"), ("pid-file", "pid"), ("seed-file", "seed")):
        words.append(f"--{option}={short}/munge.{name}")
    daemon = _start(words, folder, {"PATH": _path()})
    deadline = time.monotonic() + START_DEADLINE
    while not (short / "munge.socket").exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            _stop([daemon])
            raise RuntimeError(f"munged did not start:\n{_logs(folder)}")
        time.sleep(0.02)
    return daemon


def _start(words: Sequence[str], folder: Path, added: dict[str, str]) -> subprocess.Popen[bytes]:
    """A daemon in the foreground, in a process group of its own: Ctrl+C does not reach it."""
    with (folder / f"{words[0]}.out").open("wb") as out:
        return subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, **added},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def _call(
    words: Sequence[str], added: dict[str, str], timeout: float = START_DEADLINE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**os.environ, **added},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _wait_until_idle(
    folder: Path, daemons: Sequence[subprocess.Popen[bytes]], added: dict[str, str]
) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            seen = _call(["sinfo", "-h", "-o", "%T"], added, timeout=2)
            state = f"{seen.stdout.strip()} {seen.stderr.strip()}".strip()
        except subprocess.TimeoutExpired:
            state = "no answer"
        if state == "idle":
            return
        ended = any(each.poll() is not None for each in daemons)
        if ended or time.monotonic() > deadline:
            why = "a daemon ended" if ended else f"not idle in {START_DEADLINE:.0f} s"
            raise RuntimeError(
                f"The SLURM cluster did not start: {why}; sinfo: {state}\n{_logs(folder)}"
            )
        time.sleep(0.1)


def _logs(folder: Path) -> str:
    """The end of what every daemon printed, which is also what is in its log."""
    parts = []
    for path in sorted(folder.glob("*.out")):
        lines = path.read_text(errors="replace").splitlines()
        parts.append("\n".join([f"--- {path.name}", *lines[-15:]]))
    return "\n".join(parts)


def _cancel_everything(added: dict[str, str], kill_wait: int) -> None:
    """Cancel all jobs and wait until their processes are gone."""
    deadline = time.monotonic() + kill_wait + STOP_DEADLINE
    with suppress(subprocess.TimeoutExpired):  # no answer: a test stopped the controller
        _call(["scancel", "--quiet", "--user=root"], added, timeout=STOP_DEADLINE)
        while time.monotonic() < deadline:
            if not _call(["squeue", "-h"], added, timeout=STOP_DEADLINE).stdout.strip():
                break
            time.sleep(0.1)


def _stop(daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to the last started first, SIGKILL to those that stay."""
    for daemon in reversed(daemons):
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
