"""The status table from real markers, progress files and processes."""

import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
from conftest import done_marker

from resomap.cells.cell import Cell
from resomap.cells.presence import RUNNING, is_snakemake_running
from resomap.cells.progress import Failure, Progress, is_alive
from resomap.core.text import duration
from resomap.status import Watch, collect, counts, save_svg, seconds_to_go, show, summary_line
from resomap.tracking.elsewhere import Elsewhere, note_path

WANTED = "aaaaaaaaaaaa"
OPTIONS: dict[str, Any] = {"metric": "balanced_accuracy", "margin": 0.01}


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cell(model: str, resolution: int, seed: int = 0) -> Cell:
    return Cell(model, resolution, seed, "family", f".seed{seed}" if seed else "")


def mark_done(of: Cell, value: float | None, fingerprint: str = WANTED, **changes: Any) -> None:
    lower = None if value is None else value - 0.25
    metrics = {"test/balanced_accuracy": lower, "val/balanced_accuracy": value, "test/loss": 1.0}
    done_marker(of, fingerprint, **{"metrics": metrics, **changes}).write(of.marker)


def grid(*cells: Cell) -> list[Any]:
    return collect(cells, dict.fromkeys(cells, WANTED), **OPTIONS)


def text_of(statuses: list[Any]) -> str:
    stream = io.StringIO()
    show(statuses, stream=stream, **OPTIONS)
    return stream.getvalue()


def test_each_state_is_told_apart() -> None:
    done, running, failed, waiting, changed = (cell("vgg11", size) for size in (224, 256, 320, 384, 512))
    mark_done(done, 0.84)
    Progress(running.name, "training", 12, 25, images_per_second=99.6, value=0.8, eta_seconds=840.0).write(
        running.beside_marker("progress.json")
    )
    Failure(failed.name, WANTED, "diverged at epoch 3, step 12", True, "some.log", "snakemake x").write(
        failed.beside_marker("failed.json")
    )
    mark_done(changed, 0.99, fingerprint="bbbbbbbbbbbb")
    statuses = grid(done, running, failed, waiting, changed)
    assert [status.state for status in statuses] == ["done", "running", "failed", "waiting", "waiting"]
    assert statuses[0].is_best
    assert counts(statuses) == {"completed": 1, "failed": 1, "running": 1, "remaining": 2}
    shown = text_of(statuses)
    assert "0.840*" in shown
    assert "0.99" not in shown
    assert "vgg11@256  epoch 12/25, val 0.800, 100 images/s, ETA 14 min" in shown
    assert socket.gethostname() in shown
    assert "vgg11@320  diverged at epoch 3, step 12" in shown
    assert "    log     some.log" in shown
    assert "    resume  snakemake x" in shown
    assert "vgg11@512  settings changed" in shown
    assert shown.rstrip().endswith("1 completed, 1 failed, 1 running, 2 remaining")


def test_cells_within_the_margin_are_marked() -> None:
    cells = [cell("a", 64), cell("b", 64), cell("c", 64), cell("d", 64)]
    for of, value in zip(cells, (0.84, 0.83, 0.8299, None), strict=True):
        mark_done(of, value)
    statuses = grid(*cells)
    assert [status.is_near_best for status in statuses] == [True, True, False, False]
    assert [status.is_best for status in statuses] == [True, False, False, False]
    shown = text_of(statuses)
    assert "0.830*" in shown
    assert "undefined" in shown
    assert "* by validation within 0.01 of the best, a@64 with 0.840 (test 0.590)" in shown
    assert "validation balanced_accuracy" in shown


def test_the_test_split_chooses_nothing() -> None:
    better_on_test, better_on_validation = cell("a", 64), cell("b", 64)
    for of, test, validation in ((better_on_test, 0.9, 0.7), (better_on_validation, 0.8, 0.75)):
        mark_done(of, None, metrics={"test/balanced_accuracy": test, "val/balanced_accuracy": validation})
    statuses = grid(better_on_test, better_on_validation)
    assert [status.is_best for status in statuses] == [False, True]
    assert [(status.value, status.test) for status in statuses] == [(0.7, 0.9), (0.75, 0.8)]
    shown = text_of(statuses)
    assert "0.750*" in shown
    assert "0.900" not in shown, "the headline is what choices are made on"


def test_origin_and_exactness_are_shown() -> None:
    of = cell("a", 64)
    mark_done(of, 0.5, origin="tracker", exact=False, exact_reasons=("the microbatch was halved",))
    (status,) = grid(of)
    assert (status.origin, status.is_exact, status.note) == ("tracker", False, "the microbatch was halved")
    shown = text_of([status])
    assert "0.500*t~" in shown
    assert "known from the tracker" in shown


def test_a_damaged_marker_is_not_done() -> None:
    of = cell("a", 64)
    mark_done(of, 0.5)
    of.marker.write_text(of.marker.read_text()[:40])
    (status,) = grid(of)
    assert (status.state, status.note) == ("waiting", "marker is damaged")
    of.marker.write_text("{}")
    (status,) = grid(of)
    assert (status.state, status.note) == ("waiting", "marker lacks what a marker needs")


def test_a_dead_training_is_interrupted_unless_it_said_why() -> None:
    of = cell("a", 64)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    Progress(of.name, "training", 3, 9, pid=gone.pid, started_at=100.0, heartbeat=200.0).write(
        of.beside_marker("progress.json")
    )
    assert grid(of)[0].state == "waiting"
    assert "interrupted after epoch 3/9" in grid(of)[0].note
    failure = Failure(of.name, WANTED, "the disk is full", False, "l", "r", at=50.0)
    failure.write(of.beside_marker("failed.json"))
    assert grid(of)[0].state == "waiting", "a failure from before this attempt"
    failure.at = 201.0
    failure.write(of.beside_marker("failed.json"))
    assert grid(of)[0].state == "failed"
    failure.fingerprint = "bbbbbbbbbbbb"
    failure.write(of.beside_marker("failed.json"))
    assert grid(of)[0].state == "waiting", "a failure under other settings"


def test_alive_means_this_very_process() -> None:
    assert is_alive(Progress("a@64"))
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert is_alive(Progress("a@64", pid=child.pid))
        # The number belongs to a process that is younger than the training was.
        assert not is_alive(Progress("a@64", pid=child.pid, started_at=time.time() - 3600))
        child.kill()
        time.sleep(0.2)
        assert not is_alive(Progress("a@64", pid=child.pid)), "a zombie still has its number"
    finally:
        child.kill()
        child.wait()
    assert not is_alive(Progress("a@64", pid=child.pid))
    assert not is_alive(Progress("a@64", pid=0))
    assert not is_alive(Progress("a@64", pid=2**70))


def test_a_process_that_the_system_hides_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's is hidden where /proc is mounted with hidepid=2: kill(2) knows it, /proc has nothing of it."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(os.getpid())
    assert is_alive(Progress("a@64"))


def test_another_host_is_judged_by_its_heartbeat() -> None:
    assert is_alive(Progress("a@64", host="elsewhere", pid=1, heartbeat=time.time() - 100))
    assert not is_alive(Progress("a@64", host="elsewhere", pid=os.getpid(), heartbeat=time.time() - 130))


def test_files_survive_the_round_trip_and_damage_is_none(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "320.progress.json"
    progress = Progress("vgg11@320", "evaluating", 3, 25, 7, 60, 99.5, value=None, eta_seconds=float("nan"))
    progress.write(path)
    content = json.loads(path.read_text())
    assert content["eta_seconds"] is None, "strict JSON"
    progress.eta_seconds = None
    assert Progress.read(path) == progress
    path.write_text(json.dumps({**content, "a_later_version": 1}))
    assert Progress.read(path) == progress
    for damaged in ({**content, "epoch": "3"}, {**content, "pid": None}, {"state": "training"}, [1]):
        path.write_text(json.dumps(damaged))
        assert Progress.read(path) is None
    path.write_text("{")
    assert Progress.read(path) is None
    assert Failure.read(tmp_path / "none.json") is None
    failure = Failure("a@64", WANTED, "why", False, "log", "resume", 2, 3.0, 65)
    failure.write(path)
    assert Failure.read(path) == failure


def test_json_is_strict_and_complete() -> None:
    done, other = cell("a", 64), cell("a", 96, seed=1)
    mark_done(done, 0.5)
    Progress(other.name, "training", 1, 2, value=0.4).write(other.beside_marker("progress.json"))
    stream = io.StringIO()
    show(grid(done, other), as_json=True, stream=stream, **OPTIONS)
    content = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert content["metric"] == "val/balanced_accuracy"
    assert content["counts"] == {"completed": 1, "failed": 0, "running": 1, "remaining": 0}
    first, second = content["cells"]
    assert (first["cell"], first["state"], first["value"], first["test"]) == ("a@64", "done", 0.5, 0.25)
    assert (second["cell"], second["seed"], second["progress"]["value"]) == ("a@96.seed1", 1, 0.4)


def test_the_default_grid_fits_80_columns() -> None:
    from resomap.config.schema import DEFAULT_MODELS

    cells = [cell(model, size) for model in DEFAULT_MODELS for size in (224, 256, 320, 384, 512)]
    for place, of in enumerate(cells):
        if place % 3 == 0:
            mark_done(of, 0.8 + place / 1000, exact=False, origin="tracker")
        elif place % 3 == 1:
            Progress(of.name, "training", 100, 125, value=0.8).write(of.beside_marker("progress.json"))
    shown = text_of(grid(*cells))
    matrix = shown.split("* by validation")[0].splitlines()
    assert max(map(len, matrix)) <= 80
    rows = {line.split()[0] for line in matrix if line.strip()}
    assert rows >= set(DEFAULT_MODELS), "no name is folded or cut"
    assert "100/125" in shown
    assert summary_line(grid(*cells)) in shown


def test_many_resolutions_become_several_tables() -> None:
    cells = [cell("resnet18", size) for size in range(64, 64 + 32 * 12, 32)]
    for of in cells:
        mark_done(of, 0.8)
    matrix = text_of(grid(*cells)).split("* by validation")[0]
    assert max(map(len, matrix.splitlines())) <= 80
    assert matrix.count("resnet18") == 3
    assert matrix.count("0.800*") == 12


def test_seeds_share_a_place_in_the_map() -> None:
    cells = [cell("a", 64, seed) for seed in range(3)]
    mark_done(cells[0], 0.80)
    mark_done(cells[1], 0.90)
    assert "0.850 2/3" in text_of(grid(*cells))
    mark_done(cells[2], 0.91)
    assert "0.870 " in text_of(grid(*cells))


def test_the_time_to_go_counts_what_runs_and_what_waits_but_not_what_failed() -> None:
    done, running, starting, waiting, failed, foreign = (cell("a", size) for size in (32, 48, 64, 96, 128, 160))
    mark_done(done, 0.5)
    Progress(running.name, "training", 5, 10, eta_seconds=100.0).write(running.beside_marker("progress.json"))
    Progress(starting.name, "training", 1, 10).write(starting.beside_marker("progress.json"))
    Failure(failed.name, WANTED, "why", True, "log", "resume").write(failed.beside_marker("failed.json"))
    Elsewhere(WANTED, "run", "b", time.time(), time.time()).write(note_path(foreign))
    statuses = grid(done, running, starting, waiting, failed, foreign)
    # (100 + 0.9 x 1000 + 1000) on two places
    assert seconds_to_go(statuses, lambda _cell: 1000.0) == pytest.approx(1000.0)
    assert seconds_to_go(statuses, lambda _cell: 100.0) == pytest.approx((100 + 90 + 100) / 2)
    assert seconds_to_go(grid(done, failed), lambda _cell: 1.0) is None
    stream = io.StringIO()
    show(statuses, stream=stream, forecast=lambda _statuses: 5400.0, **OPTIONS)
    assert stream.getvalue().rstrip().endswith("1 completed, 1 failed, 2 running, 2 remaining; about 1 h 30 min to go")
    stream = io.StringIO()
    show(statuses, stream=stream, as_json=True, forecast=lambda _statuses: 5400.0, **OPTIONS)
    assert json.loads(stream.getvalue())["eta_seconds"] == 5400


def test_a_thousand_cells_leave_the_table_on_the_screen() -> None:
    cells = [cell(f"model{row}", 32 * column) for row in range(100) for column in range(1, 11)]
    for place, of in enumerate(cells):
        if place % 4 == 0:
            mark_done(of, 0.5 + place / 10000)
        elif place % 4 == 1:
            failure = Failure(of.name, WANTED, "it went wrong", True, "log", f"snakemake {of.marker}")
            failure.write(of.beside_marker("failed.json"))
    began = time.monotonic()
    statuses = grid(*cells)
    shown = text_of(statuses)
    assert time.monotonic() - began < 5, "generous, for a busy machine"
    assert shown.count("it went wrong") == 20
    assert "and 230 more; `resomap status --json` has all" in shown
    assert shown.rstrip().endswith("250 completed, 250 failed, 0 running, 500 remaining")


def test_watching_goes_on_between_two_cells() -> None:
    first, second = cell("a", 64), cell("a", 96)
    mark_done(first, 0.5)
    rounds = iter(range(100))

    def refresh() -> list[Any]:
        if next(rounds) == 2:
            mark_done(second, 0.6)
        return grid(first, second)

    stream = io.StringIO()
    show(grid(first, second), watch=Watch(seconds=0.05, refresh=refresh), stream=stream, **OPTIONS)
    assert next(rounds) == 3


def test_watching_ends_when_nothing_runs() -> None:
    of = cell("a", 64)
    child = subprocess.Popen(["sleep", "0.5"])
    Progress(of.name, "training", 1, 2, pid=child.pid).write(of.beside_marker("progress.json"))
    states = []

    def refresh() -> list[Any]:
        if child.poll() is not None and not of.marker.exists():
            mark_done(of, 0.75)
        statuses = grid(of)
        states.append(statuses[0].state)
        return statuses

    stream = io.StringIO()
    show(grid(of), watch=Watch(seconds=0.2, refresh=refresh), stream=stream, **OPTIONS)
    assert states[-1] == "done"
    assert "0.750*" in stream.getvalue()


def test_watching_goes_on_behind_the_last_training_while_snakemake_runs() -> None:
    """Evaluations and the map come then."""
    of = cell("a", 64)
    mark_done(of, 0.75)
    RUNNING.mkdir(parents=True)
    child = subprocess.Popen(["sleep", "0.5"])
    (RUNNING / str(child.pid)).touch()
    watch = Watch(seconds=0.1, refresh=lambda: grid(of), runs_on=is_snakemake_running)
    show(grid(of), watch=watch, stream=io.StringIO(), **OPTIONS)
    assert child.poll() == 0  # and not before
    assert not is_snakemake_running()  # what a killed one has left
    elsewhere = subprocess.Popen(["sleep", "5"], cwd="/")
    (RUNNING / str(elsewhere.pid)).touch()
    assert not is_snakemake_running()  # of a study that this one is a copy of
    elsewhere.kill()
    elsewhere.wait()


def test_the_picture_is_an_svg(tmp_path: Path) -> None:
    of = cell("resnet18", 64)
    mark_done(of, 0.75)
    path = tmp_path / "docs" / "status.svg"
    save_svg(grid(of, cell("resnet18", 96)), path, "resomap status", forecast=lambda _: 5400.0, **OPTIONS)
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg")
    shown = "".join(root.itertext()).replace("\xa0", " ")
    assert "resomap status" in shown
    assert "0.750*" in shown
    assert "about 1 h 30 min to go" in shown


def test_forty_cells_take_less_than_a_second_and_no_heavy_import() -> None:
    cells = [cell(f"model{row}", 32 * column) for row in range(8) for column in range(2, 7)]
    for of in cells:
        mark_done(of, 0.5)
    code = (
        "import sys; from resomap.cells.cell import Cell; from resomap.status import collect, show\n"
        "light = [m for m in ('numpy', 'torch', 'PIL', 'mlflow', 'rich', 'timm') if m in sys.modules]\n"
        "cells = [Cell(f'model{r}', 32 * c, 0, 'f') for r in range(8) for c in range(2, 7)]\n"
        f"statuses = collect(cells, dict.fromkeys(cells, {WANTED!r}), 'balanced_accuracy', 0.01)\n"
        "show(statuses, metric='balanced_accuracy', margin=0.01)\n"
        "assert not light and 'torch' not in sys.modules, light\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert worked < 3, "generous: seconds of a processor, on a busy machine"
    assert "40 completed" in done.stdout


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (89, "89 s"), (840, "14 min"), (12000, "3 h 20 min")])
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_training_of_other_image_contents_waits() -> None:
    here, other, unknown = (cell("vgg11", size) for size in (224, 256, 320))
    for each, digest in ((here, "a" * 64), (other, "b" * 64), (unknown, None)):
        mark_done(each, 0.8, content_digest=digest)
    cells = (here, other, unknown)
    statuses = collect(cells, dict.fromkeys(cells, WANTED), **OPTIONS, content_digest="a" * 64)
    assert [(status.state, status.note) for status in statuses] == [
        ("done", ""),
        ("waiting", "images changed"),
        ("done", ""),
    ]
    assert [status.state for status in grid(*cells)] == ["done"] * 3, "where the images are not known"
