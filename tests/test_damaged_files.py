"""Own small files of another shape: each is recovered from or told in one sentence, by status, plan, map and resume."""

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import MODEL, done_marker, make_study, small_config, snakemake

from resomap.cells.study import Study
from resomap.cli import main
from resomap.core.files import write_json
from resomap.tracking.journal import Journal

CELL = f"{MODEL}@32"
RESULTS, CHECKPOINTS = Path("results", MODEL), Path("checkpoints", "resnet", MODEL, "32")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "folder": as_folder,
    "empty": written(b""),
    "another object": written(b'{"kind": "start", "cost": null, "run_id": [], "settings": 3, "schema": 1}\n'),
    "numbers": written(b'{"pid": ' + b"9" * 4000 + b', "offset": -5, "heartbeat": 1e999, "uri": "x", "host": "h"}\n'),
    "brackets": written(b"[" * 100_000),
    "binary": written(bytes(range(256))),
    "pipe": as_pipe,
}
FILES = [
    RESULTS / "32.done",
    RESULTS / "32.progress.json",
    RESULTS / "32.failed.json",
    RESULTS / "32.elsewhere.json",
    RESULTS / "32.journal.jsonl",
    RESULTS / "32.journal.sent.json",
    RESULTS / "32.evaluation.json",
    RESULTS / "32.fetched.json",
    CHECKPOINTS / "cell.json",
    CHECKPOINTS / "done.json",
    CHECKPOINTS / "decision.json",
    Path(".resomap/study.json"),
    Path(".resomap/place"),
    Path(".resomap/locks") / f"{CELL}.lock",
    Path("results/data/manifest.json"),
    Path("results/data/check.json"),
    Path("results/data/files.jsonl"),
    Path("results/data/32/store.json"),
    Path("results/summary.json"),
    Path("results/cost/cpu") / MODEL / "32.json",
]
COMMANDS = (["status"], ["status", "--json"], ["map"], ["train", CELL])


@pytest.fixture(scope="module")
def done(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A study whose cell is done by its marker, with a file of each kind beside it."""
    place = tmp_path_factory.mktemp("done")
    study = make_study(place, small_config(images, tracking={"uri": "http://127.0.0.1:9", "timeout_seconds": 1}))
    with contextlib.chdir(place):
        cell = study.find(CELL)
        for path in FILES:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_json(path, {"schema": 1, "fingerprint": "a", "uid": "u"})
        for path in (cell.marker, CHECKPOINTS / "done.json"):
            done_marker(cell, study.fingerprint(cell)).write(path)
        (RESULTS / "32.journal.jsonl").unlink()
        book = Journal(RESULTS / "32.journal.jsonl")
        book.start("u", CELL, {}, {})
        book.end("FINISHED", {})
        book.close()
    return place, study


def codes_of(commands: Sequence[list[str]], place: Path, output: Path) -> list[int]:
    """Run `resomap` commands in a child of this process, where modules are loaded already; return their exit codes."""
    import resomap.summary.summary_writer
    import resomap.tracking.sync  # noqa: F401

    if (pid := os.fork()) == 0:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1, closefd=False), os.fdopen(2, "w", 1, closefd=False)
        os.chdir(place)
        for words in commands:
            try:
                code = main(words)
            except BaseException:
                traceback.print_exc()
                code = 99
            output.with_suffix(".codes").open("a").write(f"{code}\n")
        os._exit(0)
    os.waitpid(pid, 0)
    codes = output.with_suffix(".codes")
    found = [int(line) for line in codes.read_text().split()]
    codes.unlink()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_each_file_is_recovered_from_or_told(name: str, done: tuple[Path, Study], tmp_path: Path) -> None:
    faults = []
    for path in FILES:
        place = tmp_path / "study"
        shutil.copytree(done[0], place)
        DAMAGES[name](place / path)
        codes = codes_of(COMMANDS, place, tmp_path / "said")
        said = (tmp_path / "said").read_text(errors="replace")
        log = place / RESULTS / "32.log"
        said += log.read_text() if log.exists() else ""
        if "Traceback" in said or len(codes) < len(COMMANDS) or not set(codes) <= {0, 1, 2}:
            faults.append(f"{path} {codes}: {said[-1500:]}")
        shutil.rmtree(place)
    assert not faults, "\n\n".join(faults)


def test_all_of_them_at_once_stop_no_plan(done: tuple[Path, Study], tmp_path: Path) -> None:
    """Snakemake says what it would do, or one sentence."""
    for name in ("another object", "folder", "brackets"):
        place = tmp_path / name.replace(" ", "-")
        shutil.copytree(done[0], place)
        for path in FILES:
            DAMAGES[name](place / path)
        listed = snakemake("-n", directory=place, config=done[1].config.model_dump())
        assert "Traceback" not in listed.stdout + listed.stderr, listed.stdout[-3000:]
        assert listed.returncode == 0 or "move it away" in listed.stderr, listed.stderr
