"""MPS, NVIDIA's Multi-Process Service: kernels of several trainings run on one GPU at the same time, not in turns.

Its control daemon does that for the processes that know the folder of its pipes. A run that wants it starts the daemon,
with pipes and logs in this user's folder of locks; runs of the same user that come meanwhile use the same one, and the
last of them to end stops it. A daemon whose pipes `CUDA_MPS_PIPE_DIRECTORY` names, which somebody else started, is used
and left alone.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resomap.core.errors import ResomapError
from resomap.core.files import open_own
from resomap.machine.lock_folder import own_lock_directory

PROGRAM = "nvidia-cuda-mps-control"
# Read by the daemon and by CUDA in each process.
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
OFFERED = "RESOMAP_MPS"  # folder of the pipes, for those jobs of a run that share a GPU
SECONDS = 30.0  # for an answer of the daemon
BY_MPS = "it shared a GPU with other trainings by MPS (gpu.mps), which promises no bits"
WAY_OUT = "or set gpu.mps to false: then trainings share a GPU in turns"


def offer_mps() -> Callable[[], None]:
    """Have the jobs of this run that share a GPU do so by MPS; return what is to be called when the run ends.

    Starts the daemon where none answers. Raises ResomapError where its program is missing or does not start it.
    """
    if shutil.which(PROGRAM) is None:
        raise ResomapError(
            f"gpu.mps is true, and the program {PROGRAM} is not on PATH; it comes with NVIDIA's driver (on Debian and "
            f"Ubuntu in a package nvidia-compute-utils): install it, {WAY_OUT}"
        )
    given = os.environ.get(PIPES)
    if given and _answers(Path(given)):
        os.environ[OFFERED] = given
        return withdraw_mps
    folder = own_lock_directory() / "mps"
    folder.mkdir(mode=0o700, exist_ok=True)
    users = open_own(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_SH)  # the kernel drops it with this process, however that ends
    with _turn(folder):
        if not _answers(folder / "pipe"):
            _start(folder)
    os.environ[OFFERED] = str(folder / "pipe")

    def end() -> None:
        withdraw_mps()
        with _turn(folder):
            with contextlib.suppress(BlockingIOError):  # raised where another run uses it
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _tell(folder / "pipe", "quit")
            os.close(users)

    return end


def withdraw_mps() -> None:
    """Have the jobs that this process starts from now on share GPUs in turns."""
    os.environ.pop(OFFERED, None)


def join_mps() -> None:
    """Have CUDA of this process, before it is initialised, compute by its run's daemon, if there is one."""
    if folder := os.environ.get(OFFERED):
        os.environ[PIPES] = folder


def computes_by_mps() -> bool:
    """Return True if this process has joined its run's daemon."""
    return OFFERED in os.environ and os.environ.get(PIPES) == os.environ[OFFERED]


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one process at a time look for, start or stop the daemon."""
    with os.fdopen(open_own(folder / "turn", os.O_WRONLY | os.O_CREAT, 0o600), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _answers(pipes: Path) -> bool:
    """Return True if a daemon with these pipes answers."""
    done = _tell(pipes, "get_server_list")
    return done is not None and done.returncode == 0 and "Cannot find MPS" not in done.stdout + done.stderr


def _tell(pipes: Path, words: str) -> "subprocess.CompletedProcess[str] | None":
    """Give the daemon a command, as its program reads it from its input; None where nothing comes back in time."""
    environment = {**os.environ, PIPES: str(pipes)}
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            [PROGRAM], input=f"{words}\n", env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    return None


def _start(folder: Path) -> None:
    """Start the daemon for all GPUs of this machine: each of its clients names its own by CUDA_VISIBLE_DEVICES."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    for variable, name in ((PIPES, "pipe"), (LOGS, "log")):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        environment[variable] = str(folder / name)
    said = folder / "start.log"
    # To a file: a daemon keeps a pipe open for as long as it lives.
    with (
        os.fdopen(open_own(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        subprocess.run(
            [PROGRAM, "-d"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            timeout=SECONDS,
            start_new_session=True,  # Ctrl-C of the run is not for it
        )
    if not _answers(folder / "pipe"):
        words = (said.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise ResomapError(
            f"gpu.mps is true, and `{PROGRAM} -d` started no daemon that answers ({words}); its log is in "
            f"{folder / 'log'}: mend what it says, {WAY_OUT}"
        )
