"""The token appears nowhere: in no file of the study, none of the server, no process list, no output, come what may."""

import base64
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagshub_stand_in as troubles
import pytest
from conftest import MODEL, ROOT, command, environment_with, mlflow_server, small_config, snakemake, tool
from dagshub_stand_in import stand_in

TOKEN = "f00dfacef00dfacef00dfacef00dfacef00dface"
FORMS = [TOKEN.encode(), base64.b64encode(f"{TOKEN}:{TOKEN}".encode())]
REPOSITORY = "owner/repo"


def leaks(*places: Path) -> list[str]:
    """Files below these places that hold the token, as it is or as it travels."""
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(form in path.read_bytes() for form in FORMS)]


def assert_silent(done: "subprocess.CompletedProcess[str]") -> None:
    assert not any(form.decode() in done.stdout + done.stderr for form in FORMS)


@contextmanager
def watched_processes() -> Iterator[list[str]]:
    """All command lines of this machine, looked at all the time; those that hold the token."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            shown = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True).stdout
            looks.append(len(shown))
            seen.extend(line.decode() for line in shown.splitlines() if any(form in line for form in FORMS))

    looks: list[int] = []
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        assert looks


def echo(visit: troubles.Visit) -> bool:
    """The worst of servers: it fails, and repeats what it was sent."""
    header = visit.headers.get("Authorization", "")
    said = f"cannot take {header} of {TOKEN}"
    visit.answer(500, {"error_code": "INTERNAL_ERROR", "message": said})
    return True


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Environment of a person: the token, and nothing of the person who runs the tests."""

    def make(host: str) -> dict[str, str]:
        return {"DAGSHUB_CLIENT_HOST": host, "DAGSHUB_USER_TOKEN": TOKEN, "NETRC": str(tmp_path / "none")}

    return make


@pytest.mark.slow
def test_the_token_is_found_nowhere_after_a_success(
    images: Path, tmp_path: Path, environment: Callable[[str], dict[str, str]]
) -> None:
    work, behind = tmp_path / "work", tmp_path / "server"
    work.mkdir()
    behind.mkdir()
    config = small_config(images, training={"epochs": 1})
    config["tracking"] = {"dagshub": REPOSITORY, "drain_seconds": 120}
    with mlflow_server(behind) as server, stand_in(server, TOKEN, REPOSITORY) as dagshub, watched_processes() as seen:
        variables = environment(dagshub.uri)
        trained = snakemake("--verbose", directory=work, config=config, **variables)
        assert trained.returncode == 0, trained.stderr
        assert_silent(trained)
        assert dagshub.asked("runs/create") >= 1
        for words in (["status", "--json"], ["sync"], ["doctor"], ["adopt"], ["forget", f"{MODEL}@32", "--tracker"]):
            asked = command("resomap", *words, cwd=work, **variables)
            assert asked.returncode == 0, asked.stdout + asked.stderr
            assert_silent(asked)
    assert seen == []
    assert leaks(work, behind) == []


@pytest.mark.slow
def test_the_token_is_found_nowhere_after_failures(
    images: Path, tmp_path: Path, environment: Callable[[str], dict[str, str]]
) -> None:
    """A server that echoes the credentials, in everything that talks to one: planning, sender, sync, doctor, adopt."""
    config = small_config(images, training={"epochs": 1}, tracking={"dagshub": REPOSITORY, "drain_seconds": 5})
    with stand_in("http://127.0.0.1:9", TOKEN, REPOSITORY) as dagshub, watched_processes() as seen:
        dagshub.trouble = echo
        variables = environment(dagshub.uri)
        trained = snakemake("--verbose", directory=tmp_path, config=config, **variables)
        assert trained.returncode == 0, trained.stderr
        assert "cannot take Basic *** of ***" in trained.stderr  # it did echo, and that was shown
        assert_silent(trained)
        for words in (["sync"], ["doctor"], ["adopt"], ["forget", f"{MODEL}@32", "--tracker"]):
            asked = command("resomap", *words, cwd=tmp_path, **variables)
            assert asked.returncode != 0, words
            assert "Traceback" not in asked.stderr
            assert_silent(asked)
    assert seen == []
    assert leaks(tmp_path) == []


def test_a_killed_training_leaves_no_token(
    images: Path, tmp_path: Path, environment: Callable[[str], dict[str, str]]
) -> None:
    config = small_config(images, training={"epochs": 200}, tracking={"dagshub": REPOSITORY})
    with stand_in("http://127.0.0.1:9", TOKEN, REPOSITORY) as dagshub:
        variables = environment(dagshub.uri)
        snakemake("--until", "images", directory=tmp_path, config=config, **variables)
        words = [tool("resomap"), "train", f"{MODEL}@32", "--threads", "1"]
        with subprocess.Popen(words, cwd=tmp_path, env=environment_with(**variables), stderr=subprocess.PIPE) as child:
            log, deadline = tmp_path / "results" / MODEL / "32.log", time.monotonic() + 120
            while not (log.exists() and "epoch 1/200" in log.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            # Nor does the sender show the address of the tracker to everybody who may list processes.
            shown = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True).stdout
            (place,) = (tmp_path / ".resomap" / "senders").glob("*-*")
            senders = [line for line in shown.splitlines() if "sender_process" in line and place.name in line]
            assert senders
            assert not any(dagshub.uri in line for line in senders)
            child.terminate()
            _, said = child.communicate(timeout=120)
    assert child.returncode == 75
    assert not any(form in said for form in FORMS)
    assert leaks(tmp_path) == []


def test_the_checkout_holds_no_token(tmp_path: Path) -> None:
    """The tests' own tokens stand in the tests alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git's")
    pattern = tmp_path / "pattern"  # not on the command line: another test looks at those
    pattern.write_text(TOKEN)
    words = ["git", "grep", "-l", "-F", "-f", str(pattern)]
    tracked = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert tracked == ["tests/test_secrets.py"]
