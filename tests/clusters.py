"""Clusters for the tests, on this machine's loopback: real ones, of several nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SECONDS = 240.0
"""How long a cluster may take to start."""


@dataclass
class RayCluster:
    """A Ray cluster whose nodes can be added and killed.

    Attributes:
        address: what `--address` takes.
    """

    address: str
    _folder: Path
    _nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def add(self, ip: str, cpus: int = 1, gpus: int = 0) -> None:
        """Start a node; GPUs are only declared."""
        head = not self._nodes
        place = ["--head", f"--port={self.address.rpartition(':')[2]}"]
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(place if head else [f"--address={self.address}"]),
            *(f"--node-ip-address={ip}", f"--num-cpus={cpus}", "--object-store-memory=80000000"),
            f"--num-gpus={gpus}",
            *(["--include-dashboard=false", f"--temp-dir={self._folder}"] if head else []),
            "--disable-usage-stats",
        ]
        log = (self._folder / f"{ip}.log").open("wb")
        with log:
            self._nodes[ip] = subprocess.Popen(
                command, stdout=log, stderr=log, env={**_plain(), "TMPDIR": str(self._folder)}
            )
        until(lambda: ip in self._alive(), f"node {ip}", log.name)

    def kill(self, ip: str) -> None:
        """Take a node away, without a chance to say anything: all that is Ray's on it."""
        node = self._nodes.pop(ip)
        for process in [
            psutil.Process(node.pid),
            *psutil.Process(node.pid).children(recursive=True),
        ]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if "echobench.worker" not in process.cmdline():
                    process.kill()
        node.wait()

    def workers(self) -> list[psutil.Process]:
        """Return the workers of trials that run on any node, and their guards."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = str(self._folder) in process.environ().get("TMPDIR", "")
                if ours and "echobench.worker" in process.cmdline():
                    found.append(process)
        return found

    def _alive(self) -> list[str]:
        script = (
            "import logging, ray, sys\n"
            "ray.init(sys.argv[1], logging_level=logging.ERROR, log_to_driver=False)\n"
            "print(*(n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))"
        )
        command = [sys.executable, "-c", script, self.address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_plain())
        return done.stdout.split()

    def close(self) -> None:
        """Stop all nodes."""
        for ip in list(self._nodes):
            self.kill(ip)


@contextlib.contextmanager
def ray_cluster(*cpus: int, gpus: int = 0) -> Iterator[RayCluster]:
    """Give a cluster with a node for each of these numbers of CPUs, from 127.0.0.2 on."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # its sockets' paths must be short
    cluster = RayCluster(f"127.0.0.2:{free_port()}", folder)
    try:
        for place, count in enumerate(cpus):
            cluster.add(f"127.0.0.{place + 2}", count, gpus)
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Give a Slurm of one node with this machine's cores; what a command needs to reach it."""
    host = socket.gethostname().partition(".")[0]
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        SLURM_CONF.format(
            host=host,
            folder=folder,
            cores=len(os.sched_getaffinity(0)),
            controller=free_port(),
            node=free_port(),
        )
    )
    environment = {"SLURM_CONF": str(configuration)}
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (
            ["munged", "--foreground", "--force", *_munge(folder)],
            ["slurmctld", "-D", "-f", str(configuration)],
            ["slurmd", "-D", "-f", str(configuration)],
        ):
            with (folder / f"{command[0]}.log").open("wb") as log:
                daemons.append(
                    subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
                )
            if command[0] == "munged":
                until(lambda: (folder / "munge.socket").exists(), "munged", str(folder))
        until(lambda: "idle" in _said(["sinfo", "-h"], environment), "Slurm", str(folder))
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(SECONDS)
            except subprocess.TimeoutExpired:  # slurmd waits for its jobs to end
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    """Return a port of the loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _munge(folder: Path) -> list[str]:
    names = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    return [f"--{name}={folder}/munge.{name.removesuffix('-file')}" for name in names]


def _said(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    return done.stdout


def _plain() -> dict[str, str]:
    """Return an environment in which Ray keeps to itself."""
    return os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}


def until(there: Callable[[], bool], what: str = "what was waited for", log: str = "") -> None:
    """Wait until something is there.

    Raises:
        TimeoutError: it took longer than `SECONDS`.
    """
    end = time.monotonic() + SECONDS
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not there within {SECONDS:g} s {log}")
        time.sleep(0.1)
