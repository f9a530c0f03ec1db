"""One sender process for all trainings of a run: started once, replaced where it was killed, gone with its run."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import wait_for

from resomap.cells.presence import RUN_VARIABLE, announce_run
from resomap.tracking.journal import Journal, read_events
from resomap.tracking.local_database import connect_local
from resomap.tracking.send_request import PLACES, Sending, SendRequest, served_path
from resomap.tracking.sender import URI_VARIABLE, is_sent


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow, which takes seconds to make."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    connect_local(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def _in_study(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fresh working directory, in which no sender process is left."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    shutil.copy(database, "results")
    monkeypatch.setenv(RUN_VARIABLE, "")
    before = senders()
    yield
    for process in senders():
        if process not in before:
            process.kill()
            process.wait()


def senders() -> list[psutil.Process]:
    """Sender processes that this process started and that live."""
    found = []
    for process in psutil.Process().children():
        if process.status() != psutil.STATUS_ZOMBIE and "resomap.tracking.sender_process" in process.cmdline():
            found.append(process)
    return found


def begin(name: str, uri: str = "") -> tuple[Journal, Sending]:
    """An attempt whose journal is being sent, to the study's own database where no address is given."""
    journal = Journal(Path("results", "net", f"{name}.journal.jsonl"))
    journal.start(name * 32, f"net@{name}", {"model": "net"}, {"resomap.base": "b", "resomap.fingerprint": name})
    request = SendRequest(
        journal=str(journal.path),
        experiment="one",
        log=f"results/net/{name}.log",
        trainer=os.getpid(),
        heartbeat_seconds=0.2,
        finds_competing_run=False,
    )
    uri = uri or f"sqlite:///{Path('results/mlflow.db').absolute()}"
    return journal, Sending(request, {**os.environ, URI_VARIABLE: uri})


def finish(journal: Journal, sending: Sending) -> None:
    journal.end("FINISHED", {})
    journal.close()
    sending.wait(120)
    assert is_sent(journal.path)


@pytest.mark.slow
def test_trainings_of_a_run_share_a_sender_process_which_is_replaced_when_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announce_run()  # as the main Snakemake process does
    first, second = begin("1"), begin("2")
    finish(*first)
    finish(*second)
    (process,) = senders()

    third = begin("3")
    assert senders() == [process]
    beats = [event for event in read_events(second[0].path)[0] if event["kind"] == "beat"]
    assert [event["step"] for event in beats] == list(range(1, len(beats) + 1))
    wait_for(lambda: any(event["kind"] == "beat" for event in read_events(third[0].path)[0]))
    process.kill()
    process.wait()
    finish(*third)  # whom a process of its own was sending for
    fourth = begin("4")
    (other,) = senders()
    assert other != process
    request = fourth[1]._path
    assert request is not None
    wait_for(served_path(request).exists)
    for serving in wait_for(other.children):
        serving.kill()
    fourth[1]._next_look = 0.0  # seconds later
    wait_for(lambda: fourth[1]._path is None or not fourth[1]._path.exists())
    fourth[1].look_after()
    finish(*fourth)


def test_a_trainer_that_was_killed_is_told_of_and_its_sender_process_ends() -> None:
    pid = os.fork()
    if pid == 0:
        begin("1")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_for(lambda: is_sent(Path("results", "net", "1.journal.jsonl")))
    wait_for(lambda: [path.name for path in PLACES.iterdir()] == ["gate.lock"])


def test_who_serves_a_request_that_is_withdrawn_has_stopped_when_its_trainer_ends() -> None:
    with socket.socket() as silent:  # accepts and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        journal, sending = begin("a", f"http://127.0.0.1:{silent.getsockname()[1]}")
        wait_for(lambda: list(PLACES.glob("*/*.served")))
        (server,) = senders()
        (serving,) = wait_for(server.children)
        journal.end("FINISHED", {})
        journal.close()
        sending.wait(0.1)
        assert not list(PLACES.glob("*/*.served"))
        assert not serving.is_running()
    assert not is_sent(journal.path)
