"""The best weights at every test resolution: right figures, computed once, valid for one training only."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import MODEL, small_config, snakemake
from torchmetrics.functional.classification import multiclass_calibration_error

from resomap.cells import archive, evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.cells.study import CURRENT, Study
from resomap.commands.forget import forget
from resomap.compute.checkpoint import load_sealed
from resomap.compute.metrics import calibration_error, confusion, measure, per_class
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import sealed
from resomap.data import DATA_DIRECTORY
from resomap.data.decode import decode, resize
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.evaluation.evaluator import Evaluator
from resomap.train.attempt import train_cell
from resomap.train.request import Request

FIXED = "vit_tiny_patch16_224"  # built for one input size, and takes no other


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two models trained at 32 px, images prepared at 32 and 48: never changed, each test takes a copy."""
    directory = tmp_path_factory.mktemp("trained")
    config = small_config(images, models=[MODEL, FIXED], resolutions=[32, 48], training={"epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        study = Study.open(config)
        study.save(CURRENT)
        make_manifest(study.config.data, DATA_DIRECTORY, 1)
        for resolution in study.config.resolutions:
            prepare_images(DATA_DIRECTORY, resolution, 1)
        for model in study.config.models:
            train_cell(Request(study, study.cell(model, 32), 1, 1, lambda _sentence: None))
    return directory, {**config, "models": [MODEL]}


@pytest.fixture
def place(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, Any]]:
    """A copy of the trained study, entered."""
    directory = tmp_path / "study"
    shutil.copytree(trained[0], directory)
    monkeypatch.chdir(directory)
    return directory, trained[1]


@pytest.fixture
def study(place: tuple[Path, dict[str, Any]]) -> Study:
    return Study.load()


@pytest.fixture
def cell(study: Study) -> Cell:
    return study.cell(MODEL, 32)


def evaluated(study: Study, cell: Cell, *resolutions: int) -> dict[str, Any]:
    """The record after the step, with other resolutions in the configuration where they are given."""
    if resolutions:
        study = widened(study, *resolutions)
    evaluate_cell(study, cell, 1, lambda _sentence: None)
    return read_json(evaluation_record.record_path(cell))


def widened(study: Study, *resolutions: int) -> Study:
    Study.open({**study.config.model_dump(), "models": [MODEL], "resolutions": list(resolutions)}).save(CURRENT)
    return Study.load()


def missing(study: Study, cell: Cell) -> list[int]:
    marker = Marker.read(cell.marker)
    assert marker is not None
    return evaluation_record.missing(cell, marker, study.config.resolutions)


def stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_mtime_ns, path.stat().st_ino


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_error_is_that_of_torchmetrics(classes: int) -> None:
    random = np.random.default_rng(classes)
    shares = random.dirichlet(np.full(classes, 0.4), 500)
    labels = random.integers(0, classes, 500)
    theirs = multiclass_calibration_error(torch.from_numpy(shares), torch.from_numpy(labels), classes, n_bins=15)
    assert calibration_error(shares, labels) == pytest.approx(theirs.item(), abs=1e-6)
    assert measure(np.log(shares), labels)["calibration_error"] == pytest.approx(theirs.item(), abs=1e-6)


def test_calibration_error_of_certain_and_of_half_certain_predictions() -> None:
    certain = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(certain, np.array([0, 0, 0, 1])) == pytest.approx(0.25)
    # 0.97 and 1 are of one bin, and their gaps (+0.03, -1) meet in it before the absolute value is taken.
    mixed = np.array([[0.97, 0.03], [1.0, 0.0]])
    assert calibration_error(mixed, np.array([0, 1])) == pytest.approx(0.97 / 2)


def test_per_class_figures_and_confusion() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    shares = np.eye(3)[[0, 0, 1, 1, 1]]
    found = per_class(shares, labels, ["a", "b", "c"])
    assert found["a"] == {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "support": 3}
    assert found["b"] == {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2}
    assert found["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert confusion(shares, labels) == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]  # rows: the true class
    wide = np.concatenate([shares, np.full((len(labels), 97), -50.0)], axis=1)
    assert confusion(wide, labels) == {"true": [0, 0, 1], "predicted": [0, 1, 1], "images": [2, 1, 2]}


def test_own_resolution_is_the_markers_and_another_is_computed(study: Study, cell: Cell, images: Path) -> None:
    content = evaluated(study, cell)
    marker = read_json(cell.marker)
    assert {content[name] == marker[name] for name in ("fingerprint", "uid", "model", "resolution", "seed")} == {True}
    assert content["epoch"] == marker["best_epoch"]
    assert content["classes"] == ["across", "down"]
    assert content["unavailable"] == {}
    own = content["test_resolutions"]["32"]
    for split in ("val", "test"):
        assert {f"{split}/{name}": value for name, value in own[split]["metrics"].items()} == {
            name: value for name, value in marker["metrics"].items() if name.startswith(split)
        }
    # The other resolution, once more and without ResoMap's network, normalisation and batches.
    best = load_sealed(cell.checkpoints / "best.pt")
    network = timm.create_model(best["name"], **best["options"]).eval()
    network.load_state_dict(best["model"])
    kept = Predictions.load(evaluation_record.predictions_path(cell, 48))
    assert kept is not None
    for split, part in kept.splits.items():
        pixels = np.stack([resize(decode(images / name), 48, "center") for name in part.names])
        grey = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            shares = network(((grey - best["mean"][0]) / best["std"][0]).expand(-1, 3, -1, -1)).softmax(1).numpy()
        assert part.probabilities == pytest.approx(shares, abs=1e-6)
        assert [kept.classes[label] for label in part.labels] == [name.split("/")[0] for name in part.names]
        figures = content["test_resolutions"]["48"][split]
        assert figures["metrics"] == measure(part.log_probabilities, part.labels)
        assert (
            np.sum(figures["confusion"])
            == len(part.names)
            == sum(entry["support"] for entry in figures["per_class"].values())
        )
    assert content["test_resolutions"]["48"]["val"]["metrics"]["loss"] != own["val"]["metrics"]["loss"]


def test_a_new_resolution_computes_itself_only(study: Study, cell: Cell) -> None:
    evaluated(study, cell)
    assert missing(study, cell) == []
    kept = evaluation_record.predictions_path(cell, 48)
    before = stamp(kept)
    wide = widened(study, 32, 40, 48, 56)
    assert missing(wide, cell) == [40, 56]
    prepare_images(DATA_DIRECTORY, 40, 1)
    with pytest.raises(ResomapError, match="56 holds no prepared images"):
        evaluate_cell(wide, cell, 1, lambda _sentence: None)
    computed = stamp(evaluation_record.predictions_path(cell, 40))  # a failure costs the pair that failed
    prepare_images(DATA_DIRECTORY, 56, 1)
    said: list[str] = []
    evaluate_cell(wide, cell, 1, said.append)
    assert said == [f"{MODEL}@32: evaluating at 56 px"]
    assert stamp(kept) == before
    assert stamp(evaluation_record.predictions_path(cell, 40)) == computed
    assert missing(wide, cell) == []
    assert set(read_json(evaluation_record.record_path(cell))["test_resolutions"]) == {"32", "40", "48", "56"}
    # A narrower configuration, with no images but those of the training, forgets nothing.
    shutil.rmtree(DATA_DIRECTORY / "48")
    assert set(evaluated(study, cell, 32)["test_resolutions"]) == {"32", "40", "48", "56"}


@pytest.mark.parametrize("what", ["another training", "torn", "gone"])
def test_predictions_that_do_not_count_are_computed_again(study: Study, cell: Cell, what: str) -> None:
    first = evaluated(study, cell)
    for resolution in (32, 48):
        path = evaluation_record.predictions_path(cell, resolution)
        kept = Predictions.load(path)
        assert kept is not None
        if what == "another training":
            part = kept.splits["val"]
            part.log_probabilities[:] = part.log_probabilities[::-1]
            Predictions(kept.fingerprint, "0" * 32, kept.classes, kept.splits).save(path)
        elif what == "torn":
            path.write_bytes(path.read_bytes()[:-200])
        else:
            path.unlink()
    again = evaluated(study, cell)
    for split in ("val", "test"):
        # Batches of the training's size, so the same sums.
        assert again["test_resolutions"]["32"][split] == first["test_resolutions"]["32"][split]
    assert again["test_resolutions"] == first["test_resolutions"]
    assert missing(study, cell) == []


def test_a_network_for_one_size_says_so(study: Study) -> None:
    cell = study.cell(FIXED, 32)
    content = evaluated(study, cell)
    assert content["test_resolutions"]["32"]["test"]["metrics"]["accuracy"] is not None
    assert content["test_resolutions"]["48"] is None
    assert content["unavailable"]["48"].startswith(f"{FIXED}, built for 32 px, does not take 48 px: ")
    assert not evaluation_record.predictions_path(cell, 48).exists()
    assert missing(study, cell) == []


def test_without_weights_there_is_a_reason_until_they_arrive(study: Study, cell: Cell, tmp_path: Path) -> None:
    best, own = cell.checkpoints / "best.pt", evaluation_record.predictions_path(cell, 32)
    shutil.move(best, tmp_path / "best.pt")
    content = evaluated(study, cell)
    assert content["test_resolutions"]["32"]["val"]["metrics"]["accuracy"] is not None
    assert content["test_resolutions"]["48"] is None
    assert "best weights are not here" in content["unavailable"]["48"]
    assert content["device"] is None
    assert missing(study, cell) == []  # nothing has changed: no second look
    shutil.copy2(tmp_path / "best.pt", best)  # with its old modification time, as rsync -a brings it
    assert missing(study, cell) == [48]
    assert evaluated(study, cell)["test_resolutions"]["48"]["val"]["metrics"]["accuracy"] is not None
    # And where the predictions of the training are not here either, as for a cell that only the tracker knows:
    for path in (best, own, evaluation_record.predictions_path(cell, 48)):
        path.unlink()
    assert missing(study, cell) == [32, 48]
    content = evaluated(study, cell)
    assert content["test_resolutions"] == {"32": None, "48": None}
    assert content["classes"] is None
    assert missing(study, cell) == []


def test_weights_count_by_their_training_wherever_they_lie(study: Study, cell: Cell) -> None:
    marker = read_json(cell.marker)
    archive.set_aside_checkpoints(cell, marker["fingerprint"])
    assert not (cell.checkpoints / "best.pt").exists()
    assert evaluated(study, cell)["test_resolutions"]["48"] is not None
    # The same settings trained once more by hand: the old weights are another training's.
    write_json(cell.marker, {**marker, "uid": "1" * 32})
    assert missing(study, cell) == [32, 48]
    content = evaluated(study, cell)
    assert content["uid"] == "1" * 32
    assert content["test_resolutions"] == {"32": None, "48": None}


def test_damage_and_foreign_images_are_one_sentence(study: Study, cell: Cell) -> None:
    best = cell.checkpoints / "best.pt"
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResomapError, match=r"torn or altered.*resomap forget"):
        evaluated(study, cell)
    best.write_bytes(whole)
    store = DATA_DIRECTORY / "48" / "store.json"
    write_json(store, sealed({**read_json(store), "content_digest": "0" * 64}))
    with pytest.raises(ResomapError, match="not those of the training"):
        evaluated(study, cell)
    with pytest.raises(ResomapError, match=r"is not done.*snakemake"):
        evaluated(study, study.cell(MODEL, 48))


def test_larger_images_come_in_smaller_batches(study: Study, cell: Cell) -> None:
    """No forward pass holds more pixels than those during the training, where memory was enough."""
    marker = Marker.read(cell.marker)
    assert marker is not None
    evaluator = Evaluator.open(study, cell, marker, 1, DATA_DIRECTORY)
    assert evaluator is not None
    assert [evaluator.batch_at(resolution) for resolution in (16, 32, 48, 64, 512)] == [16, 16, 7, 4, 1]


def jobs(directory: Path, config: dict[str, Any], *words: str) -> dict[str, int]:
    """Rules that `snakemake -n` lists, with their number."""
    listed = snakemake("-n", *words, directory=directory, config=config)
    assert listed.returncode == 0, listed.stderr
    names = re.findall(r"^(?:local)?rule (\w+):", listed.stdout + listed.stderr, re.MULTILINE)
    return {name: names.count(name) for name in names}


@pytest.mark.slow
def test_the_workflow_evaluates_what_is_missing_and_trains_nothing(place: tuple[Path, dict[str, Any]]) -> None:
    directory, config = place
    target = f"results/{MODEL}/32.evaluation.json"
    finished = snakemake(target, directory=directory, config=config)
    assert finished.returncode == 0, finished.stderr
    assert set(read_json(directory / target)["test_resolutions"]) == {"32", "48"}
    # Images that are gone are not missed, and a sub-grid evaluates nothing.
    shutil.rmtree(directory / "results" / "data" / "48")
    assert jobs(directory, config, target) == {}
    assert jobs(directory, {**config, "resolutions": [32]}, target) == {}
    wide = {**config, "resolutions": [32, 48, 64]}
    assert jobs(directory, wide, target) == {"evaluate": 1, "images": 1}
    kept = stamp(directory / "results" / MODEL / "32.at48.npz")
    finished = snakemake(target, directory=directory, config=wide)
    assert finished.returncode == 0, finished.stderr
    assert set(read_json(directory / target)["test_resolutions"]) == {"32", "48", "64"}
    assert stamp(directory / "results" / MODEL / "32.at48.npz") == kept
    assert jobs(directory, wide, target) == {}
    # Several resolutions have one name, which a run that failed may have left behind.
    ready = directory / "results" / "data" / "80-96.ready"
    ready.touch()
    wider = {**config, "resolutions": [32, 48, 64, 80, 96]}
    assert jobs(directory, wider, target) == {"evaluate": 1, "images": 2, "stores": 1}
    finished = snakemake(target, directory=directory, config=wider)
    assert finished.returncode == 0, finished.stderr
    assert set(read_json(directory / target)["test_resolutions"]) == {"32", "48", "64", "80", "96"}
    assert not ready.exists()
    assert jobs(directory, wider, target) == {}
    # Without weights no images are prepared for what cannot be computed.
    checkpoints = directory / "checkpoints" / "resnet" / MODEL / "32"
    (checkpoints / "best.pt").unlink()
    assert jobs(directory, {**config, "resolutions": [32, 112]}, target) == {"evaluate": 1}


def test_a_record_is_strict_json_and_goes_with_its_cell(study: Study, cell: Cell) -> None:
    evaluated(study, cell)

    def refuse(text: str) -> Callable[[], None]:
        raise AssertionError(text)

    json.loads(evaluation_record.record_path(cell).read_text(), parse_constant=refuse)
    forget(study, cell, in_tracker=False)
    assert not list(cell.marker.parent.glob("32.*"))
