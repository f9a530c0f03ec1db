"""Content of a run in the tracker: everything that a person looks for, and nothing that some servers lack."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MODEL, RESOLUTION, ROOT, trainer
from mlflow import MlflowClient
from mlflow.entities import Run

from resomap.cells.study import Study
from resomap.core.files import read_json
from resomap.data.identity import Description
from resomap.tracking import provenance

pytestmark = pytest.mark.xdist_group("run content")  # what its fixture trains is trained once

CELL = f"{MODEL}@{RESOLUTION}"
STEM = f"results/{MODEL}/{RESOLUTION}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("content") / "here"


@pytest.fixture
def complete(server: str, place: Path, study_in: Callable[..., Study]) -> tuple[Study, MlflowClient, Run]:
    """A run of two epochs, trained once for all tests."""
    tracking = {"uri": server, "drain_seconds": 60, "heartbeat_seconds": 1, "keep_weights": True}
    study = study_in(place, experiment="content", training={"epochs": 2}, tracking=tracking)
    if not (place / f"{STEM}.done").exists():
        assert trainer(CELL, place).wait(timeout=120) == 0
    client = MlflowClient(tracking_uri=server)
    return study, client, client.get_run(read_json(place / f"{STEM}.done")["run_id"])


def test_params_metrics_and_tags(complete: tuple[Study, MlflowClient, Run], place: Path) -> None:
    study, client, run = complete
    assert run.info.status == "FINISHED"
    assert (run.data.params["model"], run.data.params["resolution"], run.data.params["seed"]) == (MODEL, "32", "0")
    assert run.data.params["augment.hflip"] == "0.5"
    for name in ("train/loss", "train/accuracy", "val/loss", "val/macro_f1", "learning_rate", "images_per_second"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == [1, 2], name
    marker = read_json(place / f"{STEM}.done")
    tested = {name: value for name, value in marker["metrics"].items() if name.startswith("test/")}
    assert len(tested) >= 5
    assert {name: run.data.metrics.get(name) for name in tested} == pytest.approx(tested)
    assert 0 < run.data.metrics["system/system_memory_usage_percentage"] <= 100
    assert run.data.metrics["system/process_memory_megabytes"] > 50
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = {
        "resomap.cell": CELL,
        "resomap.base": study.base,
        "resomap.fingerprint": study.fingerprint(study.find(CELL)),
        "resomap.uid": marker["uid"],
        "resomap.content_digest": marker["content_digest"],
        "resomap.attempt": "1",
        "mlflow.source.git.commit": head.stdout.strip(),
    }
    assert {name: run.data.tags.get(name) for name in wanted} == wanted


def test_artifacts(complete: tuple[Study, MlflowClient, Run], place: Path, tmp_path: Path) -> None:
    study, client, run = complete
    stored = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    pairs = {"predictions.npz": f"{STEM}.predictions.npz", "history.csv": f"{STEM}.history.csv"}
    pairs["best.pt"] = f"checkpoints/resnet/{MODEL}/{RESOLUTION}/best.pt"
    for name, local in pairs.items():
        assert (stored / name).read_bytes() == (place / local).read_bytes()
    assert {path.name for path in stored.iterdir()} == {*pairs, "config.yaml", "environment.json", "figures"}
    for name in ("curves.png", "confusion_matrix.png"):
        assert (stored / "figures" / name).read_bytes().startswith(b"\x89PNG")
    config = yaml.safe_load((stored / "config.yaml").read_text())
    assert config["fingerprint"] == study.fingerprint(study.find(CELL))
    assert config["config"]["training"]["epochs"] == config["recipe"]["epochs"] == 2
    data = Description(config["data_identity"], images=0, channels=1)
    assert Study(study.config.model_validate(config["config"]), data).base == study.base
    found = json.loads((stored / "environment.json").read_text())
    assert found["packages"]["torch"] == found["torch"]
    assert found["git"]["dirty"] in (True, False)
    assert {"python", "system", "host", "cpus", "device", "nvidia_driver", "content_digest"} <= found.keys()


def test_data_and_sweep(
    complete: tuple[Study, MlflowClient, Run], server: str, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study, client, run = complete
    (images,) = run.inputs.dataset_inputs
    assert images.dataset.digest == study.data_identity[:36]
    assert json.loads(images.dataset.source)["uri"] == study.config.data.source
    assert [(tag.key, tag.value) for tag in images.tags] == [("mlflow.data.context", "training")]
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (parent.info.status, parent.data.tags["resomap.sweep"]) == ("FINISHED", study.base)
    # Another machine with another cell of the same grid: the same parent.
    other = study_in(tmp_path / "there", **_changes(study, server), resolutions=[32, 48])
    assert other.base == study.base
    assert trainer(f"{MODEL}@48", tmp_path / "there").wait(timeout=120) == 0
    second = client.get_run(read_json(tmp_path / "there" / "results" / MODEL / "48.done")["run_id"])
    assert second.data.tags["mlflow.parentRunId"] == parent.info.run_id
    known = client.get_experiment_by_name("content").experiment_id
    assert len(client.search_runs([known], "tags.`resomap.sweep` != ''")) == 1
    # Neither a registered nor a logged model: some servers have neither.
    assert client.search_registered_models() == []
    assert client.search_logged_models([known]) == []


def test_the_training_does_not_wait_for_what_its_run_holds(
    complete: tuple[Study, MlflowClient, Run], place: Path
) -> None:
    study, _, _ = complete
    cell = study.find(CELL)
    began = time.monotonic()
    provenance.write_config(study, cell)
    provenance.write_environment(cell, {})
    assert time.monotonic() - began < 1


def _changes(study: Study, server: str) -> dict[str, Any]:
    tracking = {"uri": server, "drain_seconds": 60}
    return {"experiment": study.config.experiment, "training": {"epochs": 2}, "tracking": tracking}
