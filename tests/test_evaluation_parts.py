"""Evaluations behind the training, and one process for the jobs of a plan: the same bits, in fewer starts of torch."""

import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, make_study, small_config, snakemake
from waiting import wait_for

from resomap.cells import evaluation_part, evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.measurement import DIRECTORY as COSTS
from resomap.cells.measurement import Measurement
from resomap.cells.measurement_part import part_path, take_over, write_part
from resomap.cells.predictions import Predictions
from resomap.cells.study import Study
from resomap.cells.wanted import WantedList, plan_id, wanted
from resomap.core.files import read_json, write_json

pytestmark = pytest.mark.xdist_group("evaluation parts")  # what its fixture trains is trained once

STUDY = Path(".resomap", "study-x.json")
HEAVY = {"torch", "torchvision", "timm", "sklearn", "scipy"}
# Loaded by each Python of a run: what imported torch, and a kill or signal right behind a file's writing, once.
SITE = """
import atexit, os, signal, sys
replace = os.replace
def killing(source, target, **named):
    replace(source, target, **named)
    if os.fspath(target) == os.environ.get("SIGNAL_BEHIND") and not os.path.exists("signalled"):
        open("signalled", "w").close()
        os.kill(os.getpid(), int(os.environ["SIGNAL_NUMBER"]))
os.replace = killing
first = os.getpid()  # others were forked from it
def note():
    if "resomap" in sys.orig_argv:
        with open(os.path.join(os.environ["NOTES"], "starts"), "a") as stream:
            step = sys.orig_argv[sys.orig_argv.index("resomap") + 1]
            stream.write(step + (" torch" if "torch" in sys.modules else "") + "\\n")
    elif "resomap.tracking.sender_process" in sys.orig_argv:
        with open(os.path.join(os.environ["NOTES"], "senders"), "a") as stream:
            stream.write("mlflow" * ("mlflow.store.tracking.sqlalchemy_store" in sys.modules) + "\\n")
    elif "resomap.fork_server" in sys.orig_argv and os.getpid() == first:
        with open(os.path.join(os.environ["NOTES"], "servers"), "a") as stream:
            stream.write("torch" * ("torch" in sys.modules) + "\\n")
atexit.register(note)
"""


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell that was trained as a job of a plan which wants its evaluation; each test takes a copy."""
    directory = tmp_path_factory.mktemp("trained")
    study = make_study(directory, small_config(images, resolutions=[32, 48], training={"epochs": 1}))
    study.save(directory / STUDY)
    plan = WantedList(directory / STUDY)
    plan.begin()
    plan.note("evaluate", f"{MODEL}@32")
    finished = step("train", f"{MODEL}@32", cwd=directory)
    assert finished.returncode == 0, finished.stderr
    return directory


@pytest.fixture
def cell(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """The trained cell with its part, in a copy of the study that the test works in."""
    shutil.copytree(trained, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return Study.load(STUDY).cell(MODEL, 32)


def step(name: str, *words: str, cwd: Path, options: tuple[str, ...] = (), **environment: str) -> Any:
    study = ("--study", str(STUDY), "--threads", "1")
    return command(sys.executable, *options, "-m", "resomap", name, *words, *study, cwd=cwd, **environment)


def evaluated(cell: Cell) -> bytes:
    """The record's bytes as the step `evaluate` writes them."""
    finished = step("evaluate", cell.name, cwd=Path.cwd())
    assert finished.returncode == 0, finished.stderr
    return evaluation_record.record_path(cell).read_bytes()


def test_a_part_is_taken_over_without_torch_and_is_what_the_step_would_write(cell: Cell, tmp_path: Path) -> None:
    assert evaluation_part.part_path(cell).exists()
    assert not evaluation_record.record_path(cell).exists()
    finished = step("evaluate", cell.name, cwd=Path.cwd(), options=("-X", "importtime"))
    assert finished.returncode == 0, finished.stderr
    names = {name.split(".")[0] for name in re.findall(r"^import time:.*\| +([\w.]+)$", finished.stderr, re.MULTILINE)}
    assert "resomap" in names
    assert names & HEAVY == set()
    taken, left = evaluation_record.record_path(cell).read_bytes(), list(cell.marker.parent.glob("*.part.json"))
    assert left == []
    # The old way: nothing is there but the training's own predictions.
    evaluation_record.record_path(cell).unlink()
    kept = evaluation_record.predictions_path(cell, 48)
    before = kept.read_bytes()
    kept.unlink()
    assert evaluated(cell) == taken
    assert kept.read_bytes() == before


def _of_another_training(content: dict[str, Any]) -> None:
    content["record"]["uid"] = "0" * 32


def _of_other_settings(content: dict[str, Any]) -> None:
    content["record"]["fingerprint"] = "0" * 12


def _of_other_images(content: dict[str, Any]) -> None:
    content["content_digest"] = "0" * 64


def _of_other_weights(content: dict[str, Any]) -> None:
    content["weights"] = "0" * 64


def _of_fewer_resolutions(content: dict[str, Any]) -> None:
    del content["record"]["test_resolutions"]["48"], content["predictions"]["48"]


def _of_another_version(content: dict[str, Any]) -> None:
    content["record"]["schema"] += 1


@pytest.mark.parametrize(
    "change",
    [
        _of_another_training,
        _of_other_settings,
        _of_other_images,
        _of_other_weights,
        _of_fewer_resolutions,
        _of_another_version,
    ],
)
def test_a_part_that_is_not_of_exactly_this_is_not_taken_over(
    cell: Cell, change: Callable[[dict[str, Any]], None]
) -> None:
    marker, path = Marker.read(cell.marker), evaluation_part.part_path(cell)
    assert marker is not None
    assert evaluation_part.fitting_record(cell, marker, [32, 48]) is not None
    content = read_json(path)
    change(content)
    write_json(path, content)
    assert not evaluation_part.take_over(cell, marker, [32, 48])
    assert not path.exists()
    assert not evaluation_record.record_path(cell).exists()


@pytest.mark.parametrize("what", ["torn part", "other predictions", "no predictions", "other weights"])
def test_files_that_changed_since_are_evaluated_anew(cell: Cell, what: str) -> None:
    marker, path = Marker.read(cell.marker), evaluation_part.part_path(cell)
    kept = evaluation_record.predictions_path(cell, 48)
    assert marker is not None
    if what == "torn part":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "other weights":
        best = cell.checkpoints / "best.pt"
        best.write_bytes(best.read_bytes()[:-10] + b"0" * 9 + b"\n")
    elif what == "no predictions":
        kept.unlink()
    else:
        found = Predictions.load(kept)
        assert found is not None
        found.splits["val"].log_probabilities[:] -= 1
        found.save(kept)
    assert evaluation_part.fitting_record(cell, marker, [32, 48]) is None


def test_a_signal_behind_the_marker_ends_the_evaluation_and_not_the_success(cell: Cell, tmp_path: Path) -> None:
    """Snakemake would delete the marker of a job that fails."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    for path in (cell.marker, cell.checkpoints / "done.json", evaluation_part.part_path(cell)):
        path.unlink()
    evaluation_record.predictions_path(cell, 48).unlink()
    shutil.rmtree(cell.checkpoints)
    finished = step(
        *("train", cell.name),
        cwd=Path.cwd(),
        PYTHONPATH=f"{tmp_path}:{sys.path[0]}:{Path(__file__).parents[1]}",
        SIGNAL_BEHIND=str(cell.marker),
        SIGNAL_NUMBER=str(int(signal.SIGTERM)),
        NOTES=str(tmp_path),
    )
    assert Path("signalled").exists()
    assert finished.returncode == 0, finished.stderr
    assert cell.marker.exists()
    assert not evaluation_part.part_path(cell).exists()
    assert not evaluation_record.predictions_path(cell, 48).exists()


def test_only_jobs_of_this_plan_are_wanted(tmp_path: Path) -> None:
    study = tmp_path / "study-1.json"
    plan = WantedList(study)
    plan.note("evaluate", "a@32")  # a dry run: nothing begins
    assert (wanted(study, "evaluate"), plan_id(study)) == ([], None)
    plan.begin()
    for _ in range(2):
        plan.note("evaluate", "a@32")
        plan.note("cost", "a@32 on cpu")
    assert (wanted(study, "evaluate"), wanted(study, "cost")) == (["a@32"], ["a@32 on cpu"])
    first = plan_id(study)
    WantedList(study).begin()
    assert wanted(study, "evaluate") == []
    assert plan_id(study) not in (None, first)
    assert wanted(tmp_path / "study.json", "evaluate") == []


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [({}, True), ({"plan": "other"}, False), ({"settings": {"a": 2}}, False), ({"threads": 4}, False)],
)
def test_a_measurement_counts_for_its_plan_settings_and_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], is_taken: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"plan": "p", "settings": {"a": 1}, "threads": 2, **change}
    measurement = Measurement(MODEL, 32, "cpu")
    write_part(measurement, {"settings": {"a": 1}, "threads": 2}, "p")
    assert take_over(measurement, given["settings"], given["threads"], given["plan"]) is is_taken
    assert measurement.path.exists() is is_taken
    assert not part_path(measurement).exists()


@pytest.mark.slow
def test_starts_of_torch_in_a_grid_with_a_kill_behind_a_marker(images: Path, tmp_path: Path) -> None:
    """The trainer of the first cell dies between marker and evaluation: nothing is trained twice, nothing is lost."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    config = small_config(images, resolutions=[32, 48], training={"epochs": 1}, cost={"seconds": 0.1})
    places = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}", "NOTES": str(tmp_path)}
    behind = f"results/{MODEL}/48.done"
    killed = snakemake(directory=tmp_path, config=config, SIGNAL_BEHIND=behind, SIGNAL_NUMBER="9", **places)
    assert (tmp_path / "signalled").exists()
    assert killed.returncode == 0, killed.stderr  # the job is tried again, and the marker comes back from its copy
    assert (tmp_path / "results" / MODEL / "48.log").read_text().count(" epoch 1/1: ") == 1
    starts = Counter((tmp_path / "starts").read_text().splitlines())
    # Trainings are forked from one process that imported torch, and sent by one that imported MLflow.
    assert starts["train torch"] == 0
    for name, imported in (("servers", "torch"), ("senders", "mlflow")):
        wait_for((of_run := tmp_path / name).exists)
        assert of_run.read_text() == f"{imported}\n"
    # One evaluation was lost with the killed trainer, the other came with its training.
    assert (starts["evaluate torch"], starts["evaluate"]) == (1, 1)
    assert (starts["cost torch"], starts["cost"]) == (1, 1)
    records = {path: path.read_bytes() for path in sorted((tmp_path / "results" / MODEL).glob("*.evaluation.json"))}
    assert len(records) == 2
    assert not list((tmp_path / "results").rglob("*.part.json"))
    assert len(list((tmp_path / COSTS / "cpu" / MODEL).iterdir())) == 2
    # All that is to be evaluated anew is, by one process, to the same bytes.
    for path in records:
        path.unlink()
    for path in (tmp_path / "results" / MODEL).glob("*.at*.npz"):
        path.unlink()
    (tmp_path / "starts").unlink()
    again = snakemake("evaluations", directory=tmp_path, config=config, **places)
    assert again.returncode == 0, again.stderr
    starts = Counter((tmp_path / "starts").read_text().splitlines())
    assert starts == {"evaluate torch": 1, "evaluate": 1}
    assert {path: path.read_bytes() for path in records} == records
    # A new resolution: one measurement, beside a network that was measured before.
    wide = {**config, "resolutions": [32, 48, 64]}
    finished = snakemake("results/costs.csv", directory=tmp_path, config=wide, **places)
    assert finished.returncode == 0, finished.stderr
    reference = read_json(tmp_path / COSTS / "cpu" / MODEL / "64.json")["reference"]
    assert (reference["model"], reference["resolution"]) == (MODEL, 32)
    assert (
        reference["latency_ms_before"] == read_json(tmp_path / COSTS / "cpu" / MODEL / "32.json")["latency_ms_median"]
    )
    assert reference["latency_ms_now"] > 0
