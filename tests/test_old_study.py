"""A small finished study that commit 5fbc41f wrote is read as it stands: nothing trains anew, no file is refused.

`tests/data/study-5fbc41f.tar.xz` holds images, markers, checkpoints, journals, database, map and report of four cells
(test_efficientnet at 32 and 48 px, seeds 0 and 1), and a fifth at 80 px that was interrupted after its first epoch.
"""

import contextlib
import json
import re
import sqlite3
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command

from resomap.cells.study import CURRENT, Study
from resomap.compute.checkpoint import load_last
from resomap.core.files import read_json
from resomap.tracking.journal import read_events

MODEL = "test_efficientnet"
CELLS = ("32", "32.seed1", "48", "48.seed1")
WRITTEN_IN = "/home/user/study"
pytestmark = pytest.mark.xdist_group("old study")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The study, unpacked with the times of its files, at another place than the one that it was written in."""
    with tarfile.open(ROOT / "tests" / "data" / "study-5fbc41f.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    # MLflow's database names absolute places for artifacts.
    with contextlib.closing(sqlite3.connect(tmp_path / "results" / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (WRITTEN_IN, str(tmp_path)))
    return tmp_path


def snakemake(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = command("snakemake", "-s", ROOT / "Snakefile", "--configfile", "study.yaml", *words, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_only_the_map_is_drawn_anew(study: Path) -> None:
    done = snakemake(study, "-n")
    planned = set(re.findall(r"^(?:local)?rule (\w+):", done.stdout, re.MULTILINE))
    assert planned <= {"all", "map", "report"}, done.stdout
    snakemake(study, "--cores", "1")
    done = snakemake(study, "-n")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_costs_in_eager_pytorch_stand_until_something_is_measured_beside_them(study: Path) -> None:
    narrow = snakemake(study, "-n", "results/costs.csv")
    assert "Nothing to be done" in narrow.stdout + narrow.stderr
    wider = snakemake(study, "-n", "results/costs.csv", "--config", "resolutions=32,48,64")
    assert "besides trainings: 3 cost" in wider.stdout


def test_fingerprints_and_markers_are_what_they_were(study: Path) -> None:
    with contextlib.chdir(study):
        found = {str(cell.marker): mark for cell, mark in Study.load(CURRENT).fingerprints().items()}
    stored = {f"results/{MODEL}/{name}.done": read_json(study / "results" / MODEL / f"{name}.done") for name in CELLS}
    assert found == {path: marker["fingerprint"] for path, marker in stored.items()}
    status = command("resomap", "status", "--json", cwd=study)
    states = [cell["state"] for cell in json.loads(status.stdout)["cells"]]
    assert states == ["done"] * 4


def test_the_map_has_the_values_of_then(study: Path) -> None:
    old = read_json(study / "results" / "summary.json")
    (study / "results" / "summary.json").unlink()
    done = snakemake(study, "--cores", "1")
    assert "[1/" not in done.stderr, "no cell is trained"
    new = read_json(study / "results" / "summary.json")
    # Its latencies were measured on a busy machine: their quartiles lie far apart, so that they order nothing now.
    assert any("Latencies order nothing here" in note for note in new["notes"])
    old["fronts"] = [front for front in old["fronts"] if front["cost"] != "latency_ms"]
    assert differences(old, new) == []


# What later versions say otherwise, of the same trainings: intervals and what follows from them; and new keys.
JUDGED = {
    *("low", "high", "p", "upper", "may_be_best", "intervals", "recommendation", "notes", "schema", "basis"),
    *("is_complete", "missing", "best_test_resolution", "deficit", "calibration_error", "includes_training_noise"),
}


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """List the places at which two maps differ; figures may differ in the last digits (other versions of SciPy)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = [f"{place}.{name} is gone" for name in old.keys() - new.keys() - JUDGED]
        for name in (old.keys() & new.keys()) - JUDGED:
            found += differences(old[name], new[name], f"{place}.{name}")
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [text for number, (one, other) in pairs for text in differences(one, other, f"{place}[{number}]")]
    same = new == (pytest.approx(old, rel=1e-6, abs=1e-9) if isinstance(old, float) else old)
    return [] if same else [f"{place}: {old} became {new}"]


def test_an_interrupted_training_goes_on_from_its_checkpoint(study: Path) -> None:
    checkpoints = study / "checkpoints" / "efficientnet" / MODEL / "80"
    saved = load_last(checkpoints, lambda content: True, print)
    assert saved is not None
    assert saved["epoch"] == 1
    snakemake(study, "--cores", "1", f"results/{MODEL}/80.done")
    log = (study / "results" / MODEL / "80.log").read_text()
    assert log.count("epoch 1/3") == 1, "the first epoch is not trained twice"
    marker = read_json(study / "results" / MODEL / "80.done")
    assert marker["uid"] == saved["uid"]
    assert marker["epochs"] == 3


def test_weights_of_then_classify_now(study: Path) -> None:
    image = next((study / "images").rglob("*.bmp"))
    done = command("resomap", "predict", "--cell", f"{MODEL}@32", image, "--json", "--device", "cpu", cwd=study)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["images"]
    assert {one["class"] for one in answer["predictions"]} == {"cracked", "intact"}


def test_journals_are_read_and_their_runs_found_again(study: Path) -> None:
    for journal in (study / "results" / MODEL).glob("*.journal.jsonl"):
        assert read_events(journal)[0][0]["kind"] == "start"

    def runs() -> int:
        with contextlib.closing(sqlite3.connect(study / "results" / "mlflow.db")) as database:
            return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])

    before = runs()
    done = command("resomap", "sync", cwd=study)
    assert done.returncode == 0, done.stderr
    assert runs() == before
