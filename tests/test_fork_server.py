"""Trainings forked from one process that has imported torch: the bits, ends and signals of a process of their own."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import MODEL, RESOLUTION, command, trainer
from endings import End, assert_same_bits
from waiting import wait_for

from resomap.cells.presence import RUN_VARIABLE, announce_run, run_name
from resomap.cells.progress import Progress
from resomap.cells.study import Study
from resomap.core.fork_client import SOCKET_VARIABLE, SWITCH, offer_fork_server, run_forked

CELL = f"{MODEL}@{RESOLUTION}"
TRAINING = {"epochs": 3, "batch_size": 8, "dropout": 0.2, "augment": {"scale": 0.6}, "ema_decay": 0.9}
LONG = {**TRAINING, "epochs": 5000, "early_stopping": {"enabled": False}}


@pytest.fixture
def _of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the main one of a run whose trainings may share a fork server."""
    for name in (RUN_VARIABLE, SOCKET_VARIABLE):
        monkeypatch.setenv(name, "")
    announce_run()
    offer_fork_server(run_name())


def servers(directory: Path) -> list[psutil.Process]:
    """Fork servers of a study, without the processes that they forked."""
    found = []
    for process in psutil.process_iter():
        try:
            if "resomap.fork_server" in process.cmdline() and Path(process.cwd()) == directory.resolve():
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.ppid() not in {other.pid for other in found}]


def end_servers(directory: Path) -> None:
    for process in servers(directory):
        process.kill()
        process.wait(10)


def training_in(directory: Path) -> "tuple[subprocess.Popen[str], psutil.Process]":
    """A stand-in and the process that trains for it, once that has made steps."""
    path = directory / "results" / MODEL / f"{RESOLUTION}.progress.json"
    path.unlink(missing_ok=True)
    process = trainer(CELL, directory)

    def found() -> bool:
        assert process.poll() is None, process.communicate()[1]
        progress = Progress.read(path)
        return progress is not None and progress.epoch > 0

    wait_for(found)
    progress = Progress.read(path)
    assert progress is not None
    assert progress.pid != process.pid
    return process, psutil.Process(progress.pid)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.usefixtures("_of_a_run")
def test_forked_trainings_have_the_bits_of_processes_of_their_own(
    study_in: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for name, switch in (("own", "0"), ("forked", ""), ("forked again", "")):
        monkeypatch.setenv(SWITCH, switch)
        directory = tmp_path / name.split()[0]
        if name == "forked again":  # by a server that has forked before
            forget = command("resomap", "forget", CELL, cwd=directory)
            assert forget.returncode == 0, forget.stderr
        else:
            study_in(directory, training=TRAINING)
        process = trainer(CELL, directory)
        assert process.wait(timeout=120) == 0, process.communicate()[1]
        ends.append(End.of(directory))
        log = (directory / "results" / MODEL / f"{RESOLUTION}.log").read_text()
        trained_by = {int(number) for number in re.findall(r"attempt 1, process (\d+)", log)}
        assert (process.pid in trained_by) == (switch == "0")
        assert ends[-1].marker["exact"] is True
    assert len(servers(tmp_path / "forked")) == 1
    assert servers(tmp_path / "own") == []
    end_servers(tmp_path / "forked")
    for end in ends[1:]:
        assert_same_bits(ends[0], end)


@pytest.mark.slow
@pytest.mark.usefixtures("_of_a_run")
def test_a_forked_training_ends_as_its_own_process_would(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "study"
    study_in(directory, training=LONG)
    try:
        words = ("python", "-m", "resomap", "train")
        wrong = command(*words, CELL, "--fingerprint", "0" * 12, cwd=directory)
        alone = command(*words, CELL, "--fingerprint", "0" * 12, cwd=directory, **{SWITCH: "0"})
        assert (wrong.returncode, wrong.stderr) == (alone.returncode, alone.stderr)
        assert wrong.returncode != 0

        process, training = training_in(directory)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 75
        assert "saved; the same command goes on from there" in said
        assert is_gone(training)

        process, training = training_in(directory)
        process.kill()  # the stand-in takes it along
        process.wait()
        wait_for(lambda: is_gone(training))

        process, training = training_in(directory)
        training.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL

        process, training = training_in(directory)
        (server,) = servers(directory)
        server.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
        wait_for(lambda: is_gone(training))

        # Another one takes its place; a job with other threads does without.
        os.environ["MKL_NUM_THREADS"] = "1"
        process, training = training_in(directory)
        (other,) = servers(directory)
        assert other.pid != server.pid
        process.kill()
        process.wait()
        wait_for(lambda: is_gone(training))
        os.environ["MKL_NUM_THREADS"] = "2"
        process = trainer(CELL, directory)
        log = directory / "results" / MODEL / f"{RESOLUTION}.log"
        wait_for(lambda: f"attempt 1, process {process.pid}\n" in log.read_text())
        process.kill()
        process.wait()
    finally:
        os.environ.pop("MKL_NUM_THREADS", None)
        end_servers(directory)


def test_a_fork_server_ends_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = tmp_path / "own" / "socket"
    address.parent.mkdir()
    with subprocess.Popen(["sleep", "60"]) as main:
        run = announced_by(main.pid)
        environment = {**os.environ, RUN_VARIABLE: run, "PYTHONPATH": str(Path(__file__).parents[1])}
        server = subprocess.Popen(["python", "-m", "resomap.fork_server", str(address)], env=environment)
        try:
            wait_for(address.exists)
            main.kill()
            main.wait()
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.wait()
    assert not address.parent.exists()


def test_the_folder_of_a_killed_server_goes_and_a_strangers_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(SOCKET_VARIABLE, "")
    prefix = f"resomap-fork-{os.getuid()}-"
    dead, living, starting, open_to_others = (tmp_path / f"{prefix}{name}" for name in "abcd")
    for folder in (dead, living, starting, open_to_others):
        folder.mkdir(mode=0o700)
        (folder / "lock").touch()
    open_to_others.chmod(0o755)
    with (starting / "lock").open() as held, socket.socket(socket.AF_UNIX) as listener:
        fcntl.flock(held, fcntl.LOCK_EX)
        listener.bind(str(living / "socket"))
        listener.listen()
        offer_fork_server("run")
    assert [folder.exists() for folder in (dead, living, starting, open_to_others)] == [False, True, True, True]
    assert os.environ[SOCKET_VARIABLE] == f"{tmp_path / prefix}run/socket"
    monkeypatch.setenv(SOCKET_VARIABLE, str(open_to_others / "socket"))
    assert run_forked(["train"]) is None


@pytest.mark.timeout(60)
def test_a_stopped_server_that_takes_no_more_connections_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after Ctrl-Z of a run: each other run of this user looks whether its server is there.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(SOCKET_VARIABLE, "")
    folder = tmp_path / f"resomap-fork-{os.getuid()}-stopped"
    folder.mkdir(mode=0o700)
    (folder / "lock").touch()
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "socket"))
        listener.listen(0)
        while True:
            connection = held.enter_context(socket.socket(socket.AF_UNIX))
            connection.setblocking(False)
            if connection.connect_ex(str(folder / "socket")):
                break
        offer_fork_server("run")
    assert (folder / "socket").exists()


def announced_by(pid: int) -> str:
    """The name of a run whose main process this is."""
    from resomap.core.temporary import machine
    from resomap.machine.processes import process_start

    return f"{machine()}-{pid}-{process_start(pid)}"
