"""A real Slurm on this machine: munged, slurmctld and two slurmd with a GPU each, without cgroups or accounting.

Everything lies in one directory and ends with the `with` block. The placeholder of a GPU is /dev/null: Slurm books and
binds it like any other device file. There is no accounting daemon: of `sacctmgr` a script answers the one question that
Snakemake's plugin asks it, which accounts a user has.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from conftest import environment_with, free_port

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
INSTALL = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
NODES = ("node1", "node2")
ACCOUNT = "vision"

CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
StateSaveLocation={directory}/ctld
SlurmdSpoolDir={directory}/spool.%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=5,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=300
KillWait=10
InactiveLimit=0
SlurmdTimeout=15
SlurmctldTimeout=30
ReturnToService=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=node[1-2] PriorityTier=10 MaxTime=60 State=UP
PartitionName=gpu Nodes=node[1-2] PriorityTier=1 Default=YES DefaultTime=10 MaxTime=60 State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000 "
    "Gres=gpu:a100:1 Feature=fast"
)


@dataclass(frozen=True)
class Cluster:
    """A running cluster. `environment` is what its clients need."""

    directory: Path
    environment: dict[str, str]

    def run(self, *words: str, check: bool = True) -> str:
        """Standard output of one of Slurm's commands."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """{job id: state} of all that is not over."""
        return dict(line.split("|", 1) for line in self.run("squeue", "-h", "-o", "%i|%T").splitlines())

    def wait_for_idle(self, seconds: float = 240) -> None:
        """Until both nodes can take jobs, and none is left."""
        deadline = time.monotonic() + seconds
        while True:
            ready = self.run("sinfo", "-h", "-r", "-N", "-p", "gpu", "-t", "idle", "-o", "%N").split()
            if len(ready) == len(NODES) and not self.jobs():
                return
            assert time.monotonic() < deadline, self.run("sinfo", "-N", "-l") + self.run("squeue")
            time.sleep(0.2)

    @contextmanager
    def without_states(self) -> Iterator[None]:
        """`squeue` says UNKNOWN of each running job, as a cluster does whose accounting is away for a while."""
        squeue = self.directory / "bin" / "squeue"
        text = squeue.read_text()
        _, call = text.split("\n", 1)
        squeue.write_text(f"#!/bin/sh\n{call.replace(' exec', '').strip()} | sed 's/|RUNNING$/|UNKNOWN/'\n")
        try:
            yield
        finally:
            squeue.write_text(text)

    def start_node(self, name: str) -> None:
        """A slurmd (again)."""
        subprocess.run(
            ["slurmd", "-f", str(self.directory / "slurm.conf"), "-N", name],
            env=self.environment,
            check=True,
            timeout=30,
        )

    def kill_node(self, name: str) -> None:
        """Kill a node as if the machine had lost its power: the daemon and all that it started, at once."""
        pid = int((self.directory / f"slurmd.{name}.pid").read_text())
        jobs = self._processes_of_jobs(name)
        # The step daemons before what they watch: a dead machine tells the controller nothing.
        steps = {step for job in jobs for step in job.parents() if step.name().startswith("slurmstepd")}
        _kill(psutil.Process(pid), *steps, *jobs)

    def kill_what_is_left(self) -> None:
        """Processes that outlived their jobs: without cgroups Slurm loses sight of some."""
        for name in NODES:
            _kill(*self._processes_of_jobs(name))

    def _processes_of_jobs(self, node: str) -> list[psutil.Process]:
        """Processes of this cluster's jobs on that node, by the environment that they were given."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                own = str(self.directory) in environment.get("PATH", "")
                if own and environment.get("SLURMD_NODENAME") == node:
                    found.append(process)
        return found


def why_not() -> str | None:
    """Return the reason why there can be no cluster here; None where there can."""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} are missing; {INSTALL}"
    return None if os.geteuid() == 0 else "a Slurm of its own is started as root only"


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Start it, wait until both nodes are idle, and stop it by its processes' ids."""
    directory.chmod(0o755)
    for name in ("ctld", "bin", *(f"spool.{node}" for node in NODES)):
        (directory / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    nodes = "\n".join(NODE.format(name=name, host=host, port=free_port()) for name in NODES)
    conf = directory / "slurm.conf"
    conf.write_text(CONF.format(host=host, port=free_port(), directory=directory, nodes=nodes))
    (directory / "gres.conf").write_text("NodeName=node[1-2] Name=gpu Type=a100 Count=1 File=/dev/null\n")
    # Snakemake's executor inside a job drops SLURM_CONF, which on a real cluster need not be set: put it back.
    for name in ("srun", "scontrol", "squeue"):
        wrapper = directory / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which(name, path=_path())} "$@"\n')
        wrapper.chmod(0o755)
    (directory / "bin" / "sacctmgr").write_text(f"#!/bin/sh\necho {ACCOUNT}\n")
    (directory / "bin" / "sacctmgr").chmod(0o755)
    environment = environment_with(SLURM_CONF=str(conf), PATH=f"{directory / 'bin'}:{_path()}")
    made = Cluster(directory, environment)
    try:
        _start(made)
        made.wait_for_idle()
        yield made
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True, timeout=30)
        for name in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            pid = directory / f"{name}.pid"
            if pid.exists() and pid.read_text().strip():
                _end(int(pid.read_text()), signal.SIGTERM)
        made.kill_what_is_left()


def _start(made: Cluster) -> None:
    directory, key = made.directory, made.directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    places = [f"--{name}={directory}/munged.{end}" for name, end in (("pid-file", "pid"), ("log-file", "log"))]
    words = ["munged", "--force", f"--key-file={key}", f"--socket={directory}/munge.socket", *places]
    subprocess.run([*words, f"--seed-file={directory}/munged.seed"], env=made.environment, check=True, timeout=30)
    subprocess.run(["slurmctld", "-f", f"{directory}/slurm.conf"], env=made.environment, check=True, timeout=30)
    for node in NODES:
        made.start_node(node)


def _path() -> str:
    """Daemons lie in sbin, which a user's PATH may lack."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _kill(*processes: psutil.Process) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _end(pid: int, number: signal.Signals) -> None:
    """Signal a process, and wait a while for its end."""
    try:
        os.kill(pid, number)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
